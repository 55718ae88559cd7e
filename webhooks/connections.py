"""Connections of urllib3 to checked addresses only, which the deadline of an attempt can cut."""

import os
import re
import socket
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from webhooks import answers, deadline, guard
from webhooks.answers import Answer

CONNECT_TIMEOUT_S = 5.0
ADDRESSES_TRIED = 8
# For how long an idle connection may be used again. Receivers end theirs, many after 5 s, and some say when, in
# `Keep-Alive`: what is sent in that very moment fails. So it is given up a little earlier.
IDLE_S = 4.0
_TIMEOUT = re.compile(r"\btimeout=(\d{1,5})\b", re.IGNORECASE)
_SAFE_PART = 0.8


class NoConnection(OSError):
    """None of the host's addresses accepted a connection."""


class Checked:
    """Connects to addresses the guard has checked, without a second look-up; kept connections cost nothing more."""

    # As urllib3 has them.
    host: str
    port: int
    default_port: int
    sock: socket.socket
    is_connected: bool
    connect: Callable[[], None]

    encrypted = False
    wire: socket.socket | None = None
    # By the monotonic clock.
    usable_until = 0.0

    def _new_conn(self) -> socket.socket:
        ends = time.monotonic() + CONNECT_TIMEOUT_S
        places = guard.resolve(self.host, self.port, encrypted=self.encrypted, timeout_s=CONNECT_TIMEOUT_S)
        places = places[:ADDRESSES_TRIED]
        fault: OSError | None = None
        for untried, (family, kind, protocol, _, place) in zip(range(len(places), 0, -1), places, strict=True):
            # A share each: one that does not answer leaves the others their time.
            timeout_s = max((ends - time.monotonic()) / untried, 0.1)
            try:
                connected = self._connect(socket.socket(family, kind, protocol), place, timeout_s)
            except OSError as error:
                fault = error
            else:
                # A second handle on the same connection: the deadline can cut it even in the TLS handshake.
                self.wire = socket.socket(fileno=os.dup(connected.fileno()))
                deadline.watch(self.wire)
                return connected
        raise NoConnection(f"{self.host}:{self.port} does not accept connections: {fault}.")

    @staticmethod
    def _connect(sock: socket.socket, place: Any, timeout_s: float) -> socket.socket:
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.settimeout(timeout_s)
            sock.connect(place)
        except OSError:
            sock.close()
            raise
        return sock

    @contextmanager
    def exchange(self, target: str, headers: Mapping[str, str], body: bytes, *, timeout_s: float) -> Iterator[Answer]:
        """POST once. Ends the connection unless all of the answer has been read. Raises OSError or HTTPException."""
        answer = None
        try:
            yield (answer := self._ask(self._head(target, headers) + body, timeout_s=timeout_s))
        finally:
            if answer is None or not answer.body.is_read():
                self.close()
            else:
                self.usable_until = time.monotonic() + _idle_s(answer)

    def _ask(self, request: bytes, *, timeout_s: float) -> Answer:
        """Head and body in one packet: two would wake the receiver twice."""
        if time.monotonic() > self.usable_until or not self.is_connected:
            # It has ended, or may be about to; or the receiver says what nobody asked for.
            self.close()
            self.connect()
        deadline.watch(self.wire)
        if self.sock.gettimeout() != timeout_s:
            self.sock.settimeout(timeout_s)
        self.sock.sendall(request)
        return answers.read(self.sock.makefile("rb"))

    def _head(self, target: str, headers: Mapping[str, str]) -> bytes:
        """Raises ValueError for what would not arrive as it is meant."""
        lines = [f"POST {target} HTTP/1.1", f"Host: {self.named}", *map(": ".join, headers.items()), "", ""]
        head = "\r\n".join(lines)
        if head.count("\n") >= len(lines) or head.count("\r") >= len(lines):
            raise ValueError("a header has a line break in it")
        return head.encode("latin-1")

    @cached_property
    def named(self) -> str:
        """The host, as it is called: with its port, unless that is the usual one."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return name if self.port == self.default_port else f"{name}:{self.port}"

    def close(self) -> None:
        super().close()  # type: ignore[misc]
        if self.wire is not None:
            self.wire.close()
            self.wire = None


def _idle_s(answer: Answer) -> float:
    timeout = _TIMEOUT.search(answer.header("keep-alive") or "")
    return int(timeout[1]) * _SAFE_PART if timeout else IDLE_S


class CheckedHTTP(Checked, HTTPConnection):
    """http://"""


class CheckedHTTPS(Checked, HTTPSConnection):
    """https://"""

    encrypted = True


class _Kept:
    """A pool of one connection: of one receiver, for one thread. It is closed with the pool, or when that is gone."""

    kept: Checked | None = None

    def connection(self) -> Checked:
        if self.kept is None:
            self.kept = self._new_conn()  # type: ignore[attr-defined]
            self.give_up = weakref.finalize(self, self.kept.close)
        return self.kept

    def close(self) -> None:
        super().close()  # type: ignore[misc]
        if self.kept is not None:
            self.give_up()


class _HTTPPool(_Kept, HTTPConnectionPool):
    ConnectionCls: Any = CheckedHTTP


class _HTTPSPool(_Kept, HTTPSConnectionPool):
    ConnectionCls: Any = CheckedHTTPS


# By scheme, for urllib3's pool manager.
POOLS = {"http": _HTTPPool, "https": _HTTPSPool}
