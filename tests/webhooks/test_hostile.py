"""Receivers that mean harm, or are broken: what the log says of each, and that nobody else is touched by it."""

import socket
import ssl
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests
import trustme
from django.contrib.auth.models import User
from django.test import Client

from tests import receiver as misbehaving
from tests.receiver import OK_HEAD, Answer, Receiver, Reply, Wire, redirect, running_receiver
from tests.webhooks.factories import NOWHERE, crank, happen, make_subscription
from webhooks import transport
from webhooks.drain import sender
from webhooks.models import Attempt, Delivery, Subscription

pytestmark = pytest.mark.django_db(transaction=True)

DEADLINE_S = 3.0


def slowly(text: bytes) -> Wire:
    """A letter at a time, for longer than anybody waits."""
    return Wire([part for letter in text + b"-" * 100 for part in (bytes([letter]), 0.1)])


# What one server answers, by the path it is called at, and what is to be made of it: reason and status.
REPLIES: dict[str, tuple[Reply, str, int | None]] = {
    # Slow
    "says nothing": (misbehaving.SILENCE, "timeout", None),
    "drips its status line": (slowly(b"HTTP/1.1 200 OK"), "timeout", None),
    "drips its headers": (slowly(OK_HEAD + b"x-slow: "), "timeout", None),
    "drips its body": (misbehaving.drip(), "", 200),
    "drips the body of a failure": (misbehaving.drip(b"HTTP/1.1 503 Busy\r\n"), "http_5xx", 503),
    "promises an answer for ever": (misbehaving.ENDLESS_PROMISES, "timeout", None),
    # Large
    "sends a body of 1 GB": (misbehaving.HUGE_BODY, "", 200),
    "sends a body without end": (misbehaving.ENDLESS_BODY, "", 200),
    "sends a compression bomb": (misbehaving.COMPRESSION_BOMB, "", 200),
    "sends a bomb with a redirect": (
        Answer(302, misbehaving.COMPRESSION_BOMB.body, {"location": "/", "content-encoding": "gzip"}),
        "redirect",
        302,
    ),
    "compresses a thousand times": (misbehaving.NESTED_GZIP, "", 200),
    "floods with headers": (misbehaving.HEADER_FLOOD, "bad_response", None),
    "sends one long header": (misbehaving.LONG_HEADER, "bad_response", None),
    "sends as many headers as may be": (
        Answer(500, headers={f"x-{n}": "v" * 5_000 for n in range(90)}),
        "http_5xx",
        500,
    ),
    # Bytes that mean nothing
    "sends NUL and invalid UTF-8": (misbehaving.NUL_AND_INVALID_UTF8, "", 200),
    "fails with NUL and invalid UTF-8": (
        Answer(500, b"\x00\xff\xed\xa0\x80", {f"x-{n}\x00": "\xff\x00" for n in range(60)}),
        "http_5xx",
        500,
    ),
    "sends what is no gzip": (misbehaving.BROKEN_GZIP, "", 200),
    "sends broken chunks": (misbehaving.BROKEN_CHUNKS, "", 200),
    # Sockets
    "hangs up": (misbehaving.HANG_UP, "bad_response", None),
    "resets the connection": (misbehaving.RESET, "bad_response", None),
    "half closes without an answer": (misbehaving.HALF_CLOSED, "bad_response", None),
    "half closes within the body": (misbehaving.HALF_CLOSED_IN_THE_BODY, "", 200),
    "resets within the body": (misbehaving.RESET_IN_THE_BODY, "", 200),
    "ends its body early": (misbehaving.CUT_SHORT, "", 200),
    # Status lines
    "has a malformed status line": (misbehaving.MALFORMED_STATUS, "bad_response", None),
    "has a status of five digits": (Wire([b"HTTP/1.1 20000 OK\r\n\r\n"]), "bad_response", None),
    "has a negative status": (Wire([b"HTTP/1.1 -200 OK\r\n\r\n"]), "bad_response", None),
    "has a status that none is": (Answer(999), "bad_response", 999),
    "answers in another protocol": (misbehaving.NOT_HTTP, "bad_response", None),
    "answers with NUL": (Wire([b"\x00" * 100]), "bad_response", None),
    "answers with interim words only": (Wire([b"HTTP/1.1 103 Early Hints\r\n\r\n"]), "bad_response", 103),
    "asks for a year that none is": (
        Answer(500, headers={"retry-after": "Mon, 23 Nov 99999 10:05:00 +" + "9" * 30}),
        "http_5xx",
        500,
    ),
    "says that it is gone": (Answer(410), "gone", 410),
    # Redirects
    "redirects to loopback": (redirect("http://127.0.0.1/"), "redirect", 302),
    "redirects to the metadata of a cloud": (redirect("http://169.254.169.254/latest/", 307), "redirect", 307),
    "redirects to what is no address": (redirect("http://[\x00\xff/" + "x" * 2_000), "redirect", 302),
}

# Gives the address of a receiver for as long as it runs.
Server = Callable[[trustme.CA], AbstractContextManager[str]]


def with_certificate(
    issue: Callable[[trustme.CA], trustme.LeafCert], *, reply: Reply | None = None, is_old: bool = False
) -> Server:
    @contextmanager
    def serve(authority: trustme.CA) -> Iterator[str]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        issue(authority).configure_cert(context)
        if is_old:
            _go_back_in_time(context)
        with running_receiver(context) as receiver:
            receiver.script = lambda _: reply or Answer()
            yield receiver.url

    return serve


def _go_back_in_time(context: ssl.SSLContext) -> None:
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1


def good(authority: trustme.CA) -> trustme.LeafCert:
    return authority.issue_cert("127.0.0.1")


def expired(authority: trustme.CA) -> trustme.LeafCert:
    return authority.issue_cert("127.0.0.1", not_after=datetime(2020, 1, 1, tzinfo=UTC))


def of_another(authority: trustme.CA) -> trustme.LeafCert:
    return authority.issue_cert("shop.example")


def of_its_own_making(_: trustme.CA) -> trustme.LeafCert:
    return trustme.CA().issue_cert("127.0.0.1")


def shaking_hands_with(last_words: bytes) -> Server:
    """In place of its part of a TLS handshake it says this, and hangs up."""

    def answer(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(65_536)
            connection.sendall(last_words)

    @contextmanager
    def serve(_: trustme.CA) -> Iterator[str]:
        with socket.create_server(("127.0.0.1", 0)) as server:
            answering = threading.Thread(target=answer, args=[server], daemon=True)
            answering.start()
            yield f"https://127.0.0.1:{server.getsockname()[1]}/"
            answering.join(5)

    return serve


@contextmanager
def never_shaking_hands(_: trustme.CA) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0), backlog=16) as server:
        yield f"https://127.0.0.1:{server.getsockname()[1]}/"


@contextmanager
def speaking_no_tls(_: trustme.CA) -> Iterator[str]:
    with running_receiver() as receiver:
        yield receiver.url.replace("http:", "https:")


@contextmanager
def not_listening(_: trustme.CA) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    yield f"http://127.0.0.1:{port}/"


def at(url: str) -> Server:
    @contextmanager
    def serve(_: trustme.CA) -> Iterator[str]:
        yield url

    return serve


# Those that never come to an answer, and one that does.
SERVERS: dict[str, tuple[Server, str, int | None]] = {
    "has a certificate that has expired": (with_certificate(expired), "tls", None),
    "has the certificate of another": (with_certificate(of_another), "tls", None),
    "has a certificate of its own making": (with_certificate(of_its_own_making), "tls", None),
    "speaks TLS of the last century": (with_certificate(good, is_old=True), "tls", None),
    "speaks no TLS": (speaking_no_tls, "tls", None),
    "refuses the handshake": (shaking_hands_with(b"\x15\x03\x01\x00\x02\x02\x28"), "tls", None),
    "answers the handshake with noise": (shaking_hands_with(b"\x00" * 64), "tls", None),
    "hangs up in the handshake": (shaking_hands_with(b""), "tls", None),
    "never ends the handshake": (never_shaking_hands, "timeout", None),
    "drips over TLS": (
        with_certificate(good, reply=misbehaving.drip(b"HTTP/1.1 500 Oops\r\n")),
        "http_5xx",
        500,
    ),
    "does not listen": (not_listening, "connect", None),
    "has moved to a forbidden address": (at("http://10.0.0.1/"), "blocked_address", None),
    "has moved to nowhere": (at("http://nowhere.invalid/"), "dns", None),
}


@pytest.fixture
def authority(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> trustme.CA:
    """The only one we trust."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setattr(requests.adapters, "DEFAULT_CA_BUNDLE_PATH", str(tmp_path / "authority.pem"))
    return authority


@contextmanager
def running_all(authority: trustme.CA) -> Iterator[dict[str, str]]:
    """The address of each, by what it does."""
    with ExitStack() as running:
        misbehaver = running.enter_context(running_receiver())
        paths = {f"/{place}": name for place, name in enumerate(REPLIES)}
        misbehaver.script = lambda received: REPLIES[paths[received.path]][0]
        urls = {name: misbehaver.url.replace("/webhooks", path) for path, name in paths.items()}
        for name, (server, _, _) in SERVERS.items():
            urls[name] = running.enter_context(server(authority))
        yield urls


def subscribe(urls: dict[str, str]) -> None:
    """Their addresses were good ones when they were set up."""
    for name, url in urls.items():
        hostile = make_subscription(NOWHERE, name=name, event_types=["webhook.*"])
        Subscription.objects.filter(pk=hostile.pk).update(url=url)


def test_each_ends_in_its_reason_and_harms_neither_worker_nor_log(
    receiver: Receiver, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(transport, "DEADLINE_S", DEADLINE_S)
    make_subscription(receiver.url, name="is well", event_types=["webhook.*"])
    with running_all(authority) as urls:
        subscribe(urls)
        happen("first")
        crank()

    hostile = {name: (reason, status) for name, (_, reason, status) in (REPLIES | SERVERS).items()}
    log = Attempt.objects.values_list("delivery__subscription__name", "reason", "status_code")
    assert {name: (reason, status) for name, reason, status in log} == hostile | {"is well": ("", 200)}
    for attempt in Attempt.objects.all():
        assert attempt.duration_ms < (DEADLINE_S + 2) * 1000
        assert len(attempt.response_body) <= transport.BODY_LIMIT
        assert bool(attempt.detail) is bool(attempt.reason)
    assert sender().in_flight == 0
    # The worker's own log has no place for what they say: one is disabled, and nobody has an address to be told at.
    assert [record.name for record in caplog.records] == ["webhooks.health", "webhooks.notices"]
    _read_the_log()
    happen("second")
    crank()
    assert len(receiver.received) == 2


def _read_the_log() -> None:
    client = Client()
    client.force_login(User.objects.create_superuser("ann"))
    for delivery in Delivery.objects.filter(subject="first"):
        page = client.get(f"/admin/webhooks/delivery/{delivery.pk}/change/")
        assert (page.status_code, "\x00" in page.content.decode()) == (200, False)


def test_one_whose_name_changes_is_judged_by_what_is_connected_to(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One look-up when it is saved, one for each connection: there is none between a check and its connection."""
    look_up, answers = socket.getaddrinfo, iter(["127.0.0.1", "127.0.0.1", "10.0.0.1"])

    def change(host: str, *rest: object, **named: object) -> object:
        return look_up(next(answers) if host == "shop.example" else host, *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", change)
    make_subscription(f"http://shop.example:{receiver.port}/", event_types=["webhook.*"])
    receiver.answers = [Wire([OK_HEAD, b"connection: close\r\ncontent-length: 0\r\n\r\n"])]

    for subject in ("before", "after"):
        happen(subject)
        crank()

    log = Attempt.objects.order_by("id").values_list("delivery__subject", "reason")
    assert list(log) == [("before", ""), ("after", "blocked_address")]
    assert len(receiver.received) == 1
