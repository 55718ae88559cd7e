"""Latest wins: of what waits for a subscription that asks for it, only the newest of each subject is sent.

That is for events that tell all there is to know (`EventType.is_snapshot`). The older ones of the same type and subject
become `superseded`: they no longer hold up what follows them, and only a person brings one back, by resending it.
"""

from collections.abc import Sequence
from datetime import datetime

from django.db import transaction
from django.db.models import OuterRef, QuerySet, Subquery

from webhooks import catalogue
from webhooks.models import Delivery, Subscription

# So many are superseded at a time, so often in one go.
BATCH = 1_000
ROUNDS = 10
# By a claim, whose worker has others to serve: it leaves the subscription for its next one.
CLAIM_ROUNDS = 3

State = Delivery.State


def settle(subscription: Subscription, *, look_ahead: int, now: datetime) -> bool:
    """Supersede what a claim might send in vain; False if that is more than it has time for. Not under its lock.

    Which is of the subjects of the first `look_ahead` due in each lane. Two statements while there is nothing to do.
    """
    return any(not _settle_due(subscription, look_ahead, now) for _ in range(CLAIM_ROUNDS))


def settle_subjects_of(subscription: Subscription, deliveries: Sequence[int]) -> None:
    """The same for these, which lie beyond what `settle` has looked at: BATCH of them, the next claim goes on."""
    mine = Delivery.objects.filter(subscription=subscription)
    _supersede(mine.filter(subject__in=mine.filter(pk__in=deliveries).values("subject")))


def settle_parked(subscription: Subscription) -> None:
    """Before the oldest of them is tried again, or all are put back."""
    while _supersede(Delivery.objects.filter(subscription=subscription, state=State.PARKED)):
        pass


def settle_skipped(skipped: QuerySet[Delivery]) -> bool:
    """Before they are put back; False if that is more than there is time for."""
    return any(_supersede_skipped(skipped) < BATCH for _ in range(ROUNDS))


def outdated(deliveries: QuerySet[Delivery], *, by: QuerySet[Delivery]) -> QuerySet[Delivery]:
    """Those of them that a newer one among `by` makes needless.

    Newer by both keys: a replay adds deliveries of old events. A scalar, so that the planner has one way whatever it
    knows of the table: for each, one look into the index of its subject.
    """
    newer = by.filter(
        subscription=OuterRef("subscription"),
        subject=OuterRef("subject"),
        event_type=OuterRef("event_type"),
        pk__gt=OuterRef("pk"),
        event__gt=OuterRef("event"),
    )
    snapshots = deliveries.filter(event_type__in=catalogue.snapshots())
    return snapshots.alias(newer=Subquery(newer.order_by("-pk").values("pk")[:1])).exclude(newer=None)


def successor(superseded: Delivery) -> Delivery | None:
    """The next one that was, or is still to be, sent in its place; None once that is forgotten."""
    newer = Delivery.objects.filter(
        subscription=superseded.subscription_id,
        subject=superseded.subject,
        event_type=superseded.event_type,
        pk__gt=superseded.pk,
        event__gt=superseded.event_id,
    )
    return newer.exclude(state__in=[State.SUPERSEDED, State.SKIPPED]).order_by("pk").first()


def _settle_due(subscription: Subscription, look_ahead: int, now: datetime) -> int:
    mine = Delivery.objects.filter(subscription=subscription)
    due = mine.filter(state=State.PENDING, next_attempt_at__lte=now).order_by("next_attempt_at", "pk")
    lanes = [due.filter(lane=lane).values("subject")[:look_ahead] for lane in Delivery.Lane.values]
    return sum(_supersede(mine.filter(subject__in=subjects)) for subjects in lanes)


@transaction.atomic
def _supersede(deliveries: QuerySet[Delivery]) -> int:
    """A batch of those that wait; how many that was. Passes over what somebody is writing just now.

    One that a person resends is left alone until it has been tried, and one that was skipped supersedes nothing, as
    it is not to be sent itself.
    """
    waiting = deliveries.filter(state__in=[State.PENDING, State.PARKED])
    waiting = waiting.exclude(lane=Delivery.Lane.LIVE, resent_by__gt="")
    needless = outdated(waiting, by=Delivery.objects.exclude(state=State.SKIPPED))
    locked = needless.select_for_update(skip_locked=True, no_key=True)
    batch = list(locked.values_list("pk", flat=True)[:BATCH])
    return Delivery.objects.filter(pk__in=batch).update(state=State.SUPERSEDED, next_attempt_at=None)


def _supersede_skipped(skipped: QuerySet[Delivery]) -> int:
    """A batch of them; how many that was. Those that are newer will be sent, or were."""
    batch = list(outdated(skipped, by=Delivery.objects.all()).values_list("pk", flat=True)[:BATCH])
    return Delivery.objects.filter(pk__in=batch, state=State.SKIPPED).update(state=State.SUPERSEDED)
