"""Sending again what was sent, failed or was skipped, and sending what a subscription was never owed."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Exists, F, Max, OuterRef, Q, QuerySet
from django.utils import timezone

from webhooks import broker, catalogue
from webhooks.errors import DomainError
from webhooks.events import TEST
from webhooks.models import Delivery, Event, Replay, Subscription
from webhooks.outbox import new_delivery
from webhooks.timers import every

State = Delivery.State

# What a replay puts on its way at a time, and how often: 250 a second for each subscription at most.
BATCH = 500
PACE = timedelta(seconds=2)
# Never sent, or failed in its present run of the schedule: one that was put back already is in a new run.
_RECOVERABLE = Q(state__in=[State.PARKED, State.SKIPPED]) | Q(
    state=State.PENDING, attempt_count__gt=F("attempts_before")
)


class ReplayRefused(DomainError):
    """The delivery cannot be sent again as things stand."""

    code = "replay_refused"


@transaction.atomic
def resend(delivery: Delivery, *, by: str, now: datetime) -> None:
    """Send it once more: the same id and bytes, marked as a redelivery, on a fresh run of the retry schedule."""
    _require_receiver(delivery.subscription)
    again = Delivery.objects.filter(pk=delivery.pk).exclude(state=State.SENDING)
    if not _put_back(again, lane=Delivery.Lane.LIVE, by=by, now=now):
        raise ReplayRefused("It is being sent at this very moment.")
    broker.ring()


def _require_receiver(subscription: Subscription) -> None:
    if subscription.state in (Subscription.State.DRAFT, Subscription.State.DISABLED):
        raise ReplayRefused(f"{subscription} is {subscription.state}: resume it first.")


def _put_back(deliveries: QuerySet[Delivery], *, lane: Delivery.Lane, by: str, now: datetime) -> int:
    return deliveries.update(
        state=State.PENDING, lane=lane, next_attempt_at=now, attempts_before=F("attempt_count"), resent_by=by
    )


# Since a moment: counted first, then sent some at a time


def count_recoverable(subscription: Subscription, *, since: datetime) -> int:
    """Deliveries owed since then that failed, were parked or were skipped."""
    return _recoverable(subscription, since).count()


def recover(subscription: Subscription, *, since: datetime, by: str, now: datetime) -> Replay:
    """Send all that `count_recoverable` counts, behind live traffic. Run twice, it sends nothing twice."""
    return start(Replay.Kind.FAILED, subscription, since=since, by=by, now=now)


def count_missing(subscription: Subscription, *, since: datetime) -> int:
    """Events written since then that the subscription wants now and never had a delivery of."""
    return _missing(subscription, since).count()


def replay_missing(subscription: Subscription, *, since: datetime, by: str, now: datetime) -> Replay:
    """Send all that `count_missing` counts, behind live traffic. Run twice, it sends nothing twice."""
    return start(Replay.Kind.MISSING, subscription, since=since, by=by, now=now)


def _recoverable(subscription: Subscription, since: datetime) -> QuerySet[Any]:
    return Delivery.objects.filter(_RECOVERABLE, subscription=subscription, created_at__gte=since)


def _missing(subscription: Subscription, since: datetime) -> QuerySet[Any]:
    # A test event is for one subscription alone.
    types = [each.name for each in catalogue.all_types() if each is not TEST and subscription.wants(each.name)]
    owed = Delivery.objects.filter(event=OuterRef("pk"), subscription=subscription)
    return Event.objects.filter(~Exists(owed), type__in=types, created_at__gte=since)


_WANTED: dict[str, Callable[[Subscription, datetime], QuerySet[Any]]] = {
    Replay.Kind.FAILED: _recoverable,
    Replay.Kind.MISSING: _missing,
}


def count(kind: str, subscription: Subscription, *, since: datetime) -> int:
    return _WANTED[kind](subscription, since).count()


def start(kind: str, subscription: Subscription, *, since: datetime, by: str, now: datetime) -> Replay:
    """What comes to be wanted after this moment is left to the engine."""
    _require_receiver(subscription)
    wanted = _WANTED[kind](subscription, since)
    total = wanted.count()
    return Replay.objects.create(
        subscription=subscription,
        kind=kind,
        since=since,
        until_id=wanted.aggregate(last=Max("pk"))["last"] or 0,
        total=total,
        started_by=by,
        started_at=now,
        finished_at=None if total else now,
    )


@every(PACE.total_seconds())
def advance() -> None:
    """The next batch of each replay under way."""
    now = timezone.now()
    for replay_id in Replay.objects.filter(finished_at=None).order_by("pk").values_list("pk", flat=True):
        advance_one(replay_id, now=now)


@transaction.atomic
def advance_one(replay_id: int, *, now: datetime) -> None:
    """One batch, unless the last one was just now, or the receiver has not worked it off yet."""
    running = Replay.objects.select_for_update(of=("self",), skip_locked=True).select_related("subscription")
    replay = running.filter(pk=replay_id, finished_at=None).first()
    if replay is None or (replay.advanced_at and replay.advanced_at > now - PACE / 2):
        return
    if replay.subscription.state != Subscription.State.ACTIVE or _is_busy(replay.subscription, now):
        return
    _send_batch(replay, now=now)
    replay.save(update_fields=["after_id", "done", "advanced_at", "finished_at"])
    broker.ring()


def _is_busy(subscription: Subscription, now: datetime) -> bool:
    """Whether a batch still waits in the late lane."""
    late = Delivery.objects.filter(subscription=subscription, state=State.PENDING, lane=Delivery.Lane.LATE)
    return late.filter(next_attempt_at__lte=now).order_by("next_attempt_at")[BATCH - 1 : BATCH].exists()


def _send_batch(replay: Replay, *, now: datetime) -> None:
    wanted = _WANTED[replay.kind](replay.subscription, replay.since)
    left = wanted.filter(pk__gt=replay.after_id, pk__lte=replay.until_id).order_by("pk")
    batch = list(left[:BATCH])
    if replay.kind == Replay.Kind.FAILED:
        again = Delivery.objects.filter(_RECOVERABLE, pk__in=[delivery.pk for delivery in batch])
        replay.done += _put_back(again, lane=Delivery.Lane.LATE, by=replay.started_by, now=now)
    else:
        owed = [_delivery(event, replay.subscription, now) for event in batch]
        Delivery.objects.bulk_create(owed, ignore_conflicts=True)
        replay.done += len(owed)
    replay.advanced_at = now
    if batch:
        replay.after_id = batch[-1].pk
    if len(batch) < BATCH:
        replay.finished_at = now


def _delivery(event: Event, subscription: Subscription, now: datetime) -> Delivery:
    delivery = new_delivery(event, subscription)
    delivery.lane = Delivery.Lane.LATE
    delivery.next_attempt_at = delivery.created_at = now
    return delivery
