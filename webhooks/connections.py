"""Connections of urllib3 to checked addresses only, which the deadline of an attempt can cut."""

import os
import socket
import time
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from webhooks import deadline, guard

CONNECT_TIMEOUT_S = 5.0
ADDRESSES_TRIED = 8


class NoConnection(OSError):
    """None of the host's addresses accepted a connection."""


class _Checked:
    """Connects to addresses the guard has checked, without a second look-up; kept connections cost nothing more."""

    host: str
    port: int
    encrypted = False
    wire: socket.socket | None = None
    # What a request consists of, while it is being put together.
    parcel: list[bytes] | None = None

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

    def request(self, *args: Any, **kwargs: Any) -> None:
        """Head and body in one packet: two would wake the receiver twice."""
        deadline.watch(self.wire)
        self.parcel = []
        try:
            super().request(*args, **kwargs)  # type: ignore[misc]
            parcel = b"".join(self.parcel)
        finally:
            self.parcel = None
        self.send(parcel)

    def send(self, data: Any) -> None:
        if self.parcel is None:
            super().send(data)  # type: ignore[misc]
        else:
            self.parcel.append(data)

    def close(self) -> None:
        super().close()  # type: ignore[misc]
        if self.wire is not None:
            self.wire.close()
            self.wire = None


class CheckedHTTP(_Checked, HTTPConnection):
    """http://"""


class CheckedHTTPS(_Checked, HTTPSConnection):
    """https://"""

    encrypted = True


class _HTTPPool(HTTPConnectionPool):
    ConnectionCls = CheckedHTTP


class _HTTPSPool(HTTPSConnectionPool):
    ConnectionCls = CheckedHTTPS


# By scheme, for urllib3's pool manager.
POOLS = {"http": _HTTPPool, "https": _HTTPSPool}
