"""What the fraud desk, people or a service, decides of an order."""

from datetime import datetime

from django.db import models

from orders import checkout, holds
from orders.models import Hold, OrderTransition

# The reason of the cancellation that a rejection is.
FRAUD = "fraud"
# What an acceptance ends; other holds have other reasons.
JUDGED = frozenset({Hold.Kind.FRAUD, Hold.Kind.VERIFICATION})


class Verdict(models.TextChoices):
    ACCEPT = "accept", "Accept"
    REJECT = "reject", "Reject"


def give(order_id: str, *, verdict: str, actor: str, now: datetime) -> OrderTransition:
    """Release an order from the holds that the desk judges, or give it up. Raises InvalidTransition the second time."""
    if Verdict(verdict) == Verdict.REJECT:
        return checkout.cancel(order_id, reason=FRAUD, actor=actor, now=now)
    return holds.release(order_id, kinds=JUDGED, actor=actor, now=now)
