"""How the admin says things of deliveries: their states as badges, answers in a word."""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from django.utils.html import format_html
from django.utils.safestring import SafeString

from webhooks import catalogue, conditions
from webhooks.advice import advice
from webhooks.conditions import Condition
from webhooks.models import Delivery, Event, Subscription
from webhooks.wording import NOTHING, badge, distance, moment

__all__ = ["NOTHING", "badge", "distance", "moment"]


def due(at: datetime | None, *, now: datetime) -> SafeString | str:
    """Like `moment`, of what is still to come: it may be late, but it has not been."""
    return moment(at if at is None else max(at, now), now=now)


def next_attempt(delivery: Delivery, *, now: datetime) -> SafeString | str:
    """When it is sent, or what it waits for; nothing of one that is not to be sent."""
    subscription = delivery.subscription
    if delivery.next_attempt_at is None:
        return ""
    if subscription.state != Subscription.State.ACTIVE:
        return f"when {subscription} is resumed"
    if subscription.resting_until and subscription.resting_until > delivery.next_attempt_at:
        return format_html("when {} answers again, tried {}", subscription, due(subscription.resting_until, now=now))
    return due(delivery.next_attempt_at, now=now)


def delivery_badge(delivery: Delivery) -> SafeString:
    """A pending delivery that has failed already looks different from one that has just been made."""
    is_retrying = delivery.state == Delivery.State.PENDING and delivery.last_reason
    return badge("retrying" if is_retrying else delivery.state, delivery.get_state_display())


def duration(milliseconds: int | None) -> str:
    if milliseconds is None:
        return NOTHING
    return f"{milliseconds} ms" if milliseconds < 1_000 else f"{milliseconds / 1_000:.1f} s"


def held_back(event: Event, subscriptions: Iterable[Subscription]) -> list[str]:
    """Who of them was not told because of a condition, and which; those that had other wishes then are left out."""
    selective = [each for each in subscriptions if each.conditions and each.wants(event.type)]
    asked = [each for each in selective if each.wants_since <= event.created_at]
    data = json.loads(event.body)["data"] if asked else {}
    unmet = [(each, conditions.unmet(each.conditions, catalogue.get(event.type), data)) for each in asked]
    return [
        f"{each} is told only if {conditions.in_words(condition)}; here it is {_shown(data, condition)}."
        for each, condition in unmet
        if condition
    ]


def _shown(data: Mapping[str, Any], condition: Condition) -> str:
    return json.dumps(conditions.find(data, condition["field"]), ensure_ascii=False)


def answer(status_code: int | None, reason: str) -> SafeString | str:
    """`200`; or why it is no success, the meaning in the title: `500`, `302 redirect`, `timeout`."""
    if not reason:
        return NOTHING if status_code is None else str(status_code)
    word = "" if reason in ("http_4xx", "http_5xx") else reason.replace("_", " ")
    shown = " ".join(str(part) for part in (status_code, word) if part)
    return format_html('<span class="failed" title="{}">{}</span>', advice(reason).meaning, shown)
