"""A program that receives webhooks, as a customer of ours would write it: no Django, nothing of this project.

It verifies every delivery with the `standardwebhooks` library, checks that nothing comes twice or out of order, and
prints each receipt as one line of JSON. `--inbox` also shows them in the browser as they come.

    RECEIVER_SECRET=whsec_… python -m commerce.receivers --name OMS --port 9000 [--inbox]
"""

import argparse
import json
import os
import queue
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError

INBOX_PAGE = Path(__file__).parent.parent / "templates" / "commerce" / "inbox.html"
MAX_BODY = 1_048_576
KEPT = 200


@dataclass(frozen=True)
class Receipt:
    """What came of one request. `in_order`: newer than all that came before about the same subject."""

    received_at: str
    id: str
    type: str
    subject: str
    label: str
    sequence: int
    verified: bool
    is_duplicate: bool
    in_order: bool
    latency_ms: int
    body: dict[str, Any]


class Receiver(ThreadingHTTPServer):
    """Listens on 127.0.0.1 and hands every receipt to `on_receipt`, in the thread of the request."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, *, secret: str, on_receipt: Callable[[Receipt], None], inbox: "Inbox | None" = None):
        super().__init__(("127.0.0.1", port), _Handler)
        self.webhook = Webhook(secret)
        self.on_receipt = on_receipt
        self.inbox = inbox
        self._lock = threading.Lock()
        self._seen: set[str] = set()
        self._last_sequence: dict[str, int] = {}

    def receive(self, body: bytes, headers: dict[str, str]) -> Receipt:
        now = datetime.now(UTC)
        verified = self._verify(body, headers)
        event = json.loads(body) if verified else {}
        subject, sequence = event.get("subject", ""), event.get("sequence", 0)
        with self._lock:
            receipt = Receipt(
                received_at=now.isoformat(timespec="milliseconds"),
                id=event.get("id", ""),
                type=event.get("type", ""),
                subject=subject,
                label=_label(event.get("data", {})),
                sequence=sequence,
                verified=verified,
                is_duplicate=event.get("id") in self._seen,
                in_order=sequence > self._last_sequence.get(subject, 0),
                latency_ms=_elapsed_ms(event["timestamp"], now) if verified else 0,
                body=event,
            )
            if verified:
                self._seen.add(receipt.id)
                self._last_sequence[subject] = max(sequence, self._last_sequence.get(subject, 0))
            self.on_receipt(receipt)
        return receipt

    def _verify(self, body: bytes, headers: dict[str, str]) -> bool:
        try:
            self.webhook.verify(body, headers, json_parse=False)
        except (WebhookVerificationError, ValueError):
            return False
        return True


def _label(data: dict[str, Any]) -> str:
    """The word a person knows the subject by."""
    return next((str(data[name]) for name in ("order_number", "sku", "email") if data.get(name)), "")


def _elapsed_ms(timestamp: str, now: datetime) -> int:
    return round((now - datetime.fromisoformat(timestamp)).total_seconds() * 1000)


class Inbox:
    """The newest receipts, and the browsers that watch for more."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._kept: deque[Receipt] = deque(maxlen=KEPT)
        self._watchers: set[queue.SimpleQueue[Receipt]] = set()
        self._lock = threading.Lock()

    def add(self, receipt: Receipt) -> None:
        with self._lock:
            self._kept.append(receipt)
            for watcher in self._watchers:
                watcher.put(receipt)

    def join(self) -> "queue.SimpleQueue[Receipt]":
        """A queue that begins with what is kept and goes on with what comes."""
        watcher: queue.SimpleQueue[Receipt] = queue.SimpleQueue()
        with self._lock:
            for receipt in self._kept:
                watcher.put(receipt)
            self._watchers.add(watcher)
        return watcher

    def leave(self, watcher: "queue.SimpleQueue[Receipt]") -> None:
        with self._lock:
            self._watchers.discard(watcher)


class _Handler(BaseHTTPRequestHandler):
    server: Receiver
    protocol_version = "HTTP/1.1"
    # Headers and body of an answer in one packet.
    wbufsize = -1

    def do_POST(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        if length > MAX_BODY:
            self.close_connection = True
            self._answer(413)
            return
        receipt = self.server.receive(self.rfile.read(length), dict(self.headers))
        self._answer(204 if receipt.verified else 401)

    def do_GET(self) -> None:
        inbox = self.server.inbox
        if inbox is None:
            self._answer(405)
        elif self.path == "/":
            page = INBOX_PAGE.read_text().replace("{{ name }}", inbox.name)
            self._answer(200, page.encode(), "text/html; charset=utf-8")
        elif self.path == "/stream":
            self._stream(inbox)
        else:
            self._answer(404)

    def _answer(self, status: int, body: bytes = b"", content_type: str = "text/plain") -> None:
        self.send_response(status)
        if body:
            self.send_header("content-type", content_type)
        if status != 204:
            self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, inbox: Inbox) -> None:
        """Server-sent events until the browser goes away; a comment every 15 s finds out that it has."""
        self.close_connection = True
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("cache-control", "no-cache")
        self.end_headers()
        watcher = inbox.join()
        try:
            while True:
                self.wfile.write(_next_frame(watcher))
                self.wfile.flush()
        except OSError:
            return
        finally:
            inbox.leave(watcher)

    def log_message(self, *_: object) -> None:
        """Receipts are what is printed."""


def _next_frame(watcher: "queue.SimpleQueue[Receipt]") -> bytes:
    try:
        receipt = watcher.get(timeout=15)
    except queue.Empty:
        return b": still here\n\n"
    return f"id: {receipt.id}\ndata: {json.dumps(asdict(receipt))}\n\n".encode()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--inbox", action="store_true")
    options = parser.parse_args()
    inbox = Inbox(options.name) if options.inbox else None
    receiver = Receiver(
        options.port,
        secret=os.environ["RECEIVER_SECRET"],
        on_receipt=inbox.add if inbox else lambda receipt: print(json.dumps(asdict(receipt)), flush=True),
        inbox=inbox,
    )
    receiver.serve_forever()


if __name__ == "__main__":
    main()
