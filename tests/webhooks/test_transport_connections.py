"""How a connection is opened, kept, secured and given up, against a real socket."""

import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests
import trustme

from tests import receiver as misbehaving
from tests.receiver import Answer, Receiver, Wire, running_receiver
from tests.webhooks.test_transport import answered, closed_port, post
from webhooks import connections, deadline, guard, transport
from webhooks.connections import Checked, CheckedHTTP, CheckedHTTPS
from webhooks.transport import Outcome, Reason

pytestmark = [pytest.mark.once, pytest.mark.usefixtures("own_connections")]

LAST_HEAD = misbehaving.OK_HEAD + b"connection: close\r\n"


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Takes connections and never says a word, not even of TLS."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as server:
        yield server.getsockname()[1]


class TestConnection:
    def test_is_kept_for_the_next_request(self, receiver: Receiver) -> None:
        for _ in range(5):
            assert post(receiver.url).reason is None

        assert receiver.connections == 1

    @pytest.mark.parametrize("status", [302, 404, 500])
    def test_is_kept_after_a_refusal(self, receiver: Receiver, status: int) -> None:
        answered(receiver, Answer(status, body=b"no" * 1000))
        post(receiver.url)

        assert receiver.connections == 1

    def test_is_not_kept_after_a_body_that_was_not_read_to_its_end(self, receiver: Receiver) -> None:
        answered(receiver, Answer(body=b"x" * 100_000))
        answered(receiver, Answer(201))

        assert [received.connection for received in receiver.received] == [1, 2]

    @pytest.mark.parametrize(
        "broken",
        [
            pytest.param(b"transfer-encoding: chunked\r\n\r\nnot a size\r\n", id="from its start"),
            pytest.param(b"transfer-encoding: chunked\r\n\r\n2\r\nok\r\nnot a size\r\n", id="after some of it"),
            pytest.param(b"content-length: 5\r\ncontent-encoding: gzip\r\n\r\nplain", id="packed"),
        ],
    )
    def test_is_not_kept_after_a_broken_body(self, receiver: Receiver, broken: bytes) -> None:
        # The receiver leaves it open: whatever it says next would be taken for an answer to the next request.
        answered(receiver, Wire([misbehaving.OK_HEAD + broken, 60.0]))
        post(receiver.url)

        assert [received.connection for received in receiver.received] == [1, 2]

    @pytest.mark.parametrize(
        ("said", "is_kept"),
        [
            ({"keep-alive": "timeout=1, max=100"}, False),
            ({"Keep-Alive": "max=100, Timeout=5"}, True),
            ({"keep-alive": "timeout=soon"}, True),
            ({}, True),
        ],
    )
    def test_is_not_used_when_the_receiver_may_be_ending_it(
        self, receiver: Receiver, said: dict[str, str], is_kept: bool
    ) -> None:
        answered(receiver, Answer(headers=said))
        time.sleep(0.9)
        post(receiver.url)

        assert [received.connection for received in receiver.received] == [1, 1 if is_kept else 2]

    def test_is_not_used_after_the_time_that_most_receivers_leave_it_open(
        self, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(connections, "IDLE_S", 0.05)
        post(receiver.url)
        time.sleep(0.1)
        post(receiver.url)

        assert [received.connection for received in receiver.received] == [1, 2]

    def test_that_the_receiver_closed_is_replaced(self, receiver: Receiver) -> None:
        answered(receiver, Wire([misbehaving.OK_HEAD + b"content-length: 2\r\n\r\nok"]))
        time.sleep(0.05)

        assert post(receiver.url).reason is None
        assert receiver.connections == 2

    def test_never_gives_the_answer_to_one_request_to_the_next(self, receiver: Receiver) -> None:
        # An interim answer, and the final one only once the next request may have been sent.
        late: list[bytes | float] = [
            b"HTTP/1.1 103 Early Hints\r\n\r\n",
            0.2,
            misbehaving.OK_HEAD + b"content-length: 2\r\n\r\nok",
        ]
        receiver.answers = [Wire(late), Answer(500, delay_s=0.4)]

        first, second = post(receiver.url), post(receiver.url)

        assert first.reason == Reason.BAD_RESPONSE
        assert second.status_code == 500

    def test_that_failed_is_given_back_to_the_system(self, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(transport, "DEADLINE_S", 0.3)
        post(receiver.url)
        before = len(os.listdir("/proc/self/fd"))

        for reply in (misbehaving.HANG_UP, misbehaving.NOT_HTTP, misbehaving.HUGE_BODY, misbehaving.SILENCE) * 3:
            answered(receiver, reply)
            post(receiver.url.replace("http:", "https:"))
            post(f"http://127.0.0.1:{closed_port()}/")
        post(receiver.url)

        # The receiver's ends of two connections may not have been closed yet.
        assert len(os.listdir("/proc/self/fd")) <= before + 4

    def test_is_one_threads_own(self, receiver: Receiver) -> None:
        together = threading.Barrier(4)

        def send_two(_: int) -> None:
            together.wait()
            post(receiver.url)
            post(receiver.url)

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(send_two, range(4)))

        assert receiver.connections == 4
        assert len(receiver.received) == 8


class TestHead:
    @pytest.mark.parametrize(
        ("connection", "host"),
        [
            (CheckedHTTP("shop.example", 80), "shop.example"),
            (CheckedHTTP("shop.example", 443), "shop.example:443"),
            (CheckedHTTPS("shop.example", 443), "shop.example"),
            (CheckedHTTPS("shop.example", 8443), "shop.example:8443"),
            (CheckedHTTP("::1", 80), "[::1]"),
            (CheckedHTTP("::1", 8000), "[::1]:8000"),
        ],
    )
    def test_names_the_host_and_a_port_that_is_not_the_usual_one(self, connection: Checked, host: str) -> None:
        assert connection.named == host

    @pytest.mark.parametrize("value", ["a\r\nx-forged: 1", "a\nx-forged: 1", "a\rx-forged: 1", "\r\n\r\n"])
    def test_takes_no_line_break(self, receiver: Receiver, value: str) -> None:
        outcome = post(receiver.url, x_note=value)

        assert (outcome.reason, receiver.received) == (Reason.BAD_RESPONSE, [])
        assert "a header has a line break in it" in outcome.detail


class TestDeadline:
    @pytest.fixture(autouse=True)
    def _short(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(transport, "DEADLINE_S", 0.6)

    def bounded(self, send: Callable[[], Outcome]) -> Outcome:
        started = time.monotonic()
        outcome = send()
        elapsed = time.monotonic() - started
        assert 0.4 < elapsed < 1.2
        assert outcome.duration_ms == pytest.approx(elapsed * 1000, abs=50)
        return outcome

    def test_ends_silence(self, receiver: Receiver) -> None:
        outcome = self.bounded(lambda: answered(receiver, misbehaving.SILENCE))

        assert (outcome.status_code, outcome.reason) == (None, Reason.TIMEOUT)

    @pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nx-slow: 1"])
    def test_ends_a_head_that_drips_however_much_of_it_has_come(self, receiver: Receiver, begun: bytes) -> None:
        parts = [part for letter in b"HTTP/1.1 200 OK\r\nx-slow: 1"[len(begun) :] for part in (bytes([letter]), 0.1)]

        outcome = self.bounded(lambda: answered(receiver, Wire([begun, *parts, 60.0])))

        assert (outcome.status_code, outcome.reason) == (None, Reason.TIMEOUT)

    def test_ends_a_body_that_drips_and_the_status_stands(self, receiver: Receiver) -> None:
        outcome = self.bounded(lambda: answered(receiver, misbehaving.drip()))

        assert (outcome.status_code, outcome.reason) == (200, None)
        assert outcome.response_truncated

    def test_leaves_a_refusal_what_it_is_when_its_body_drips(self, receiver: Receiver) -> None:
        outcome = self.bounded(lambda: answered(receiver, misbehaving.drip(b"HTTP/1.1 410 Gone\r\n")))

        assert (outcome.status_code, outcome.reason) == (410, Reason.GONE)

    def test_ends_chunks_that_drip(self, receiver: Receiver) -> None:
        chunks: list[bytes | float] = [b"1\r\n.\r\n", 0.1]
        parts = [misbehaving.OK_HEAD + b"transfer-encoding: chunked\r\n\r\n", *chunks * 100]

        outcome = self.bounded(lambda: answered(receiver, Wire(parts)))

        assert (outcome.status_code, outcome.reason) == (200, None)

    def test_ends_the_last_body_of_a_connection(self, receiver: Receiver) -> None:
        outcome = self.bounded(lambda: answered(receiver, misbehaving.drip(LAST_HEAD)))

        assert (outcome.status_code, outcome.reason, outcome.response_truncated) == (200, None, True)

    def test_ends_a_tls_handshake_nobody_answers(self, silent_port: int) -> None:
        outcome = self.bounded(lambda: post(f"https://127.0.0.1:{silent_port}/"))

        assert (outcome.status_code, outcome.reason) == (None, Reason.TIMEOUT)

    def test_ends_a_request_nobody_reads(self, silent_port: int) -> None:
        outcome = self.bounded(lambda: post(f"http://127.0.0.1:{silent_port}/", body=bytes(32 * 1024 * 1024)))

        assert (outcome.status_code, outcome.reason) == (None, Reason.TIMEOUT)

    def test_counts_the_time_on_a_kept_connection(self, receiver: Receiver) -> None:
        post(receiver.url)

        outcome = self.bounded(lambda: answered(receiver, misbehaving.SILENCE))

        assert outcome.reason == Reason.TIMEOUT
        assert receiver.connections == 1

    def test_spares_the_next_request(self, receiver: Receiver) -> None:
        answered(receiver, Answer(delay_s=0.3))
        second = answered(receiver, Answer(delay_s=0.5))

        assert second.reason is None

    def test_leaves_no_thread_behind(self, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(deadline.Watchdog, "IDLE_S", 0.0)
        post(receiver.url)
        time.sleep(1.0)

        assert not [thread for thread in threading.enumerate() if thread.name == "deadlines"]
        assert post(receiver.url).reason is None

    def test_ends_a_connection_nobody_takes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(connections, "CONNECT_TIMEOUT_S", 0.5)
        with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
            waiting = [socket.socket() for _ in range(8)]
            for one in waiting:
                one.setblocking(False)
                one.connect_ex(full.getsockname())

            outcome = self.bounded(lambda: post(f"http://127.0.0.1:{full.getsockname()[1]}/"))

            for one in waiting:
                one.close()
        assert (outcome.status_code, outcome.reason) in {(None, Reason.CONNECT), (None, Reason.TIMEOUT)}

    def test_leaves_each_address_a_share_of_the_time_to_connect(
        self, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The first does not answer, as where IPv6 is broken; the second takes a moment."""
        connect, given = socket.socket.connect, []

        def one_does_not_answer(self: socket.socket, place: Any) -> None:
            given.append(self.gettimeout())
            if place[1] == 9:
                time.sleep(self.gettimeout() or 0)
                raise TimeoutError("timed out")
            connect(self, place)

        address = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        places = [(*address, ("127.0.0.1", 9)), (*address, ("127.0.0.1", receiver.port))]
        monkeypatch.setattr(guard, "resolve", lambda *_, **__: places)
        monkeypatch.setattr(connections, "CONNECT_TIMEOUT_S", 0.4)
        monkeypatch.setattr(socket.socket, "connect", one_does_not_answer, raising=False)

        outcome = post(receiver.url)

        assert outcome.reason is None
        assert given == [pytest.approx(0.2, abs=0.05), pytest.approx(0.2, abs=0.05)]

    def test_of_a_name_with_very_many_dead_addresses_tries_the_first_few(self, monkeypatch: pytest.MonkeyPatch) -> None:
        tried: list[Any] = []

        def refuse(_: socket.socket, place: Any) -> None:
            tried.append(place)
            raise ConnectionRefusedError

        address = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        monkeypatch.setattr(guard, "resolve", lambda *_, **__: [(*address, ("127.0.0.1", n)) for n in range(500)])
        monkeypatch.setattr(socket.socket, "connect", refuse, raising=False)

        outcome = post("http://127.0.0.1:1/")

        assert (outcome.reason, len(tried)) == (Reason.CONNECT, 8)

    def test_cuts_a_connection_that_is_made_after_it(self, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
        """Looking up the name has taken all of the time: what the receiver drips then must not hold the thread."""
        resolve = guard.resolve

        def resolve_late(*arguments: Any, **options: Any) -> Any:
            time.sleep(0.9)
            return resolve(*arguments, **options)

        monkeypatch.setattr(guard, "resolve", resolve_late)
        receiver.script = lambda _: misbehaving.drip()
        started = time.monotonic()

        outcome = post(receiver.url)

        assert (outcome.status_code, outcome.reason) == (None, Reason.TIMEOUT)
        assert time.monotonic() - started < 1.5

    def test_bounds_a_slow_name_server(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(connections, "CONNECT_TIMEOUT_S", 0.5)
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(2))

        outcome = self.bounded(lambda: post("http://shop.example/"))

        assert (outcome.status_code, outcome.reason) == (None, Reason.DNS)


class TestTls:
    @pytest.fixture
    def authority(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> trustme.CA:
        """The only one we trust."""
        authority = trustme.CA()
        authority.cert_pem.write_to_path(tmp_path / "authority.pem")
        monkeypatch.setattr(requests.adapters, "DEFAULT_CA_BUNDLE_PATH", str(tmp_path / "authority.pem"))
        return authority

    @staticmethod
    def context(certificate: trustme.LeafCert) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        return context

    def test_succeeds_and_is_kept(self, authority: trustme.CA) -> None:
        with running_receiver(self.context(authority.issue_cert("127.0.0.1"))) as receiver:
            outcomes = [post(receiver.url), post(receiver.url)]

        assert [outcome.reason for outcome in outcomes] == [None, None]
        assert receiver.connections == 1

    @pytest.mark.usefixtures("authority")
    def test_refuses_an_authority_it_does_not_know(self) -> None:
        with running_receiver(self.context(trustme.CA().issue_cert("127.0.0.1"))) as receiver:
            outcome = post(receiver.url)

        assert (outcome.status_code, outcome.reason) == (None, Reason.TLS)
        assert "certificate" in outcome.detail
        assert receiver.received == []

    def test_refuses_a_certificate_for_another_name(self, authority: trustme.CA) -> None:
        with running_receiver(self.context(authority.issue_cert("shop.example"))) as receiver:
            outcome = post(receiver.url)

        assert (outcome.status_code, outcome.reason) == (None, Reason.TLS)
        assert receiver.received == []

    def test_refuses_a_certificate_that_has_expired(self, authority: trustme.CA) -> None:
        expired = authority.issue_cert("127.0.0.1", not_after=datetime(2020, 1, 1, tzinfo=UTC))
        with running_receiver(self.context(expired)) as receiver:
            outcome = post(receiver.url)

        assert (outcome.status_code, outcome.reason) == (None, Reason.TLS)
        assert "expired" in outcome.detail

    def test_refuses_a_server_that_speaks_none(self, receiver: Receiver) -> None:
        outcome = post(receiver.url.replace("http:", "https:"))

        assert (outcome.status_code, outcome.reason) == (None, Reason.TLS)

    def test_body_that_drips_ends_at_the_deadline(self, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(transport, "DEADLINE_S", 0.6)
        with running_receiver(self.context(authority.issue_cert("127.0.0.1"))) as receiver:
            outcome = answered(receiver, misbehaving.drip(b"HTTP/1.1 500 Oops\r\n"))

        assert (outcome.status_code, outcome.reason) == (500, Reason.HTTP_5XX)
        assert outcome.duration_ms < 1_200
