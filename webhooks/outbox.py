"""Write what happened and who must be told, in the transaction of the change itself."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection, transaction
from django.db.models import QuerySet

from webhooks import broker, conditions
from webhooks.adding import add
from webhooks.catalogue import API_VERSION, EventType
from webhooks.cursors import execute, here
from webhooks.fields import new_public_id
from webhooks.models import Delivery, Event, EventSequence, Subscription
from webhooks.prepared import Prepared

# Where PostgreSQL tells, with each commit, the subjects of its events.
CHANNEL = "events"

_is_gathering: ContextVar[bool] = ContextVar("is_gathering", default=False)


def emit(event_type: EventType, fact: Any, *, only_to: Subscription | None = None) -> Event:
    """Freeze the event of `fact`, and one delivery for each subscription that wants it. Four statements.

    Must run in the transaction that wrote the fact; the fact's `at` is the event's moment. `only_to` names the one
    subscription a test event is for. Within `together` the event has no sequence, body or key before that ends.
    """
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError(
            f"{event_type.name} must be emitted in the transaction of its change."
        )
    subject = event_type.subject
    event = Event(
        public_id=new_public_id("evt"),
        type=event_type.name,
        subject=subject.id(fact),
        label=subject.label(fact),
        occurred_at=fact.at,
    )
    told = _Telling(event, event_type, event_type.data_of(fact), only_to)
    if _is_gathering.get():
        transaction.on_commit(told)
    else:
        _write([told])
    return event


@contextmanager
def together() -> Iterator[None]:
    """A transaction, or savepoint, the events of which are written at its end: four statements for all of them.

    What they say is of the moment they were emitted at. Within another one, they wait for the end of that.
    """
    with transaction.atomic():
        if _is_gathering.get():
            yield
            return
        before = _is_gathering.set(True)
        try:
            yield
        finally:
            _is_gathering.reset(before)
        _write(_gathered())


@dataclass(eq=False)
class _Telling:
    """An event to be written, and what it is about. Gathered ones stand among the transaction's on-commit functions,
    so that one is gone with the savepoint it was emitted in."""

    event: Event
    event_type: EventType
    data: Any
    only_to: Subscription | None
    is_written: bool = False

    def __call__(self) -> None:
        """Nothing is left to do on commit."""


@dataclass(eq=False)
class _Withdrawal:
    """A gathered event is not to be written. Gone, too, with the savepoint it was made in."""

    event: Event

    def __call__(self) -> None:
        """Nothing is left to do on commit."""


def _gathered() -> list[_Telling]:
    """What is to be written, in the order of its first emission, as it was told last."""
    found: dict[int, _Telling] = {}
    for _, function, *_ in connection.run_on_commit:
        if isinstance(function, _Telling) and not function.is_written:
            found[id(function.event)] = function
        elif isinstance(function, _Withdrawal):
            found.pop(id(function.event), None)
    return list(found.values())


def amend(event: Event, event_type: EventType, fact: Any) -> None:
    """Freeze anew an event of the running transaction: several changes of one row are told once, as they ended.

    And to whom that is to be told: what it was at first may have met other conditions.
    """
    told = _Telling(event, event_type, event_type.data_of(fact), None)
    event.occurred_at = fact.at
    if event.pk is None:
        transaction.on_commit(told)
        return
    event.body = freeze(event, told.data)
    event.save(update_fields=["occurred_at", "body"])
    event.deliveries.all().delete()
    _owe([told])


def retract(event: Event) -> None:
    """Take back an event of the running transaction: its change was undone before anybody could see it."""
    if event.pk is None:
        transaction.on_commit(_Withdrawal(event))
        return
    event.delete()
    EventSequence.objects.filter(subject=event.subject).update(last=event.sequence - 1)


def _write(batch: Sequence[_Telling]) -> None:
    if not batch:
        return
    _number([told.event for told in batch])
    for told in batch:
        told.event.body = freeze(told.event, told.data)
        told.is_written = True
    add([told.event for told in batch])
    _owe(batch)


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


_COUNT_UP = """
    INSERT INTO webhooks_eventsequence (subject, last) VALUES {subjects}
    ON CONFLICT (subject) DO UPDATE SET last = webhooks_eventsequence.last + excluded.last RETURNING subject, last"""


def _number(events: Sequence[Event]) -> None:
    """Each one more than its subject's last. Holds the subjects' rows until commit: sequence order is commit order.

    The same statement wakes the open streams once that commit is done.
    """
    # In one order for everybody: two transactions never wait for each other.
    counts = sorted(Counter(event.subject for event in events).items())
    wakes = f", pg_notify('{CHANNEL}', subject)" if connection.vendor == "postgresql" else ""
    statement = _COUNT_UP.format(subjects=", ".join(["(%s, %s)"] * len(counts))) + wakes
    counted = execute(here(), statement, [value for pair in counts for value in pair]).fetchall()
    last = {subject: count for subject, count, *_ in counted}
    for event in reversed(events):
        event.sequence = last[event.subject]
        last[event.subject] -= 1


def _owe(batch: Sequence[_Telling]) -> None:
    """Add the deliveries, and wake the cluster once the transaction has committed."""
    subscriptions = _saved()
    owed = [new_delivery(told.event, wants) for told in batch for wants in _who_want(told, subscriptions)]
    if owed:
        _add(owed)


def _add(owed: Sequence[Delivery]) -> None:
    if connection.vendor == "postgresql":
        add(owed, calling=broker.ringing())
    else:
        add(owed)
        broker.ring()


@Prepared
def _saved() -> QuerySet[Subscription]:
    saved = Subscription.objects.exclude(state=Subscription.State.DRAFT)
    return saved.only("id", "state", "event_types", "conditions")


def _who_want(told: _Telling, subscriptions: Sequence[Subscription]) -> list[Subscription]:
    if told.only_to is not None:
        return [told.only_to]
    return [
        subscription
        for subscription in subscriptions
        if subscription.wants(told.event.type) and conditions.hold(subscription.conditions, told.event_type, told.data)
    ]


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
