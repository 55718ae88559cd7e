"""Each against a real socket: a receiver that behaves, or one that does not."""

import socket
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pytest_django.fixtures import Settings

from tests import receiver as misbehaving
from tests.receiver import Answer, Receiver, Reply, Wire, redirect, running_receiver
from webhooks import guard, transport
from webhooks.transport import MASK, Outcome, Reason

pytestmark = [pytest.mark.once, pytest.mark.usefixtures("own_connections")]


def post(url: str, body: bytes = b"{}", **headers: str) -> Outcome:
    return transport.post(url, headers={name.replace("_", "-"): value for name, value in headers.items()}, body=body)


def answered(receiver: Receiver, reply: Reply) -> Outcome:
    receiver.answers.append(reply)
    return post(receiver.url)


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


class TestRequest:
    def test_is_one_packet(self, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
        sent: list[bytes] = []
        send = socket.socket.sendall

        def listen(self: socket.socket, data: bytes) -> None:
            sent.append(data)
            send(self, data)

        monkeypatch.setattr(socket.socket, "sendall", listen)

        post(receiver.url, body=b'{"n":1}')

        (packet,) = [data for data in sent if b"POST" in data or b'{"n":1}' in data]
        assert packet.startswith(b"POST /")
        assert packet.endswith(b'\r\n\r\n{"n":1}')

    def test_is_a_post_of_exactly_these_bytes_and_headers(self, receiver: Receiver) -> None:
        body = '{"name":"Käse 🧀\u2028"}'.encode()

        outcome = transport.post(
            receiver.url + "?shop=1",
            headers={"x-api-key": "k1", "accept-encoding": "identity", "user-agent": "CommerceEngine/1"},
            body=body,
        )

        [received] = receiver.received
        assert received.body == body
        assert received.path == "/webhooks?shop=1"
        assert received.headers == {
            "host": f"127.0.0.1:{receiver.port}",
            "x-api-key": "k1",
            "accept-encoding": "identity",
            "user-agent": "CommerceEngine/1",
            "content-length": str(len(body)),
        }
        assert outcome.reason is None

    def test_ignores_proxies_and_passwords_of_the_environment(
        self, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        (tmp_path / "netrc").write_text("machine 127.0.0.1 login ann password secret\n")
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{closed_port()}")
        monkeypatch.setenv("NO_PROXY", "")

        outcome = post(receiver.url)

        assert outcome.reason is None
        assert "authorization" not in receiver.received[0].headers

    def test_brings_no_cookie_back(self, receiver: Receiver) -> None:
        answered(receiver, Answer(headers={"set-cookie": "session=1; Path=/"}))

        post(receiver.url)

        assert "cookie" not in receiver.received[1].headers


class TestSuccess:
    @pytest.mark.parametrize("status", [200, 201, 202, 204, 226, 299])
    def test_is_200_to_299(self, receiver: Receiver, status: int) -> None:
        outcome = answered(receiver, Answer(status, body=b""))

        assert (outcome.status_code, outcome.reason, outcome.detail) == (status, None, "")

    @pytest.mark.parametrize(
        "reply",
        [
            Answer(body=b'{"error": "no"}'),
            misbehaving.NUL_AND_INVALID_UTF8,
            misbehaving.COMPRESSION_BOMB,
            misbehaving.HUGE_BODY,
            misbehaving.BROKEN_GZIP,
            misbehaving.NESTED_GZIP,
            misbehaving.CUT_SHORT,
            misbehaving.BROKEN_CHUNKS,
        ],
        ids=["error", "junk", "bomb", "huge", "broken gzip", "nested gzip", "cut short", "broken chunks"],
    )
    def test_is_not_undone_by_a_body(self, receiver: Receiver, reply: Reply) -> None:
        outcome = answered(receiver, reply)

        assert (outcome.status_code, outcome.reason) == (200, None)


class TestReason:
    @pytest.mark.parametrize(
        ("status", "reason"),
        [
            (300, Reason.REDIRECT),
            (304, Reason.REDIRECT),
            (400, Reason.HTTP_4XX),
            (404, Reason.HTTP_4XX),
            (410, Reason.GONE),
            (429, Reason.HTTP_4XX),
            (499, Reason.HTTP_4XX),
            (500, Reason.HTTP_5XX),
            (503, Reason.HTTP_5XX),
            (599, Reason.HTTP_5XX),
            (600, Reason.BAD_RESPONSE),
            (999, Reason.BAD_RESPONSE),
        ],
    )
    def test_follows_the_status(self, receiver: Receiver, status: int, reason: Reason) -> None:
        outcome = answered(receiver, Answer(status))

        assert (outcome.status_code, outcome.reason) == (status, reason)

    def test_is_redirect_and_the_place_is_shown_but_never_visited(self, receiver: Receiver) -> None:
        with running_receiver() as elsewhere:
            outcome = answered(receiver, redirect(elsewhere.url, 307))

        assert (outcome.status_code, outcome.reason) == (307, Reason.REDIRECT)
        assert f"redirects to {elsewhere.url}" in outcome.detail
        assert ["location", elsewhere.url] in outcome.response_headers
        assert elsewhere.received == []
        assert len(receiver.received) == 1

    @pytest.mark.parametrize("to", ["http://[", "//", "http://\x00\xff/" + "x" * 5_000, "", "javascript:alert(1)"])
    def test_is_redirect_wherever_it_leads(self, receiver: Receiver, to: str) -> None:
        outcome = answered(receiver, redirect(to))

        assert (outcome.status_code, outcome.reason) == (302, Reason.REDIRECT)
        assert len(outcome.detail) < 500
        assert "\x00" not in outcome.detail

    @pytest.mark.parametrize(
        "reply",
        [
            misbehaving.HANG_UP,
            misbehaving.MALFORMED_STATUS,
            misbehaving.NOT_HTTP,
            misbehaving.HEADER_FLOOD,
            misbehaving.LONG_HEADER,
            Wire([b"HTTP/1.1 20000 OK\r\n\r\n"]),
            Wire([b"\x00" * 100]),
            Wire([b"\xff\xfe\r\n\r\n"]),
        ],
        ids=["hang up", "malformed status", "not HTTP", "header flood", "long header", "20000", "NUL", "junk"],
    )
    def test_is_bad_response_when_no_valid_answer_comes(self, receiver: Receiver, reply: Reply) -> None:
        outcome = answered(receiver, reply)

        assert (outcome.status_code, outcome.reason) == (None, Reason.BAD_RESPONSE)
        assert "before a valid answer" in outcome.detail
        assert "\x00" not in outcome.detail

    @pytest.mark.parametrize("url", ["http://nowhere.invalid/", "http://" + "a" * 64 + ".example/", "http://.../"])
    def test_is_dns_when_the_name_is_not_found(self, url: str) -> None:
        outcome = post(url)

        assert (outcome.status_code, outcome.reason) == (None, Reason.DNS)

    def test_is_connect_when_nobody_listens(self) -> None:
        port = closed_port()

        outcome = post(f"http://127.0.0.1:{port}/")

        assert (outcome.status_code, outcome.reason) == (None, Reason.CONNECT)
        assert f"127.0.0.1:{port} does not accept connections" in outcome.detail

    def test_is_blocked_address_before_any_connection(self, receiver: Receiver, settings: Settings) -> None:
        settings.WEBHOOK_ALLOWED_NETWORKS = []

        outcome = post(receiver.url)

        assert (outcome.status_code, outcome.reason) == (None, Reason.BLOCKED_ADDRESS)
        assert "127.0.0.1" in outcome.detail
        assert receiver.connections == 0

    def test_is_blocked_address_when_a_name_turns_to_a_forbidden_one(
        self, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        look_up = socket.getaddrinfo
        monkeypatch.setattr(
            socket,
            "getaddrinfo",
            lambda host, *rest, **named: look_up("10.0.0.1" if host == "shop.example" else host, *rest, **named),
        )

        outcome = post(f"http://shop.example:{receiver.port}/")

        assert outcome.reason == Reason.BLOCKED_ADDRESS
        assert "shop.example leads to 10.0.0.1" in outcome.detail

    @pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "nonsense", "http://", "http://[::1", ""])
    def test_is_a_value_even_for_an_address_that_makes_no_sense(self, url: str) -> None:
        assert post(url).reason in {Reason.BAD_RESPONSE, Reason.DNS}

    def test_lets_a_bug_of_our_own_rise(self, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
        def buggy(*_: object, **__: object) -> None:
            raise RuntimeError("a bug")

        monkeypatch.setattr(guard, "resolve", buggy)

        with pytest.raises(RuntimeError, match="a bug"):
            post(receiver.url)


class TestAddresses:
    def test_are_connected_to_as_checked_without_a_second_look_up(
        self, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[str] = []

        def getaddrinfo(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
            asked.append(host)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

        outcome = post(f"http://shop.example:{receiver.port}/webhooks")

        assert outcome.reason is None
        assert asked == ["shop.example"]
        assert receiver.received[0].headers["host"] == f"shop.example:{receiver.port}"

    def test_are_tried_in_turn(self, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
        places = [("127.0.0.9", receiver.port), ("127.0.0.1", receiver.port)]
        monkeypatch.setattr(
            socket,
            "getaddrinfo",
            lambda *_, **__: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", place) for place in places],
        )

        outcome = post(f"http://shop.example:{receiver.port}/webhooks")

        assert outcome.reason is None


class TestLog:
    def test_keeps_what_was_answered_and_when(self, receiver: Receiver) -> None:
        before = datetime.now(UTC)
        outcome = answered(
            receiver, Answer(422, body=b'{"error":"sku"}', headers={"x-request-id": "r1", "retry-after": "120"})
        )

        assert outcome.response_body == '{"error":"sku"}'
        assert ["x-request-id", "r1"] in outcome.response_headers
        assert outcome.retry_after == "120"
        assert not outcome.response_truncated
        assert before <= outcome.started_at <= datetime.now(UTC)

    def test_keeps_16_kib_of_a_body_and_marks_the_cut(self, receiver: Receiver) -> None:
        whole = answered(receiver, Answer(body=b"x" * 16_384))
        cut = answered(receiver, Answer(body=b"x" * 16_385))

        assert (len(whole.response_body), whole.response_truncated) == (16_384, False)
        assert (len(cut.response_body), cut.response_truncated) == (16_384, True)

    @pytest.mark.parametrize(
        "reply", [misbehaving.HUGE_BODY, misbehaving.COMPRESSION_BOMB], ids=["1 GB", "64 MB in 64 kB"]
    )
    def test_does_not_read_a_body_meant_to_fill_memory(self, receiver: Receiver, reply: Reply) -> None:
        outcome = answered(receiver, reply)

        assert (len(outcome.response_body), outcome.response_truncated) == (16_384, True)
        assert outcome.duration_ms < 2_000

    def test_does_not_read_one_that_comes_with_a_redirect_either(self, receiver: Receiver) -> None:
        head = {"location": "/elsewhere", "content-encoding": "gzip"}

        outcome = answered(receiver, Answer(302, misbehaving.COMPRESSION_BOMB.body, head))

        assert (len(outcome.response_body), outcome.response_truncated) == (16_384, True)

    def test_can_be_stored_whatever_bytes_came(self, receiver: Receiver) -> None:
        outcome = answered(receiver, misbehaving.NUL_AND_INVALID_UTF8)

        assert outcome.response_body.startswith("a�b��")
        assert outcome.response_body.endswith("c")
        texts = [outcome.response_body, *(value for header in outcome.response_headers for value in header)]
        assert not any("\x00" in text for text in texts)
        assert all(text.encode() for text in texts)

    def test_keeps_a_bounded_part_of_many_or_long_headers(self, receiver: Receiver) -> None:
        outcome = answered(receiver, Answer(headers={f"x-{n}": "v" * 5_000 for n in range(90)}))

        assert outcome.reason is None
        assert len(outcome.response_headers) == 50
        assert max(len(value) for _, value in outcome.response_headers) == 1_000

    def test_masks_secrets_of_either_side(self, receiver: Receiver) -> None:
        receiver.answers = [Answer(headers={"Set-Cookie": "session=s3cret"})]

        outcome = transport.post(
            receiver.url,
            headers={
                "Authorization": "Bearer s3cret",
                "X-Own": "s3cret",
                "Webhook-Signature": "v1,s3cret",
                "webhook-id": "evt_1",
            },
            body=b"{}",
            masked=["x-own"],
        )

        assert "s3cret" not in repr(outcome)
        assert ["Authorization", MASK] in outcome.request_headers
        assert ["webhook-id", "evt_1"] in outcome.request_headers
        assert receiver.received[0].headers["x-own"] == "s3cret"

    def test_masks_secrets_that_the_receiver_says_back(self, receiver: Receiver) -> None:
        receiver.answers = [
            Answer(
                302,
                b"you sent Bearer s3cret-key, the key s3cret-key",
                {"x-echo": "s3cret-key", "location": "/?s3cret-key"},
            )
        ]

        outcome = transport.post(receiver.url, headers={"Authorization": "Bearer s3cret-key"}, body=b"{}")

        assert "s3cret-key" not in repr(outcome)
        assert outcome.response_body == f"you sent {MASK}, the key {MASK}"
        assert ["x-echo", MASK] in outcome.response_headers
