"""Sending again what was sent, parked or skipped."""

from datetime import datetime

from django.db import transaction
from django.db.models import F

from webhooks import broker
from webhooks.errors import DomainError
from webhooks.models import Delivery, Subscription


class ReplayRefused(DomainError):
    """The delivery cannot be sent again as things stand."""

    code = "replay_refused"


@transaction.atomic
def resend(delivery: Delivery, *, by: str, now: datetime) -> None:
    """Send it once more: the same id and bytes, marked as a redelivery, on a fresh run of the retry schedule."""
    if delivery.subscription.state == Subscription.State.DISABLED:
        raise ReplayRefused(f"{delivery.subscription} is disabled: resume it first.")
    changed = (
        Delivery.objects.filter(pk=delivery.pk)
        .exclude(state=Delivery.State.SENDING)
        .update(
            state=Delivery.State.PENDING,
            lane=Delivery.Lane.LIVE,
            next_attempt_at=now,
            attempts_before=F("attempt_count"),
            resent_by=by,
        )
    )
    if not changed:
        raise ReplayRefused("It is being sent at this very moment.")
    broker.ring()
