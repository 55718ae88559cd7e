"""Examines a receiver: can it be reached, and does it tell a real delivery from a forged, an old or a repeated one?"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic
from urllib.parse import urlsplit

from django.db import models

from webhooks import guard, transport
from webhooks.advice import advice
from webhooks.delivery import request_headers
from webhooks.events import TEST, Ping
from webhooks.models import Event, Subscription
from webhooks.outbox import freeze
from webhooks.subscriptions import LOOK_UP_S, SubscriptionConflict
from webhooks.transport import Handshake, Outcome, Reason

RENEW_BEFORE = timedelta(days=14)
SLOW_MS = 5_000
# Standard Webhooks libraries refuse what was signed more than five minutes ago.
STALE = timedelta(hours=1)


class Check(models.TextChoices):
    NAME = "name", "Its name resolves"
    TLS = "tls", "Its certificate is trusted"
    REDIRECTS = "redirects", "It answers without a redirect"
    LATENCY = "latency", "It answers quickly"
    GOOD = "good", "It accepts a good delivery"
    TAMPERED = "tampered", "It refuses a changed body"
    STALE = "stale", "It refuses an old timestamp"
    REPEATED = "repeated", "It accepts the same event twice"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check showed; unless it is `ok`, `words` say what is wrong and how to mend it."""

    check: Check
    ok: bool
    words: str
    duration_ms: int = 0


def examine(subscription: Subscription, *, by: str, now: datetime) -> list[Finding]:
    """Look at the receiver, then send it signed `webhook.test` events, none of them recorded as a delivery.

    Ends early where the rest would prove nothing: who refuses a good delivery refuses a forged one too. Speaks HTTP, at
    the worst for a minute and a half: not for inside a transaction. Raises SubscriptionConflict for a draft.
    """
    if subscription.state == Subscription.State.DRAFT:
        raise SubscriptionConflict(f"{subscription} is a draft: finish its set-up first.")
    if subscription.channel != Subscription.Channel.WEBHOOK:
        raise SubscriptionConflict(f"{subscription} goes out by e-mail: there is no receiver to examine.")
    return list(_findings(subscription, Ping(subscription.public_id, subscription.name, by, now)))


def _findings(subscription: Subscription, ping: Ping) -> Iterator[Finding]:
    name = _resolve(subscription.url)
    yield name
    if not name.ok:
        return
    if urlsplit(subscription.url).scheme == "https":
        handshake = transport.shake_hands(subscription.url)
        yield _judge_certificate(handshake, now=ping.at)
        if handshake.reason:
            return
    good = _send(subscription, _probe(ping), now=ping.at)
    yield from _judge_answer(good)
    if good.reason:
        return
    yield _tampered(subscription, ping)
    yield _stale(subscription, ping)
    yield _repeated(subscription, ping)


# Reaching it


def _resolve(url: str) -> Finding:
    started = monotonic()
    parts = urlsplit(url)
    encrypted = parts.scheme == "https"
    host, port = parts.hostname or "", parts.port or (443 if encrypted else 80)
    try:
        answers = guard.resolve(host, port, encrypted=encrypted, timeout_s=LOOK_UP_S)
    except guard.UnknownHost as error:
        ok, words = False, f"{error} {advice(Reason.DNS).remedy}"
    except guard.BlockedAddress as error:
        ok, words = False, str(error)
    else:
        places = list(dict.fromkeys(str(place[0]) for *_, place in answers))
        ok, words = True, f"{host} leads to {', '.join(places)}." if places != [host] else "It is an address by itself."
    return Finding(Check.NAME, ok, words, round((monotonic() - started) * 1000))


def _judge_certificate(handshake: Handshake, *, now: datetime) -> Finding:
    if handshake.valid_until is None:
        words = f"{handshake.detail} {advice(handshake.reason or '').remedy}"
        return Finding(Check.TLS, False, words, handshake.duration_ms)
    left = handshake.valid_until - now
    words = f"The certificate is valid until {handshake.valid_until:%Y-%m-%d}, for {left.days} more days."
    ok = left > RENEW_BEFORE
    if not ok:
        words += " Renew it now, and see why that does not happen by itself: once it is over, every delivery fails."
    return Finding(Check.TLS, ok, words, handshake.duration_ms)


# Sending to it


def _probe(ping: Ping) -> Event:
    """An event that is not kept, with an id of its own."""
    event = Event(type=TEST.name, subject=TEST.subject.id(ping), sequence=1, occurred_at=ping.at)
    event.body = freeze(event, TEST.data_of(ping))
    return event


def _send(
    subscription: Subscription, event: Event, *, now: datetime, attempt: int = 1, instead: str | None = None
) -> Outcome:
    """Sign the event as if it were `now`; send it, or `instead` in place of its body."""
    headers = request_headers(
        subscription, event.body.encode(), event_id=event.public_id, attempt=attempt, signed_at=now
    )
    return transport.post(subscription.url, headers=headers, body=(instead or event.body).encode())


def _judge_answer(good: Outcome) -> Iterator[Finding]:
    took = good.duration_ms
    if good.reason is Reason.REDIRECT:
        yield Finding(Check.REDIRECTS, False, f"{good.detail} {advice(good.reason).remedy}", took)
        return
    if good.status_code is not None:
        yield Finding(Check.REDIRECTS, True, "It answers at this very address.", took)
        yield _judge_latency(took)
    if good.reason:
        yield Finding(Check.GOOD, False, f"{good.detail} {_remedy(good)}", took)
    else:
        yield Finding(Check.GOOD, True, f"It accepted it with {good.status_code}.", took)


def _judge_latency(took_ms: int) -> Finding:
    if took_ms < SLOW_MS:
        return Finding(Check.LATENCY, True, f"It answered in {took_ms} ms.", took_ms)
    words = f"It took {took_ms / 1000:.1f} s; after {transport.DEADLINE_S:.0f} s we give up. {advice('timeout').remedy}"
    return Finding(Check.LATENCY, False, words, took_ms)


def _remedy(good: Outcome) -> str:
    if good.reason is Reason.HTTP_5XX:
        return "Look into the receiver's own log."
    remedy = advice(good.reason or "").remedy
    if good.status_code in (400, 401, 403):
        remedy += (
            " If it is the signature that it refuses: it must have this subscription's newest secret or public key,"
            " verify the raw bytes of the body before any parser touches them, and have a clock that is right."
        )
    return remedy


def _tampered(subscription: Subscription, ping: Ping) -> Finding:
    event = _probe(ping)
    changed = freeze(event, TEST.data_of(ping) | {"message": "This is not what was signed."})
    return _judge_refusal(
        Check.TAMPERED,
        _send(subscription, event, now=ping.at, instead=changed),
        danger="It accepted a body that is not the one that was signed, so anybody can forge events. Verify each"
        " delivery's signature, as any Standard Webhooks library does, and answer 401 when that fails.",
    )


def _stale(subscription: Subscription, ping: Ping) -> Finding:
    return _judge_refusal(
        Check.STALE,
        _send(subscription, _probe(ping), now=ping.at - STALE),
        danger="It accepted what was signed an hour ago, so whoever gets hold of a delivery can send it again. Refuse a"
        " webhook-timestamp more than five minutes from now; a Standard Webhooks library does.",
    )


def _judge_refusal(check: Check, outcome: Outcome, *, danger: str) -> Finding:
    took = outcome.duration_ms
    if outcome.reason is None:
        return Finding(check, False, danger, took)
    if outcome.reason is Reason.HTTP_4XX and outcome.status_code != 429:
        return Finding(check, True, f"It refused it with {outcome.status_code}, as it should.", took)
    words = f"It did not accept it, but did not refuse it either. {outcome.detail} Answer 401 when verification fails."
    return Finding(check, False, words, took)


def _repeated(subscription: Subscription, ping: Ping) -> Finding:
    event = _probe(ping)
    first, copy = (_send(subscription, event, now=ping.at, attempt=attempt) for attempt in (1, 2))
    took = first.duration_ms + copy.duration_ms
    if first.reason is None and copy.reason is None:
        words = "It accepted both. Let the second have no effect: remember each webhook-id."
        return Finding(Check.REPEATED, True, words, took)
    which, outcome = ("the copy", copy) if first.reason is None else ("the first", first)
    words = f"It did not accept {which}. {outcome.detail} Answer 200 to an event you already have: else it comes again."
    return Finding(Check.REPEATED, False, words, took)
