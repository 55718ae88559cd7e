"""Subscriptions and events to test the engine with, made by its own verbs."""

from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import transaction

from webhooks import claims, subscriptions
from webhooks.drain import drain, sender
from webhooks.events import TEST, Ping
from webhooks.models import Delivery, Event, Subscription
from webhooks.outbox import emit

# The discard port: for subscriptions nothing is sent to.
NOWHERE = "http://127.0.0.1:9/webhooks"


def make_subscription(url: str = NOWHERE, *, name: str = "ERP", **options: Any) -> Subscription:
    """An active one, of everything unless `event_types` says otherwise."""
    wishes = {"event_types": ["*"], "headers": {}} | options
    return subscriptions.create(name=name, url=url, by="ann", now=datetime.now(UTC), **wishes)


def happen(subject: str = "sub_1", *, by: str = "ann") -> Event:
    """A test event about `subject`, owed to every subscription."""
    with transaction.atomic():
        return emit(TEST, Ping(subject, "a shop", by, datetime.now(UTC)))


def happen_often(count: int, *, subjects: int) -> None:
    """`count` events of `subjects` subjects in turn, in one transaction."""
    with transaction.atomic():
        for n in range(count):
            emit(TEST, Ping(f"sub_{n % subjects}", "a shop", "ann", datetime.now(UTC)))


def make_due() -> None:
    """What waits for a retry is due now, in its order."""
    past = datetime.now(UTC) - timedelta(hours=1)
    Delivery.objects.filter(state=Delivery.State.PENDING).update(next_attempt_at=past)


def crank() -> None:
    """Drain until nothing is due and every answer has been recorded."""
    drain()
    while sender().in_flight or claims.anything_due(datetime.now(UTC)):
        drain()
