import base64
import http.client
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from standardwebhooks import Webhook

from commerce.receivers import Inbox, Receipt, Receiver

SECRET = "whsec_" + base64.b64encode(b"x" * 32).decode()


@pytest.fixture
def receipts() -> list[Receipt]:
    return []


@pytest.fixture
def port(receipts: list[Receipt]) -> Iterator[int]:
    inbox = Inbox("Demo")

    def keep(receipt: Receipt) -> None:
        receipts.append(receipt)
        inbox.add(receipt)

    receiver = Receiver(0, secret=SECRET, on_receipt=keep, inbox=inbox)
    threading.Thread(target=receiver.serve_forever, args=(0.01,)).start()
    yield receiver.server_port
    receiver.shutdown()
    receiver.server_close()


def send(port: int, *, sequence: int = 1, event_id: str = "evt_1", secret: str = SECRET) -> int:
    now = datetime.now(UTC)
    event = {
        "id": event_id,
        "type": "order.created",
        "timestamp": now.isoformat(),
        "subject": "ord_1",
        "sequence": sequence,
    }
    body = json.dumps(event)
    headers = {
        "webhook-id": event_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(event_id, now, body),
    }
    return request(port, "POST", "/", body.encode(), headers)[0]


def request(port: int, method: str, path: str, body: bytes = b"", headers: Any = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    result = (answer.status, answer.read())
    connection.close()
    return result


class TestReceiver:
    def test_verifies_and_notes_what_came(self, port: int, receipts: list[Receipt]) -> None:
        assert send(port) == 204

        (receipt,) = receipts
        assert (receipt.type, receipt.subject, receipt.sequence) == ("order.created", "ord_1", 1)
        assert (receipt.verified, receipt.is_duplicate, receipt.in_order) == (True, False, True)
        assert 0 <= receipt.latency_ms < 5_000

    def test_refuses_another_s_signature(self, port: int, receipts: list[Receipt]) -> None:
        other = "whsec_" + base64.b64encode(b"y" * 32).decode()

        assert send(port, secret=other) == 401
        assert [receipt.verified for receipt in receipts] == [False]

    @pytest.mark.parametrize("signature", ["", "v1", "v1,", "v1,é", "v1,AAAA v1"])
    def test_refuses_a_signature_that_is_none(self, port: int, receipts: list[Receipt], signature: str) -> None:
        headers = {"webhook-id": "evt_1", "webhook-timestamp": "1", "webhook-signature": signature.encode()}

        assert request(port, "POST", "/", b"{}", headers)[0] == 401
        assert [receipt.verified for receipt in receipts] == [False]

    def test_notices_a_second_copy(self, port: int, receipts: list[Receipt]) -> None:
        send(port)
        send(port)

        assert [receipt.is_duplicate for receipt in receipts] == [False, True]

    def test_notices_an_older_event_after_a_newer(self, port: int, receipts: list[Receipt]) -> None:
        for sequence in (1, 3, 2):
            send(port, sequence=sequence, event_id=f"evt_{sequence}")

        assert [receipt.in_order for receipt in receipts] == [True, True, False]


class TestInbox:
    def test_shows_its_page(self, port: int) -> None:
        status, page = request(port, "GET", "/")

        assert status == 200
        assert b"<title>Demo: webhooks as they come</title>" in page

    def test_streams_what_has_come_and_what_comes(self, port: int) -> None:
        send(port)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", "/stream")
        stream = connection.getresponse()
        frames = [read_frame(stream)]
        send(port, sequence=2, event_id="evt_2")
        frames.append(read_frame(stream))
        connection.close()

        assert stream.headers["content-type"] == "text/event-stream"
        assert [frame["id"] for frame in frames] == ["evt_1", "evt_2"]

    def test_knows_no_other_page(self, port: int) -> None:
        assert request(port, "GET", "/../etc/passwd")[0] == 404


def read_frame(stream: http.client.HTTPResponse) -> dict[str, Any]:
    line = b""
    while not line.startswith(b"data: "):
        line = stream.readline()
    frame: dict[str, Any] = json.loads(line.removeprefix(b"data: "))
    return frame
