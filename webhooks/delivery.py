"""Claim -> send -> record: the only writer of a delivery's state while it is on its way.

A claim takes due deliveries under a lease; threads send them; what came of them is written back in bulk, and only by
the lease's owner. No transaction is open while speaking HTTP.
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import connection, transaction

from webhooks import claims, health, retry, signing, transport
from webhooks.channels import email
from webhooks.claims import Claimed, held_by, released
from webhooks.models import Delivery, Subscription
from webhooks.transport import UNDELIVERABLE, Outcome

State = Delivery.State


@dataclass(frozen=True, slots=True)
class Sent:
    claimed: Claimed
    outcome: Outcome


# Send


def send(claimed: Claimed, *, now: datetime) -> Sent:
    """One attempt. Touches no database."""
    if claimed.subscription.channel == Subscription.Channel.EMAIL:
        return Sent(claimed, email.send(claimed))
    return Sent(claimed, _post(claimed, now=now))


def _post(claimed: Claimed, *, now: datetime) -> Outcome:
    """Signed for this moment."""
    subscription = claimed.subscription
    body = claimed.body.encode()
    headers = request_headers(
        subscription, body, event_id=claimed.event_id, attempt=claimed.attempt_count + 1, signed_at=now
    )
    if claimed.redelivery:
        headers["webhook-redelivery"] = "true"
    return transport.post(subscription.url, headers=headers, body=body, masked=list(subscription.headers))


def request_headers(
    subscription: Subscription, body: bytes, *, event_id: str, attempt: int, signed_at: datetime
) -> dict[str, str]:
    """Signed with the secrets that are live at that moment, which is the timestamp."""
    secrets = subscription.live_secrets(now=signed_at)
    timestamp = int(signed_at.timestamp())
    return {
        **subscription.headers,
        "content-type": "application/json",
        "accept-encoding": "identity",
        "user-agent": settings.WEBHOOK_USER_AGENT,
        "webhook-id": event_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signing.signature(body, message_id=event_id, timestamp=timestamp, secrets=secrets),
        "webhook-attempt": str(attempt),
    }


# Record


class LeaseLost(Exception):
    """Some of the deliveries are no longer ours: their leases ran out before their outcomes were in."""


def record(batch: Sequence[Sent], *, owner: str, now: datetime) -> int:
    """Write the attempts and what follows from them, for those whose lease is still ours; how many that was.

    A lease that ran out was given to somebody else, together with the right to tell how it ended.
    """
    try:
        _record_all(batch, owner=owner, now=now)
    except LeaseLost:
        batch = _still_ours(batch, owner=owner)
        _record_all(batch, owner=owner, now=now)
    return len(batch)


@transaction.atomic
def _record_all(batch: Sequence[Sent], *, owner: str, now: datetime) -> None:
    """All or, if one of them is not ours, none. Three statements when all have arrived."""
    if _settle(batch, owner=owner, now=now) != len(batch):
        raise LeaseLost
    _log([_attempt(sent, owner) for sent in batch])
    health.learn([(sent.claimed, sent.outcome) for sent in batch], now=now)


def _still_ours(batch: Sequence[Sent], *, owner: str) -> list[Sent]:
    held = set(held_by([sent.claimed.id for sent in batch], owner).values_list("pk", flat=True))
    return [sent for sent in batch if sent.claimed.id in held]


_COLUMNS = """
    delivery_id, number, started_at, duration_ms, status_code, reason, detail, url,
    request_headers, response_headers, response_body, response_truncated, worker
"""
_COPY = f"COPY webhooks_attempt ({_COLUMNS}) FROM STDIN"
_INSERT = f"INSERT INTO webhooks_attempt ({_COLUMNS}) VALUES ({', '.join(['%s'] * 13)})"  # noqa: S608 (all ours)

_Row = tuple[Any, ...]


def _log(attempts: Sequence[_Row]) -> None:
    """One statement. Not the ORM's `bulk_create`, which costs a third of what sending the request does."""
    with connection.cursor() as cursor, connection.wrap_database_errors:
        if connection.vendor != "postgresql":
            cursor.executemany(_INSERT, attempts)
            return
        with cursor.copy(_COPY) as copy:
            for attempt in attempts:
                copy.write_row(attempt)


def _attempt(sent: Sent, owner: str) -> _Row:
    """In the order of _COLUMNS."""
    claimed, outcome = sent.claimed, sent.outcome
    return (
        claimed.id,
        claimed.attempt_count + 1,
        connection.ops.adapt_datetimefield_value(outcome.started_at),
        outcome.duration_ms,
        outcome.status_code,
        outcome.reason or "",
        outcome.detail,
        claimed.subscription.url,
        json.dumps(outcome.request_headers),
        json.dumps(outcome.response_headers),
        outcome.response_body,
        outcome.response_truncated,
        owner,
    )


def _settle(batch: Sequence[Sent], *, owner: str, now: datetime) -> int:
    """One statement for all that arrived with the same status, one for each failure; how many rows were ours."""
    settled = 0
    by_status: dict[int | None, list[int]] = defaultdict(list)
    for sent in batch:
        if sent.outcome.reason is None:
            by_status[sent.outcome.status_code].append(sent.claimed.id)
        else:
            settled += held_by([sent.claimed.id], owner).update(**_after_failure(sent, now=now))
    for status_code, ids in by_status.items():
        settled += claims.arrived(ids, owner, status_code=status_code, now=now)
    return settled


def _after_failure(sent: Sent, *, now: datetime) -> dict[str, Any]:
    """Due again by the schedule, or parked when that has run out; at its end if trying again would be in vain."""
    claimed, outcome = sent.claimed, sent.outcome
    said = {"last_status_code": outcome.status_code, "last_reason": outcome.reason}
    if outcome.reason in UNDELIVERABLE:
        return {**released(State.SKIPPED, None), **said}
    due = retry.next_attempt_at(
        claimed.attempt_count + 1 - claimed.attempts_before,
        steps=retry.schedule(claimed.subscription.retry_schedule),
        failed_at=now,
        retry_after=retry.parse_retry_after(outcome.retry_after, now=now) if outcome.retry_after else None,
    )
    return {**released(State.PENDING if due else State.PARKED, due), "lane": Delivery.Lane.LATE, **said}
