"""A real HTTP server on loopback that keeps what it is sent, and answers, or misbehaves, as it is told to."""

import gzip
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Received:
    path: str
    headers: dict[str, str]  # Names in lower case.
    body: bytes
    connection: int = 0  # Which of the receiver's connections it came by, from 1.


@dataclass(frozen=True)
class Answer:
    status: int = 200
    body: bytes = b"ok"
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0


@dataclass(frozen=True)
class Wire:
    """Bytes put on the connection as they are; a number is a pause in seconds. Then the connection ends."""

    parts: Sequence[bytes | float]
    is_torn: bool = False  # It ends with a reset.
    is_half_closed: bool = False  # Nothing more comes, and the other direction stays open.


Reply = Answer | Wire
Script = Callable[[Received], Reply]

OK_HEAD = b"HTTP/1.1 200 OK\r\n"
# On, for no time at all: to close is to reset (socket(7)).
LINGER_NOT = struct.pack("ii", 1, 0)

# Ways to misbehave.
HANG_UP = Wire([])
RESET = Wire([], is_torn=True)
HALF_CLOSED = Wire([], is_half_closed=True)
HALF_CLOSED_IN_THE_BODY = Wire([OK_HEAD, b"content-length: 100\r\n\r\n", b"only this"], is_half_closed=True)
RESET_IN_THE_BODY = Wire([OK_HEAD, b"content-length: 100\r\n\r\n", b"only this", 0.1], is_torn=True)
SILENCE = Wire([60.0])
MALFORMED_STATUS = Wire([b"HTTP/1.1 two hundred\r\n\r\n"])
NOT_HTTP = Wire([b"220 mail.example ESMTP ready\r\n"])
HEADER_FLOOD = Wire([OK_HEAD, *(b"x-flood-%d: 1\r\n" % n for n in range(1_000)), b"\r\n"])
LONG_HEADER = Wire([OK_HEAD, b"x-long: ", b"a" * 100_000, b"\r\n\r\n"])
CUT_SHORT = Wire([OK_HEAD, b"content-length: 100\r\n\r\n", b"only this"])
BROKEN_CHUNKS = Wire([OK_HEAD, b"transfer-encoding: chunked\r\n\r\n", b"not a size\r\n"])
BROKEN_GZIP = Answer(body=b"this is not gzip", headers={"content-encoding": "gzip"})
COMPRESSION_BOMB = Answer(body=gzip.compress(bytes(64 * 1024 * 1024)), headers={"content-encoding": "gzip"})
NESTED_GZIP = Answer(body=b"x", headers={"content-encoding": ", ".join(["gzip"] * 1_000)})
ENDLESS_BODY = Wire([OK_HEAD, b"transfer-encoding: chunked\r\n\r\n", *([b"10000\r\n" + b"e" * 65_536 + b"\r\n"] * 256)])
ENDLESS_PROMISES = Wire([b"HTTP/1.1 100 Continue\r\n\r\n", 0.01] * 10_000)
HUGE_BODY = Wire([OK_HEAD, b"content-length: 1073741824\r\n\r\n", *([b"h" * 65_536] * 256)])
NUL_AND_INVALID_UTF8 = Answer(body=b"a\x00b\xff\xfe\xed\xa0\x80c", headers={"x-odd": "caf\xe9 \x01"})


def drip(head: bytes = OK_HEAD, *, every_s: float = 0.1) -> Wire:
    """An answer whose body comes a byte at a time, each well within any time-out for one read."""
    return Wire([head + b"content-length: 10000\r\n\r\n", *([b".", every_s] * 10_000)])  # type: ignore[list-item]


def redirect(to: str, status: int = 302) -> Answer:
    return Answer(status, headers={"location": to})


class Receiver:
    """`received` grows by one for each request; `answers` are given in turn, then `script` decides."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.received: list[Received] = []
        self.answers: list[Reply] = []
        self.script: Script = lambda _: Answer()
        self.arrived = threading.Condition()
        self.connections = 0
        self.stopped = threading.Event()
        handler = type("Handler", (_Handler,), {"receiver": self})
        self.server = _Server(("127.0.0.1", 0), handler)
        if tls is not None:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = self.server.server_port
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}/webhooks"

    def connect(self) -> int:
        with self.arrived:
            self.connections += 1
            return self.connections

    def take(self, received: Received) -> Reply:
        with self.arrived:
            self.received.append(received)
            answer = self.answers.pop(0) if self.answers else None
            self.arrived.notify_all()
        return answer or self.script(received)

    def wait_for(self, count: int, *, timeout_s: float = 20.0) -> list[Received]:
        """The requests, once there are `count`; fails the test if they do not come."""
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.received) >= count, timeout_s), (
                f"{len(self.received)} of {count} requests came in {timeout_s} s"
            )
            return list(self.received)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_: Any) -> None:
        """A sender that breaks off is what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    receiver: Receiver

    def setup(self) -> None:
        self.connection_number = self.receiver.connect()
        super().setup()

    def do_POST(self) -> None:
        length = int(self.headers.get("content-length", 0))
        body = self.rfile.read(length)
        if len(body) < length:
            # The sender was cut off, or killed: this is not a request.
            self.close_connection = True
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        reply = self.receiver.take(Received(self.path, headers, body, self.connection_number))
        # The sender may have given up on us.
        with suppress(ConnectionError):
            self._answer(reply) if isinstance(reply, Answer) else self._put(reply)

    def _answer(self, answer: Answer) -> None:
        self.receiver.stopped.wait(answer.delay_s)
        self.send_response(answer.status)
        for name, value in {"content-length": str(len(answer.body)), **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body)

    def _put(self, wire: Wire) -> None:
        self.close_connection = True
        if wire.is_torn:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
        for part in wire.parts:
            if isinstance(part, bytes):
                self.wfile.write(part)
            elif self.receiver.stopped.wait(part):
                return
        if wire.is_half_closed:
            self.connection.shutdown(socket.SHUT_WR)
            self.receiver.stopped.wait()

    def log_message(self, *_: Any) -> None:
        """The test tells what matters."""


@contextmanager
def running_receiver(tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    receiver = Receiver(tls)
    thread = threading.Thread(target=receiver.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.stopped.set()
        receiver.server.shutdown()
        receiver.server.server_close()
