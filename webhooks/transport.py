"""One POST -> one Outcome. The only module that speaks HTTP to receivers."""

import ssl
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError, SSLError

from webhooks import connections, guard
from webhooks.answers import Answer
from webhooks.connections import Checked
from webhooks.deadline import Deadline

DEADLINE_S = 15.0
_HOSTS_KEPT = 100
BODY_LIMIT = 16 * 1024
HEADERS_KEPT = 50
HEADER_LIMIT = 1_000
SHORTEST_SECRET = 6
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
    _hide(outcome, _secrets_of(headers, masked))
    return outcome


def _secrets_of(headers: Mapping[str, str], masked: Sequence[str]) -> list[str]:
    """What must not be read in the log even if the receiver says it back; the longest first."""
    hidden = _hidden(masked)
    values = [value for name, value in headers.items() if name.lower() in hidden]
    # Of "Bearer s3cret" the second word alone, too. What is shorter stands in any text.
    words = {*values, *(value.rpartition(" ")[2] for value in values)}
    return sorted((word for word in words if len(word) >= SHORTEST_SECRET), key=len, reverse=True)


def _hide(outcome: Outcome, secrets: Sequence[str]) -> None:
    for secret in secrets:
        outcome.detail = outcome.detail.replace(secret, MASK)
        outcome.response_body = outcome.response_body.replace(secret, MASK)
        for header in outcome.response_headers:
            header[1] = header[1].replace(secret, MASK)


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
    parts = urlsplit(_prepared_url(url))
    connection = connections.CheckedHTTPS(
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
    """By an address that is read once, not at every attempt, and headers that were checked when they were saved."""
    address = _prepared_url(url)
    headers = {**headers, "content-length": str(len(body))}
    with _connection(address).exchange(_target(address), headers, body, timeout_s=DEADLINE_S) as answer:
        # Cut within its head, it may still look like a whole one: "HTTP/1.1 20" of 204, or of 2000.
        if not ends.expired:
            _take_down(outcome, answer)


def _take_down(outcome: Outcome, answer: Answer) -> None:
    outcome.status_code = answer.status
    outcome.response_headers = loggable(answer.headers)
    outcome.retry_after = answer.header("retry-after")
    outcome.reason, outcome.detail = _judge(answer)
    if outcome.reason is not Reason.BAD_RESPONSE:
        _read_body(outcome, answer)


@lru_cache(maxsize=1024)
def _prepared_url(url: str) -> str:
    """As it goes over the wire: its name in ASCII, its path quoted. Raises InvalidURL."""
    return str(requests.Request("POST", url).prepare().url)


def _judge(answer: Answer) -> tuple[Reason | None, str]:
    code = answer.status
    if 200 <= code <= 299:
        return None, ""
    if code == 410:
        return Reason.GONE, "The receiver says it is gone for good."
    if 300 <= code <= 399:
        place = clean(answer.header("location") or "nowhere")[:300]
        return Reason.REDIRECT, f"The receiver redirects to {place}; redirects are never followed."
    if 400 <= code <= 499:
        return Reason.HTTP_4XX, f"The receiver refused it with {code}."
    if 500 <= code <= 599:
        return Reason.HTTP_5XX, f"The receiver failed with {code}."
    return Reason.BAD_RESPONSE, f"{code} is not a status an answer can have."


def _read_body(outcome: Outcome, answer: Answer) -> None:
    """At most BODY_LIMIT bytes after decompression. The status has been judged: a broken body changes nothing."""
    try:
        body = answer.body.read(BODY_LIMIT + 1)
    except (HTTPError, OSError):
        body, outcome.response_truncated = b"", True
    if len(body) > BODY_LIMIT:
        outcome.response_truncated = True
    outcome.response_body = clean(body[:BODY_LIMIT].decode("utf-8", "replace"))


def clean(text: str) -> str:
    """PostgreSQL stores no NUL, and nobody can read a lone surrogate."""
    if text.isascii() and "\x00" not in text:
        return text
    return text.replace("\x00", "�").encode("utf-8", "replace").decode()


def _hidden(masked: Sequence[str]) -> set[str]:
    return _MASKED.union(map(str.lower, masked))


def loggable(headers: Any, masked: Sequence[str] = ()) -> list[list[str]]:
    hidden = _hidden(masked)
    return [
        [clean(name)[:HEADER_LIMIT], MASK if name.lower() in hidden else clean(value)[:HEADER_LIMIT]]
        for name, value in list(headers)[:HEADERS_KEPT]
    ]


# What to say of each fault, the most particular first: several are an OSError or a ValueError, too.
_FAULTS: list[tuple[tuple[type[Exception], ...], Reason, str]] = [
    ((guard.BlockedAddress,), Reason.BLOCKED_ADDRESS, "{error}"),
    ((guard.UnknownHost,), Reason.DNS, "{error}"),
    ((connections.NoConnection,), Reason.CONNECT, "{error}"),
    ((ssl.SSLError, SSLError), Reason.TLS, "The TLS connection failed: {error}"),
    ((TimeoutError,), Reason.TIMEOUT, "No answer in time."),
    ((requests.exceptions.InvalidURL,), Reason.DNS, "The address is not valid: {error}"),
    (
        (requests.exceptions.RequestException, HTTPException, HTTPError, OSError, ValueError),
        Reason.BAD_RESPONSE,
        "The connection broke before a valid answer: {error}",
    ),
]


def _explain(error: Exception) -> tuple[Reason, str]:
    for kinds, reason, words in _FAULTS:
        if isinstance(error, kinds):
            return reason, clean(words.format(error=_innermost(error)))[:500]
    raise error


def _innermost(error: BaseException) -> BaseException:
    """The cause that says what happened, below the wrappers of requests and urllib3."""
    reason = getattr(error, "reason", None)
    for inner in (reason, *error.args):
        if isinstance(inner, BaseException):
            return _innermost(inner)
    return error


_running = threading.local()


class _Adapter(HTTPAdapter):
    """Keeps a connection to each receiver, with the trust in certificates that `requests` has."""

    def __init__(self) -> None:
        self.pools: dict[str, Any] = {}
        super().__init__(pool_connections=_HOSTS_KEPT, pool_maxsize=1)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = connections.POOLS

    def pool(self, url: str) -> Any:
        """Found by the address: to put together what tells pools apart costs a tenth of what sending does."""
        pool = self.pools.get(url)
        # One that was too many has been closed by the pool manager.
        if pool is None or pool.pool is None:
            if len(self.pools) > _HOSTS_KEPT:
                self.pools.clear()
            request = requests.Request("POST", url).prepare()
            self.pools[url] = pool = self.get_connection_with_tls_context(request, verify=True)
            self.cert_verify(pool, url, verify=True, cert=None)  # type: ignore[no-untyped-call]
        return pool


def _connection(url: str) -> Checked:
    """This thread's own: it is not safe to share, and one is kept alive for each receiver."""
    adapter: _Adapter | None = getattr(_running, "adapter", None)
    if adapter is None:
        adapter = _running.adapter = _Adapter()
    connection: Checked = adapter.pool(url).connection()
    return connection


@lru_cache(maxsize=1024)
def _target(url: str) -> str:
    """The path and query that the request line names."""
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
