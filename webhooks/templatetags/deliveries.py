"""For other apps' pages: who has been told about a row of theirs, by its public id."""

from typing import Any

from django import template
from django.db.models import Prefetch
from django.template.context import RequestContext
from django.utils import timezone

from webhooks.admin import wording
from webhooks.advice import advice
from webhooks.models import Delivery, Event, Subscription

register = template.Library()

EVENTS_SHOWN = 50
State = Delivery.State


@register.inclusion_tag("admin/webhooks/told.html", takes_context=True)
def who_was_told(context: RequestContext, subject: str) -> dict[str, Any]:
    """The latest events about `subject` and what came of each delivery. Three statements."""
    deliveries = Prefetch("deliveries", Delivery.objects.select_related("subscription").order_by("pk"), to_attr="owed")
    newest = Event.objects.filter(subject=subject).prefetch_related(deliveries).order_by("-sequence")
    events = list(newest[: EVENTS_SHOWN + 1])
    connected = list(Subscription.objects.exclude(state=Subscription.State.DRAFT))
    return {
        "events": [_describe(event, connected) for event in events[:EVENTS_SHOWN]],
        "label": events[0].label if events else "",
        "has_older": len(events) > EVENTS_SHOWN,
        "is_anybody_connected": bool(connected),
        "perms": context["perms"],
    }


def _describe(event: Any, connected: list[Subscription]) -> dict[str, Any]:
    now = timezone.now()
    return {
        "event": event,
        "happened": wording.moment(event.occurred_at, now=now),
        "held_back": [] if event.owed else wording.held_back(event, connected),
        "deliveries": [
            {
                "delivery": delivery,
                "status": wording.delivery_badge(delivery),
                "answer": wording.answer(delivery.last_status_code, delivery.last_reason),
                "why": _why(delivery),
                "next_attempt": wording.next_attempt(delivery, now=now) if delivery.attempt_count else "",
            }
            for delivery in event.owed
        ],
    }


def _why(delivery: Delivery) -> str:
    """Why it has not been sent, where the state alone does not say so."""
    match delivery.state, delivery.subscription.state:
        case State.SKIPPED, _:
            return advice(delivery.last_reason).meaning if delivery.last_reason else "the subscription was disabled"
        case State.SUPERSEDED, _:
            return "a newer one goes in its place"
        case State.PENDING, Subscription.State.PAUSED:
            return "the subscription is paused"
        case State.PENDING, Subscription.State.DISABLED:
            return "the subscription is disabled"
    return ""
