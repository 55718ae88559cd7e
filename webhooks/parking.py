"""What failed waits, in the end for a day, and is parked when its schedule has run out: never dropped.

While its subscription fails, that is probed with the oldest of it now and then; once it is well, all of it goes out
again. A timer's work, off the hot path. Its rates hold however many clusters run it.
"""

from datetime import datetime, timedelta

from django.db.models import Case, Exists, F, OuterRef, Q, When
from django.utils import timezone

from webhooks import broker, claims, compaction, health, retry
from webhooks.models import Delivery, Subscription
from webhooks.timers import every

TICK_S = 5
# A hundred a second at most.
RETURNED_AT_ONCE = 400
PACE = timedelta(seconds=4)
SLOW_CLOCK = timedelta(hours=1)
# Probes take turns among so many of the oldest, so that one the receiver will never accept stands in nobody's way.
PROBED_IN_TURN = 100

State = Delivery.State


@every(TICK_S)
def tick() -> None:
    work(now=timezone.now())


def work(*, now: datetime) -> None:
    """One statement while nothing is parked and no subscription has failed for long."""
    parked = Exists(Delivery.objects.filter(subscription=OuterRef("pk"), state=State.PARKED))
    fails = Q(resting_until__isnull=False) | Q(failing_since__lte=now - health.LASTING)
    for subscription in claims.rested(now).filter(parked | fails | Q(recovered_at__isnull=False)):
        if subscription.compact:
            compaction.settle_parked(subscription)
        if subscription.resting_until is not None:
            _probe_by_circuit(subscription, now=now)
        elif subscription.recovered_at is not None:
            _put_back(subscription, subscription.recovered_at, now=now)
        else:
            _probe_by_slow_clock(subscription, now=now)


def _put_back(subscription: Subscription, recovered_at: datetime, *, now: datetime) -> None:
    """The oldest of what had failed by then: what was parked on a fresh run of its schedule, the rest on its own."""
    if not _is_our_turn(subscription, PACE, now=now):
        return
    if oldest := _oldest(subscription, RETURNED_AT_ONCE, now=now, claimed_at__lte=recovered_at):
        run = Case(When(state=State.PARKED, then=F("attempt_count")), default=F("attempts_before"))
        _send_again(oldest, now=now, attempts_before=run)
    else:
        Subscription.objects.filter(pk=subscription.pk, recovered_at=recovered_at).update(recovered_at=None)


def _probe_by_circuit(subscription: Subscription, *, now: datetime) -> None:
    """At the pace of the circuit, unless it has something to probe with that is older than all that waits."""
    waiting = _oldest(subscription, PROBED_IN_TURN, now=now)
    if not waiting:
        return
    due = claims.due(now).filter(subscription=subscription, pk__lt=waiting[0].pk)
    sending = Delivery.objects.filter(subscription=subscription, state=State.SENDING)
    if not due.exists() and not sending.exists():
        _probe(subscription, waiting, PACE, now=now)


def _probe_by_slow_clock(subscription: Subscription, *, now: datetime) -> None:
    """With what is parked; while nothing has arrived for long, also with what waits longer by its own schedule."""
    if subscription.next_return_at is not None and subscription.next_return_at > now:
        return
    fails = health.has_failed_for_long(subscription, now=now)
    waiting = _oldest(subscription, PROBED_IN_TURN, now=now) if fails else _parked(subscription, PROBED_IN_TURN)
    _probe(subscription, [each for each in _first_of_subjects(waiting) if _is_idle(each, now)], SLOW_CLOCK, now=now)


def _is_idle(delivery: Delivery, now: datetime) -> bool:
    """Whether the schedule leaves it alone for longer than the slow clock does."""
    return delivery.state == State.PARKED or (delivery.claimed_at or now) <= now - SLOW_CLOCK


def _probe(subscription: Subscription, waiting: list[Delivery], pace: timedelta, *, now: datetime) -> None:
    """The one tried longest ago, as one attempt more: a success brings all the others back."""
    by_age = sorted(_first_of_subjects(waiting), key=lambda delivery: (delivery.claimed_at, delivery.pk))
    if by_age and _is_our_turn(subscription, pace, now=now):
        _send_again(by_age[:1], now=now)


def _is_our_turn(subscription: Subscription, pace: timedelta, *, now: datetime) -> bool:
    """Whether the last turn is long enough ago, and nobody else has taken this one."""
    free = Q(next_return_at=None) | Q(next_return_at__lte=now)
    return Subscription.objects.filter(free, pk=subscription.pk).update(next_return_at=now + pace) == 1


def _first_of_subjects(waiting: list[Delivery]) -> list[Delivery]:
    first: dict[str, Delivery] = {}
    for delivery in waiting:
        first.setdefault(delivery.subject, delivery)
    return list(first.values())


def _oldest(subscription: Subscription, count: int, *, now: datetime, **tried: datetime) -> list[Delivery]:
    """Of what is parked, and of what has failed and waits for its next attempt. Two statements."""
    both = [*_parked(subscription, count, **tried), *_failing(subscription, count, now=now, **tried)]
    return sorted(both, key=lambda delivery: delivery.pk)[:count]


def _parked(subscription: Subscription, count: int, **tried: datetime) -> list[Delivery]:
    parked = Delivery.objects.filter(subscription=subscription, state=State.PARKED, **tried)
    return list(parked.order_by("id").only("subject", "state", "claimed_at")[:count])


def _failing(subscription: Subscription, count: int, *, now: datetime, **tried: datetime) -> list[Delivery]:
    """Not what waits for longer than its schedule says: that is a wish of the receiver, and heeded (Retry-After)."""
    failed = Delivery.objects.filter(
        _waits_by_schedule(subscription),
        subscription=subscription,
        state=State.PENDING,
        lane=Delivery.Lane.LATE,
        next_attempt_at__gt=now,
        **tried,
    )
    # A sum, so that no index of all the log's keys seems to be the way to the first few.
    return list(failed.order_by(F("id") + 0).only("subject", "state", "claimed_at")[:count])


def _waits_by_schedule(subscription: Subscription) -> Q:
    found = Q(pk=None)
    for failures, step in enumerate(retry.schedule(subscription.retry_schedule), start=1):
        # A lease is over before its outcome is written down.
        latest = F("claimed_at") + claims.LEASE + retry.longest_wait(step)
        found |= Q(attempt_count=F("attempts_before") + failures, next_attempt_at__lte=latest)
    return found


def _send_again(waiting: list[Delivery], *, now: datetime, **also: Case) -> None:
    """Those that nobody has taken meanwhile."""
    again = Delivery.objects.filter(pk__in=[delivery.pk for delivery in waiting])
    again = again.filter(Q(state=State.PARKED) | Q(state=State.PENDING, next_attempt_at__gt=now))
    again.update(state=State.PENDING, lane=Delivery.Lane.LATE, next_attempt_at=now, **also)
    broker.ring()
