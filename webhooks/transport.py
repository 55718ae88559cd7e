"""One POST -> one Outcome. The only module that speaks HTTP to receivers."""

import os
import socket
import ssl
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError

from webhooks import deadline, guard
from webhooks.deadline import Deadline

CONNECT_TIMEOUT_S = 5.0
DEADLINE_S = 15.0
BODY_LIMIT = 16 * 1024
HEADERS_KEPT = 50
HEADER_LIMIT = 1_000
MASK = "••••••••"
_MASKED = {"authorization", "proxy-authorization", "cookie", "set-cookie", "webhook-signature", "x-api-key"}


class Reason(StrEnum):
    """Why an attempt failed; each calls for something else to be done."""

    DNS = "dns"
    CONNECT = "connect"
    TLS = "tls"
    TIMEOUT = "timeout"
    REDIRECT = "redirect"
    HTTP_4XX = "http_4xx"
    HTTP_5XX = "http_5xx"
    GONE = "gone"
    BLOCKED_ADDRESS = "blocked_address"
    BAD_RESPONSE = "bad_response"
    WORKER_LOST = "worker_lost"
    # Of messages by e-mail.
    MAIL_SERVER = "mail_server"
    MAIL_LOGIN = "mail_login"
    MAIL_REFUSED = "mail_refused"
    NO_MAILBOX = "no_mailbox"
    NO_ADDRESS = "no_address"
    NO_TEXT = "no_text"


# Nothing would change if it were tried again, and nobody's server is at fault.
UNDELIVERABLE = frozenset({Reason.NO_MAILBOX, Reason.NO_ADDRESS, Reason.NO_TEXT})


@dataclass(slots=True)
class Outcome:
    """What came of one attempt. `reason` None means success: a status of 200-299, whatever the body says."""

    started_at: datetime
    duration_ms: int = 0
    status_code: int | None = None
    reason: Reason | None = None
    detail: str = ""
    request_headers: list[list[str]] = field(default_factory=list)
    response_headers: list[list[str]] = field(default_factory=list)
    response_body: str = ""
    response_truncated: bool = False
    retry_after: str | None = None


def post(url: str, *, headers: Mapping[str, str], body: bytes, masked: Sequence[str] = ()) -> Outcome:
    """Send `body` once, within DEADLINE_S by the wall clock. Never raises for what the world does.

    `masked` names request headers, besides the well-known ones, whose values the log must not show.
    """
    outcome = Outcome(started_at=datetime.now(UTC), request_headers=loggable(headers.items(), masked))
    started = time.monotonic()
    with Deadline(started + DEADLINE_S) as ends:
        try:
            _exchange(outcome, url, headers, body, ends)
        except Exception as error:
            outcome.reason, outcome.detail = _explain(error)
        if ends.expired and outcome.status_code is None:
            outcome.reason, outcome.detail = Reason.TIMEOUT, f"No complete answer within {DEADLINE_S:.0f} s."
    outcome.duration_ms = round((time.monotonic() - started) * 1000)
    return outcome


@dataclass(frozen=True, slots=True)
class Handshake:
    """What came of a TLS connection. `reason` None: it is trusted until `valid_until`."""

    duration_ms: int
    valid_until: datetime | None = None
    reason: Reason | None = None
    detail: str = ""


def shake_hands(url: str) -> Handshake:
    """Connect as `post` would and send nothing, to see the certificate. Never raises for what the world does."""
    started = time.monotonic()
    reason, detail, valid_until = None, "", None
    with Deadline(started + DEADLINE_S):
        try:
            valid_until = _certificate_end(url)
        except Exception as error:
            reason, detail = _explain(error)
    return Handshake(round((time.monotonic() - started) * 1000), valid_until, reason, detail)


def _certificate_end(url: str) -> datetime:
    parts = urlsplit(str(_addressed(url).url))
    connection = _GuardedHTTPS(
        parts.hostname or "",
        parts.port or 443,
        ca_certs=requests.adapters.DEFAULT_CA_BUNDLE_PATH,
        cert_reqs=ssl.CERT_REQUIRED,
    )
    try:
        connection.connect()
        encrypted: Any = connection.sock
        certificate = encrypted.getpeercert()
    finally:
        connection.close()
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(certificate["notAfter"]), UTC)


def _exchange(outcome: Outcome, url: str, headers: Mapping[str, str], body: bytes, ends: Deadline) -> None:
    response = _session().send(
        _request(url, headers, body),
        stream=True,
        allow_redirects=False,
        timeout=(CONNECT_TIMEOUT_S, DEADLINE_S),
        verify=True,
        proxies={},
    )
    if ends.expired:
        # Cut within its head, it may still look like a whole one: "HTTP/1.1 20" of 204, or of 2000.
        response.raw.close()
        return
    outcome.status_code = response.status_code
    outcome.response_headers = loggable(response.raw.headers.items())
    outcome.retry_after = response.headers.get("retry-after")
    outcome.reason, outcome.detail = _judge(response)
    if outcome.reason is Reason.BAD_RESPONSE:
        # What else is on its way must not be taken for the answer to the next request.
        response.raw.close()
    else:
        _read_body(outcome, response)


def _request(url: str, headers: Mapping[str, str], body: bytes) -> requests.PreparedRequest:
    request = _addressed(url).copy()
    request.prepare_headers(headers)
    request.headers["content-length"] = str(len(body))
    request.body = body
    return request


@lru_cache(maxsize=1024)
def _addressed(url: str) -> requests.PreparedRequest:
    """To be copied: an address is read once, not at every attempt."""
    return requests.Request("POST", url).prepare()


def _judge(response: requests.Response) -> tuple[Reason | None, str]:
    code = response.status_code
    if 200 <= code <= 299:
        return None, ""
    if code == 410:
        return Reason.GONE, "The receiver says it is gone for good."
    if 300 <= code <= 399:
        place = clean(response.headers.get("location", "nowhere"))[:300]
        return Reason.REDIRECT, f"The receiver redirects to {place}; redirects are never followed."
    if 400 <= code <= 499:
        return Reason.HTTP_4XX, f"The receiver refused it with {code}."
    if 500 <= code <= 599:
        return Reason.HTTP_5XX, f"The receiver failed with {code}."
    return Reason.BAD_RESPONSE, f"{code} is not a status an answer can have."


def _read_body(outcome: Outcome, response: requests.Response) -> None:
    """At most BODY_LIMIT bytes after decompression. The status has been judged: a broken body changes nothing."""
    try:
        body = response.raw.read(BODY_LIMIT + 1, decode_content=True)
    except (HTTPError, OSError):
        body, outcome.response_truncated = b"", True
    if len(body) > BODY_LIMIT:
        outcome.response_truncated = True
    if outcome.response_truncated:
        response.raw.close()
    else:
        response.raw.release_conn()
    outcome.response_body = clean(body[:BODY_LIMIT].decode("utf-8", "replace"))


def clean(text: str) -> str:
    """PostgreSQL stores no NUL, and nobody can read a lone surrogate."""
    return text.replace("\x00", "�").encode("utf-8", "replace").decode()


def loggable(headers: Any, masked: Sequence[str] = ()) -> list[list[str]]:
    hidden = _MASKED | {name.lower() for name in masked}
    return [
        [clean(name)[:HEADER_LIMIT], MASK if name.lower() in hidden else clean(value)[:HEADER_LIMIT]]
        for name, value in list(headers)[:HEADERS_KEPT]
    ]


# What to say of each fault, the most particular first: requests' exceptions inherit from one another.
_FAULTS: list[tuple[type[Exception], Reason, str]] = [
    (guard.BlockedAddress, Reason.BLOCKED_ADDRESS, "{error}"),
    (guard.UnknownHost, Reason.DNS, "{error}"),
    (requests.exceptions.SSLError, Reason.TLS, "The TLS connection failed: {error}"),
    (ssl.SSLError, Reason.TLS, "The TLS connection failed: {error}"),
    (requests.exceptions.ReadTimeout, Reason.TIMEOUT, "No answer in time."),
    (requests.exceptions.InvalidURL, Reason.DNS, "The address is not valid: {error}"),
]


def _explain(error: Exception) -> tuple[Reason, str]:
    for kind, reason, words in _FAULTS:
        if isinstance(error, kind):
            return reason, clean(words.format(error=_innermost(error)))[:500]
    if isinstance(_innermost(error), _NoConnection):
        return Reason.CONNECT, str(_innermost(error))[:500]
    if isinstance(error, (requests.exceptions.RequestException, HTTPError, OSError, ValueError)):
        return Reason.BAD_RESPONSE, clean(f"The connection broke before a valid answer: {_innermost(error)}")[:500]
    raise error


def _innermost(error: BaseException) -> BaseException:
    """The cause that says what happened, below the wrappers of requests and urllib3."""
    reason = getattr(error, "reason", None)
    for inner in (reason, *error.args):
        if isinstance(inner, BaseException):
            return _innermost(inner)
    return error


# Connections: to checked addresses only, and cut at the deadline.

_running = threading.local()


class _NoConnection(OSError):
    """None of the host's addresses accepted a connection."""


class _Guarded:
    """Connects to addresses the guard has checked, without a second look-up; kept connections cost nothing more."""

    host: str
    port: int
    encrypted = False
    wire: socket.socket | None = None

    def _new_conn(self) -> socket.socket:
        ends = time.monotonic() + CONNECT_TIMEOUT_S
        places = guard.resolve(self.host, self.port, encrypted=self.encrypted, timeout_s=CONNECT_TIMEOUT_S)
        fault: OSError | None = None
        for family, kind, protocol, _, place in places:
            try:
                connected = self._connect(socket.socket(family, kind, protocol), place, ends)
            except OSError as error:
                fault = error
            else:
                # A second handle on the same connection: the deadline can cut it even in the TLS handshake.
                self.wire = socket.socket(fileno=os.dup(connected.fileno()))
                deadline.watch(self.wire)
                return connected
        raise _NoConnection(f"{self.host}:{self.port} does not accept connections: {fault}.")

    @staticmethod
    def _connect(sock: socket.socket, place: Any, ends: float) -> socket.socket:
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.settimeout(max(ends - time.monotonic(), 0.1))
            sock.connect(place)
        except OSError:
            sock.close()
            raise
        return sock

    def request(self, *args: Any, **kwargs: Any) -> None:
        deadline.watch(self.wire)
        super().request(*args, **kwargs)  # type: ignore[misc]

    def close(self) -> None:
        super().close()  # type: ignore[misc]
        if self.wire is not None:
            self.wire.close()
            self.wire = None


class _GuardedHTTP(_Guarded, HTTPConnection):
    """http://"""


class _GuardedHTTPS(_Guarded, HTTPSConnection):
    """https://"""

    encrypted = True


class _HTTPPool(HTTPConnectionPool):
    ConnectionCls = _GuardedHTTP


class _HTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _GuardedHTTPS


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> None:
        """None: to prepare what is never followed, `requests` would read all of the body and judge the address."""


def _session() -> requests.Session:
    """This thread's own: sessions are not safe to share, and one keeps its connections alive."""
    session: requests.Session | None = getattr(_running, "session", None)
    if session is None:
        session = _Session()
        session.trust_env = False
        session.headers.clear()
        session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        adapter = _Adapter(pool_connections=100, pool_maxsize=1)
        session.mount("http://", adapter)
        session.mount("https://", adapter)
        _running.session = session
    return session
