"""Write what happened and who must be told, in the transaction of the change itself."""

import json
from datetime import UTC, datetime
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection, transaction

from webhooks import broker, conditions
from webhooks.catalogue import API_VERSION, EventType
from webhooks.fields import new_public_id
from webhooks.models import Delivery, Event, EventSequence, Subscription

# Where PostgreSQL tells, with each commit, the subjects of its events.
CHANNEL = "events"


def emit(event_type: EventType, fact: Any, *, only_to: Subscription | None = None) -> Event:
    """Freeze the event of `fact`, and one delivery for each subscription that wants it. Four statements.

    Must run in the transaction that wrote the fact; the fact's `at` is the event's moment. `only_to` names the one
    subscription a test event is for.
    """
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError(
            f"{event_type.name} must be emitted in the transaction of its change."
        )
    event, data = _build(event_type, fact)
    event.save(force_insert=True)
    _owe(event, [only_to] if only_to else _subscriptions_to(event_type, data))
    return event


def amend(event: Event, event_type: EventType, fact: Any) -> None:
    """Freeze anew an event of the running transaction: several changes of one row are told once, as they ended.

    And to whom that is to be told: what it was at first may have met other conditions.
    """
    data = event_type.data_of(fact)
    event.occurred_at = fact.at
    event.body = freeze(event, data)
    event.save(update_fields=["occurred_at", "body"])
    event.deliveries.all().delete()
    _owe(event, _subscriptions_to(event_type, data))


def retract(event: Event) -> None:
    """Take back an event of the running transaction: its change was undone before anybody could see it."""
    event.delete()
    EventSequence.objects.filter(subject=event.subject).update(last=event.sequence - 1)


def freeze(event: Event, data: Any) -> str:
    """The body: the bytes that are signed and sent on every attempt, compact JSON in the envelope's order."""
    envelope = {
        "id": event.public_id,
        "type": event.type,
        "api_version": API_VERSION,
        "timestamp": rfc3339(event.occurred_at),
        "subject": event.subject,
        "sequence": event.sequence,
        "data": data,
    }
    return json.dumps(envelope, ensure_ascii=False, separators=(",", ":"), cls=DjangoJSONEncoder)


def rfc3339(moment: datetime) -> str:
    """`2026-11-23T18:04:05.123Z`: UTC, milliseconds."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _build(event_type: EventType, fact: Any) -> tuple[Event, Any]:
    """The event, not yet saved, and its `data`."""
    subject = event_type.subject.id(fact)
    event = Event(
        public_id=new_public_id("evt"),
        type=event_type.name,
        subject=subject,
        label=event_type.subject.label(fact),
        sequence=_next_sequence(subject),
        occurred_at=fact.at,
    )
    data = event_type.data_of(fact)
    event.body = freeze(event, data)
    return event, data


_COUNT_UP = """
    INSERT INTO webhooks_eventsequence (subject, last) VALUES (%s, 1)
    ON CONFLICT (subject) DO UPDATE SET last = webhooks_eventsequence.last + 1 RETURNING last"""


def _next_sequence(subject: str) -> int:
    """One more than the subject's last. Holds the subject's row until commit: sequence order is commit order.

    The same statement wakes the open streams once that commit is done.
    """
    wakes = f", pg_notify('{CHANNEL}', subject)" if connection.vendor == "postgresql" else ""
    with connection.cursor() as cursor:
        cursor.execute(_COUNT_UP + wakes, [subject])
        return int(cursor.fetchone()[0])


def _subscriptions_to(event_type: EventType, data: Any) -> list[Subscription]:
    saved = Subscription.objects.exclude(state=Subscription.State.DRAFT)
    return [
        subscription
        for subscription in saved.only("id", "state", "event_types", "conditions")
        if subscription.wants(event_type.name) and conditions.hold(subscription.conditions, event_type, data)
    ]


def _owe(event: Event, subscriptions: list[Subscription]) -> None:
    """Add the deliveries, and wake the cluster once the transaction has committed."""
    if subscriptions:
        Delivery.objects.bulk_create(new_delivery(event, subscription) for subscription in subscriptions)
        broker.ring()


def new_delivery(event: Event, subscription: Subscription) -> Delivery:
    delivery = Delivery(
        event=event,
        subscription=subscription,
        event_type=event.type,
        subject=event.subject,
        label=event.label,
        next_attempt_at=event.created_at,
        created_at=event.created_at,
    )
    if subscription.state == Subscription.State.DISABLED:
        delivery.state, delivery.next_attempt_at = Delivery.State.SKIPPED, None
    return delivery
