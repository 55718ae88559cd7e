"""How a subscription is doing, in a word and in a sentence."""

from datetime import datetime

from django.utils.html import format_html
from django.utils.safestring import SafeString

from webhooks.admin import wording
from webhooks.models import Subscription
from webhooks.standing import COUNTED_TO, Health, Standing, health
from webhooks.tallies import Outcomes

BADGES = {
    Health.DISABLED: ("disabled", "Disabled"),
    Health.RESTING: ("failed", "Failing, resting"),
    Health.FAILING: ("failed", "Failing"),
    Health.THROTTLED: ("retrying", "Throttled"),
    Health.PAUSED: ("paused", "Paused"),
    Health.WELL: ("active", "Well"),
}


def mark(subscription: Subscription) -> SafeString:
    return wording.badge(*BADGES[health(subscription)])


def sentence(subscription: Subscription, *, now: datetime) -> SafeString | str:
    """Why it is not well; empty where it is."""
    since = wording.moment(subscription.state_changed_at, now=now)
    failures = _failures(subscription, now)
    match health(subscription):
        case Health.DISABLED:
            return format_html("Disabled {} by {}. {}", since, _who(subscription), subscription.state_reason)
        case Health.RESTING:
            return format_html("{}; it is tried again {}.", failures, wording.due(subscription.resting_until, now=now))
        case Health.FAILING:
            return format_html("{}.", failures)
        case Health.THROTTLED:
            return "It asked for less (429 or 503): one request at a time, until one succeeds."
        case Health.PAUSED:
            return format_html("Paused {} by {}.", since, _who(subscription))
        case Health.WELL:
            return ""


def _who(subscription: Subscription) -> str:
    return subscription.state_changed_by or "nobody known"


def _failures(subscription: Subscription, now: datetime) -> SafeString:
    count, first = subscription.consecutive_failures, wording.moment(subscription.failing_since, now=now)
    if count == 1:
        return format_html("1 failure {}", first)
    return format_html("{} failures in a row, the first {}", f"{count:,}", first)


def facts(standing: Standing, last_success_at: datetime | None, *, now: datetime) -> list[tuple[str, str]]:
    """What its page tells of it: a name and a value each."""
    day = standing.outcomes.day
    told = [
        ("Last success", wording.moment(last_success_at, now=now)),
        ("Success rate, 24 h", f"{share(day)} of {day.attempts:,} attempts" if day.attempts else wording.NOTHING),
        ("Not delivered yet", counted(standing.backlog)),
        ("Oldest that is due", wording.moment(standing.due_since, now=now)),
    ]
    if (p95 := day.percentile(0.95)) is not None:
        told.insert(2, ("95 % arrive within", wording.duration(round(p95 * 1000))))
    return told


def share(outcomes: Outcomes) -> str:
    """Of attempts that succeeded. A single failure among many is not rounded away."""
    if outcomes.success_rate is None:
        return wording.NOTHING
    percent = outcomes.success_rate * 100
    return "100 %" if not outcomes.failures else f"{min(percent, 99.9):.1f} %"


def counted(number: int) -> str:
    return f"{number:,}{' or more' if number >= COUNTED_TO else ''}"
