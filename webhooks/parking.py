"""What ran out of attempts is parked, not dropped: tried now and then, and put back when its subscription is well.

A timer's work, off the hot path. Its rates hold however many clusters run it.
"""

from datetime import datetime, timedelta

from django.db.models import Exists, F, OuterRef, Q, QuerySet, Subquery
from django.utils import timezone

from webhooks import broker, claims, compaction
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
    """One statement while nothing is parked."""
    parked = Exists(Delivery.objects.filter(subscription=OuterRef("pk"), state=State.PARKED))
    for subscription in claims.rested(now).filter(parked | Q(recovered_at__isnull=False)):
        if subscription.compact:
            compaction.settle_parked(subscription)
        if subscription.resting_until is not None:
            _probe_by_circuit(subscription, now=now)
        elif subscription.recovered_at is not None:
            _put_back(subscription, subscription.recovered_at, now=now)
        else:
            _probe(subscription, SLOW_CLOCK, now=now)


def _put_back(subscription: Subscription, recovered_at: datetime, *, now: datetime) -> None:
    """The oldest of what was parked by then, each on a fresh run of the schedule."""
    if not _is_our_turn(subscription, PACE, now=now):
        return
    parked = _parked(subscription).filter(claimed_at__lte=recovered_at).values_list("pk", flat=True)
    if oldest := list(parked[:RETURNED_AT_ONCE]):
        _send_again(oldest, now=now, attempts_before=F("attempt_count"))
    else:
        Subscription.objects.filter(pk=subscription.pk, recovered_at=recovered_at).update(recovered_at=None)


def _probe(subscription: Subscription, pace: timedelta, *, now: datetime) -> None:
    """One of its oldest, as one attempt more: a failure parks it again, a success brings all the others back."""
    if _is_our_turn(subscription, pace, now=now):
        _send_again(_next_to_probe(subscription), now=now)


def _probe_by_circuit(subscription: Subscription, *, now: datetime) -> None:
    """At the pace of the circuit, unless it has something to probe with that is older than all that is parked."""
    oldest = Subquery(_parked(subscription).values("pk")[:1])
    due = claims.due(now).filter(subscription=subscription, pk__lt=oldest)
    sending = Delivery.objects.filter(subscription=subscription, state=State.SENDING)
    if not due.exists() and not sending.exists():
        _probe(subscription, PACE, now=now)


def _is_our_turn(subscription: Subscription, pace: timedelta, *, now: datetime) -> bool:
    """Whether the last turn is long enough ago, and nobody else has taken this one."""
    free = Q(next_return_at=None) | Q(next_return_at__lte=now)
    return Subscription.objects.filter(free, pk=subscription.pk).update(next_return_at=now + pace) == 1


def _parked(subscription: Subscription) -> QuerySet[Delivery]:
    return Delivery.objects.filter(subscription=subscription, state=State.PARKED).order_by("id")


def _next_to_probe(subscription: Subscription) -> list[int]:
    """Of the oldest, one of each subject, that which was tried longest ago."""
    first_of_subject: dict[str, Delivery] = {}
    for delivery in _parked(subscription).only("subject", "claimed_at")[:PROBED_IN_TURN]:
        first_of_subject.setdefault(delivery.subject, delivery)
    by_age = sorted(first_of_subject.values(), key=lambda delivery: (delivery.claimed_at, delivery.pk))
    return [delivery.pk for delivery in by_age[:1]]


def _send_again(pks: list[int], *, now: datetime, **also: F) -> None:
    parked = Delivery.objects.filter(pk__in=pks, state=State.PARKED)
    parked.update(state=State.PENDING, lane=Delivery.Lane.LATE, next_attempt_at=now, **also)
    broker.ring()
