"""Sending again what was sent, failed or was skipped, and sending what a subscription was never owed."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.utils import timezone

from webhooks import broker, catalogue, compaction, conditions, retention
from webhooks.errors import DomainError
from webhooks.events import TEST
from webhooks.models import Delivery, Event, Replay, Subscription
from webhooks.outbox import new_delivery
from webhooks.standing import COUNTED_TO
from webhooks.timers import every

State = Delivery.State

# What a replay puts on its way at a time, and how often: 250 a second for each subscription at most.
BATCH = 500
PACE = timedelta(seconds=2)
# A receiver that has worked nothing off for so long may be kept by one subject: the others go on.
PATIENCE = timedelta(minutes=5)
# A transaction that was under way when a subscription changed may have read it as it was before.
SETTLING = timedelta(minutes=1)
# Keys and moments rise together, but for transactions that took a while, and machines whose clocks differ.
SPREAD = timedelta(hours=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# How many events it looks at for those that meet a subscription's conditions.
LOOK_AHEAD = 2_000
# Never sent, or failed in its present run of the schedule: one that was put back already is in a new run.
_RECOVERABLE = Q(state__in=[State.PARKED, State.SKIPPED]) | Q(
    state=State.PENDING, attempt_count__gt=F("attempts_before")
)


class ReplayRefused(DomainError):
    """It cannot be sent again, or stopped, as things stand."""

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
    return plan(Replay.Kind.FAILED, subscription, since=since).total


def recover(subscription: Subscription, *, since: datetime, by: str, now: datetime) -> Replay:
    """Send all that `count_recoverable` counts, behind live traffic. Run twice, it sends nothing twice."""
    return start(Replay.Kind.FAILED, subscription, since=since, by=by, now=now)


def count_missing(subscription: Subscription, *, since: datetime) -> int:
    """Events written since then that the subscription wants now and never had a delivery of."""
    return plan(Replay.Kind.MISSING, subscription, since=since).total


def replay_missing(subscription: Subscription, *, since: datetime, by: str, now: datetime) -> Replay:
    """Send all that `count_missing` counts, behind live traffic. Run twice, it sends nothing twice."""
    return start(Replay.Kind.MISSING, subscription, since=since, by=by, now=now)


def catch_up(subscription: Subscription, *, since: datetime, by: str, now: datetime) -> Replay:
    """Begin to put back what was skipped while it was disabled, since then.

    While it runs, `claims` holds back what is later of a subject.
    """
    span = {"since": since - SETTLING, "until": now + SETTLING}
    return start(Replay.Kind.SKIPPED, subscription, **span, by=by, now=now)


def _skipped(subscription: Subscription, since: datetime, until: datetime | None) -> QuerySet[Any]:
    """Not what was skipped by the answer to an attempt."""
    skipped = Delivery.objects.filter(subscription=subscription, state=State.SKIPPED, attempt_count=0)
    return _within(skipped, since, until)


def _within(rows: QuerySet[Any], since: datetime, until: datetime | None) -> QuerySet[Any]:
    begun = rows.filter(created_at__gte=since)
    return begun if until is None else begun.filter(created_at__lt=until)


def _recoverable(subscription: Subscription, since: datetime, until: datetime | None) -> QuerySet[Any]:
    owed = Delivery.objects.filter(subscription=subscription, created_at__gte=since)
    found = _within(owed, since, until).filter(_RECOVERABLE)
    return found.exclude(pk__in=compaction.outdated(found, by=owed).values("pk")) if subscription.compact else found


def missing(subscription: Subscription, *, since: datetime, until: datetime | None = None) -> Iterator[Event]:
    """Events written since then that it wants and never had a delivery of, the oldest first. One statement.

    Conditions are not the database's to check: of a subscription that has some, each event of its types is read.
    """
    found = _missing(subscription, since, until).order_by("pk").iterator()
    return (event for event in found if conditions.hold_of(subscription.conditions, event))


def _missing(subscription: Subscription, since: datetime, until: datetime | None) -> QuerySet[Any]:
    """As far as the types tell. A test event is for one subscription alone.

    What it had may be forgotten by now. Not by the subscription's own copy of its span: a statement sees one moment of
    the database, and `retention` may have gone further since that was read.
    """
    types = [each.name for each in catalogue.all_types() if each is not TEST and subscription.wants(each.name)]
    owed = Delivery.objects.filter(event=OuterRef("pk"), subscription=subscription)
    forgotten = Subscription.objects.filter(
        pk=subscription.pk, pruned_from__lte=OuterRef("created_at"), pruned_until__gte=OuterRef("created_at")
    )
    return _within(Event.objects.filter(~Exists(owed), ~Exists(forgotten), type__in=types), since, until)


_WANTED: dict[str, Callable[[Subscription, datetime, datetime | None], QuerySet[Any]]] = {
    Replay.Kind.FAILED: _recoverable,
    Replay.Kind.MISSING: _missing,
    Replay.Kind.SKIPPED: _skipped,
}


def plan(kind: str, subscription: Subscription, *, since: datetime, until: datetime | None = None) -> Replay:
    """What `start` would send, counted up to COUNTED_TO. Not saved. Raises ReplayRefused."""
    if until is not None and until <= since:
        raise ReplayRefused("It would end before it begins.")
    planned = Replay(subscription=subscription, kind=kind, since=since, until=until)
    rows = Event if kind == Replay.Kind.MISSING else Delivery
    planned.after_id = retention.last_before(rows, max(since, EPOCH) - SPREAD)
    planned.until_id = rows._default_manager.order_by("-pk").values_list("pk", flat=True).first() or 0
    planned.total, planned.is_exact = _count(planned)
    if kind == Replay.Kind.MISSING:
        _leave_out_forgotten(planned)
    return planned


def start(
    kind: str, subscription: Subscription, *, since: datetime, by: str, now: datetime, until: datetime | None = None
) -> Replay:
    """What comes to be wanted after this moment is left to the engine."""
    _require_receiver(subscription)
    started = plan(kind, subscription, since=since, until=until)
    started.started_by, started.started_at = by, now
    is_empty = started.is_exact and not started.total
    started.finished_at = now if is_empty and not _may_grow(started, now) else None
    started.save()
    return started


def _may_grow(replay: Replay, now: datetime) -> bool:
    """Whether a transaction that is under way may add to it. Of the other kinds that is left to the engine."""
    return replay.kind == Replay.Kind.SKIPPED and replay.until is not None and now < replay.until


def _count(planned: Replay) -> tuple[int, bool]:
    """How many there are, and whether that is all: a count is asked for by a request.

    Where there are conditions to check, COUNTED_TO is how many events it reads.
    """
    found = _wanted(planned)[:COUNTED_TO]
    if not (asked := _asked(planned)):
        total = found.count()
        return total, total < COUNTED_TO
    met = [conditions.hold_of(asked, event) for event in found.iterator()]
    return sum(met), len(met) < COUNTED_TO


def _wanted(replay: Replay) -> QuerySet[Any]:
    """What is ahead of it, in order; as far as the database can tell."""
    wanted = _WANTED[replay.kind](replay.subscription, replay.since, replay.until)
    return wanted.filter(pk__gt=replay.after_id).order_by("pk")


def _asked(replay: Replay) -> list[conditions.Condition]:
    return replay.subscription.conditions if replay.kind == Replay.Kind.MISSING else []


def _leave_out_forgotten(planned: Replay) -> None:
    planned.subscription.refresh_from_db(fields=["pruned_from", "pruned_until"])
    first, last = planned.subscription.pruned_from, planned.subscription.pruned_until
    if first and last and last >= planned.since:
        planned.left_out_from, planned.left_out_until = max(first, planned.since), last


def caveat(planned: Replay) -> str:
    """What of its time it leaves out, and why; nothing where it leaves out nothing."""
    if planned.left_out_from is None or planned.left_out_until is None:
        return ""
    return (
        f"Events from {planned.left_out_from:%Y-%m-%d %H:%M} to {planned.left_out_until:%Y-%m-%d %H:%M} UTC are left"
        " out: deliveries of that time are forgotten, so nobody can tell which of them it never had."
    )


def cancel(running: Replay, *, by: str, now: datetime) -> None:
    """What it has put back already goes out all the same. Raises ReplayRefused."""
    if not Replay.objects.filter(pk=running.pk, finished_at=None).update(finished_at=now, cancelled_by=by):
        raise ReplayRefused("It has ended already.")
    running.finished_at, running.cancelled_by = now, by


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
    if _must_wait(replay, now):
        return
    _send_batch(replay, now=now)
    replay.save(update_fields=["after_id", "done", "advanced_at", "finished_at", "total", "is_exact"])
    broker.ring()


def _must_wait(replay: Replay, now: datetime) -> bool:
    subscription = replay.subscription
    if subscription.state != Subscription.State.ACTIVE:
        return True
    # What failed before it was disabled is older, and `parking` brings it back first.
    if replay.kind == Replay.Kind.SKIPPED and (subscription.recovered_at or subscription.resting_until):
        return True
    is_kept_long = subscription.resting_until is None and (replay.advanced_at or replay.started_at) <= now - PATIENCE
    return not is_kept_long and _is_busy(subscription, now)


def _is_busy(subscription: Subscription, now: datetime) -> bool:
    """Whether a batch still waits in the late lane."""
    late = Delivery.objects.filter(subscription=subscription, state=State.PENDING, lane=Delivery.Lane.LATE)
    return late.filter(next_attempt_at__lte=now).order_by("next_attempt_at")[BATCH - 1 : BATCH].exists()


def _send_batch(replay: Replay, *, now: datetime) -> None:
    replay.advanced_at = now
    if not _is_settled(replay):
        return
    batch = _next_batch(replay, now)
    if replay.kind == Replay.Kind.MISSING:
        owed = [_delivery(event, replay.subscription, now) for event in batch]
        Delivery.objects.bulk_create(owed, ignore_conflicts=True)
        replay.done += len(owed)
    else:
        again = Delivery.objects.filter(_RECOVERABLE, pk__in=[delivery.pk for delivery in batch])
        # What was skipped has never been sent: that is no redelivery.
        by = "" if replay.kind == Replay.Kind.SKIPPED else replay.started_by
        replay.done += _put_back(again, lane=Delivery.Lane.LATE, by=by, now=now)


def _is_settled(replay: Replay) -> bool:
    """Where the latest wins, what was skipped is put back only if it is that."""
    if replay.kind != Replay.Kind.SKIPPED or not replay.subscription.compact:
        return True
    return compaction.settle_skipped(_skipped(replay.subscription, replay.since, replay.until))


def _next_batch(replay: Replay, now: datetime) -> list[Any]:
    """Up to BATCH of what is left; keeps how far it has looked for them, and whether that was the end."""
    asked = _asked(replay)
    look_ahead = LOOK_AHEAD if asked else BATCH
    seen = list(_left(replay, now)[:look_ahead])
    batch = list(islice((row for row in seen if not asked or conditions.hold_of(asked, row)), BATCH))
    if seen:
        replay.after_id = (batch if len(batch) == BATCH else seen)[-1].pk
    is_end = not seen if replay.kind == Replay.Kind.SKIPPED else len(seen) < look_ahead and len(batch) < BATCH
    if is_end and not _may_grow(replay, now):
        _end(replay, len(batch), now)
    return batch


def _end(replay: Replay, last: int, now: datetime) -> None:
    """With the `last` few that are about to be sent."""
    replay.finished_at = now
    if not replay.is_exact:
        replay.total, replay.is_exact = replay.done + last, True


def _left(replay: Replay, now: datetime) -> QuerySet[Any]:
    ahead = _wanted(replay)
    if replay.kind != Replay.Kind.SKIPPED:
        return ahead.filter(pk__lte=replay.until_id)
    # A transaction that was under way may have added some that it has passed.
    if _may_grow(replay, now) or ahead.exists():
        return ahead
    return _skipped(replay.subscription, replay.since, replay.until).order_by("pk")


def _delivery(event: Event, subscription: Subscription, now: datetime) -> Delivery:
    delivery = new_delivery(event, subscription)
    delivery.lane = Delivery.Lane.LATE
    delivery.next_attempt_at = delivery.created_at = now
    return delivery
