"""What is forgotten, and when: in small batches, off the hot path. Never a delivery that is still to be sent."""

import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from django.db import connection, transaction
from django.db.models import Exists, Max, Min, Model, OuterRef, Q, QuerySet, Subquery
from django.utils import timezone

from webhooks.models import Attempt, Delivery, Event, EventSequence, Subscription
from webhooks.timers import every, stopping

State = Delivery.State

KEEP_DELIVERED = timedelta(days=30)
KEEP_FAILED = timedelta(days=90)
# An event also stays for as long as any delivery of it does.
KEEP_EVENTS = max(KEEP_DELIVERED, KEEP_FAILED)
# How long after the moment in that column.
_KEPT = {
    State.DELIVERED: ("delivered_at", KEEP_DELIVERED),
    State.PARKED: ("claimed_at", KEEP_FAILED),
    State.SKIPPED: ("created_at", KEEP_FAILED),
    State.SUPERSEDED: ("created_at", KEEP_FAILED),
}

BATCH = 1_000
PACE_S = 300
# A run breathes between two batches, and leaves what it does not come to to the next.
RUN_S = 30.0
PAUSE_S = 0.05
_LOCK = 0x57EC


@every(PACE_S)
def prune() -> None:
    """Forget what is old enough, and the logs of deleted subscriptions, for RUN_S at most."""
    ends = time.monotonic() + RUN_S
    for _ in _batches(timezone.now()):
        if time.monotonic() > ends or stopping.wait(PAUSE_S):
            return


def _batches(now: datetime) -> Iterator[None]:
    """Does one batch at each step."""
    for subscription in Subscription.with_deleted.filter(deleted_at__isnull=False):
        yield from _forget_subscription(subscription)
    for state, (column, kept) in _KEPT.items():
        last = last_before(Delivery, now - kept)
        old = Delivery.objects.filter(**{f"{column}__lt": now - kept}, state=state, pk__lte=last)
        while _forget_deliveries(old):
            yield
    yield from _forget_events(now - KEEP_EVENTS)


def last_before(model: type[Model], moment: datetime) -> int:
    """The key of the last row made before it. Keys and moments rise together, and the log is indexed by key."""
    made_before = model._default_manager.filter(created_at__lt=moment).order_by("-created_at", "-pk")
    return made_before.values_list("pk", flat=True).first() or 0


def _forget_subscription(deleted: Subscription) -> Iterator[None]:
    while _forget_deliveries(Delivery.objects.filter(subscription=deleted)):
        yield
    deleted.delete()


@transaction.atomic
def _forget_deliveries(old: QuerySet[Delivery]) -> int:
    """A batch of them with their attempts; how many that was. Passes over those somebody is writing just now."""
    locked = old.select_for_update(skip_locked=True).order_by("pk")
    batch = list(locked.values_list("pk", flat=True)[:BATCH])
    _remember_span(batch)
    Attempt.objects.filter(delivery__in=batch).delete()
    Delivery.objects.filter(pk__in=batch).delete()
    return len(batch)


def _remember_span(batch: Sequence[int]) -> None:
    """When the events of these were written: `replay` must not take such an event for one that was never sent."""
    spans = Delivery.objects.filter(pk__in=batch).values_list("subscription").order_by("subscription")
    for pk, first, last in spans.annotate(Min("event__created_at"), Max("event__created_at")):
        mine = Subscription.objects.filter(pk=pk)
        mine.filter(Q(pruned_from=None) | Q(pruned_from__gt=first)).update(pruned_from=first)
        mine.filter(Q(pruned_until=None) | Q(pruned_until__lt=last)).update(pruned_until=last)


def _forget_events(moment: datetime) -> Iterator[None]:
    after, last = 0, last_before(Event, moment)
    while after < last:
        after = _forget_some_events(after, last)
        yield


@transaction.atomic
def _forget_some_events(after: int, last: int) -> int:
    """Look through a batch of events and forget those nobody has a delivery of; the key of the last one looked at.

    Only a subject's first ones go: what is left of it has no gap, and its EventSequence says where it begins.
    """
    keys = Event.objects.filter(pk__gt=after, pk__lte=last).order_by("pk").values_list("pk", flat=True)[:BATCH]
    batch = list(keys)
    if not batch or not _are_alone():
        return last
    # Not one of this batch, or one that stays.
    stays = Q(pk__lt=batch[0]) | Q(pk__gt=batch[-1]) | _is_owed()
    earlier = Event.objects.filter(stays, subject=OuterRef("subject"), sequence__lt=OuterRef("sequence"))
    going = list(Event.objects.filter(~_is_owed(), ~Exists(earlier), pk__in=batch).values_list("pk", "subject"))
    ids = [pk for pk, _ in going]
    numbers = Event.objects.filter(subject=OuterRef("subject"), pk__in=ids).order_by("-sequence").values("sequence")
    subjects = EventSequence.objects.filter(subject__in={subject for _, subject in going})
    subjects.update(pruned=Subquery(numbers[:1]))
    Event.objects.filter(pk__in=ids).delete()
    return batch[-1]


def _is_owed() -> Exists:
    return Exists(Delivery.objects.filter(event=OuterRef("pk")))


def _are_alone() -> bool:
    """Two at once could write a subject's `pruned` in the wrong order. SQLite has one writer anyhow."""
    if connection.vendor != "postgresql":
        return True
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_LOCK])
        return bool(cursor.fetchone()[0])
