"""The admin's front page: what needs somebody, and whether everybody is told.

Each sees what they may see. A dozen statements, however much there is.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.auth.models import AnonymousUser, User
from django.urls import reverse
from django.utils.safestring import SafeString

from commerce import metrics
from commerce.health import LONGEST_SILENCE
from commerce.metrics import EVENTS_COUNTED_TO, Reading
from commerce.models import InboundMessage
from inventory.models import Product
from orders.admin import steps
from orders.models import Order
from webhooks import notices, tallies
from webhooks.admin import health, wording
from webhooks.advice import advice
from webhooks.models import Subscription
from webhooks.standing import Health, Standing
from webhooks.tallies import Outcomes

# Orders are counted no further, and no more subscriptions are shown.
COUNTED_TO = 1_000
SHOWN = 10

_WORST_FIRST = list(Health)
_LOUD = {Health.DISABLED, Health.RESTING, Health.FAILING}


@dataclass(frozen=True)
class Tile:
    """A figure, what it is, and where there is more of it."""

    figure: SafeString | str
    label: str
    note: str = ""
    url: str = ""
    is_bad: bool = False


@dataclass(frozen=True)
class Bar:
    """An hour of the chart: where it stands, and how high its two parts are, in units of the drawing."""

    at: datetime
    outcomes: Outcomes
    x: int
    delivered: float
    failed: float

    @property
    def top(self) -> float:
        return Chart.HEIGHT - self.delivered

    @property
    def peak(self) -> float:
        return self.top - self.failed


class Chart:
    """Attempts by the hour."""

    HEIGHT = 120
    STEP, WIDTH = 30, 22

    def __init__(self, hours: list[tuple[datetime, Outcomes]]) -> None:
        self.most = max(outcomes.attempts for _, outcomes in hours)
        self.width = self.STEP * len(hours)
        scale = self.HEIGHT / max(self.most, 1)
        self.bars = [
            Bar(at, outcomes, place * self.STEP, outcomes.successes * scale, outcomes.failures * scale)
            for place, (at, outcomes) in enumerate(hours)
        ]


def describe(user: User | AnonymousUser, *, now: datetime) -> dict[str, Any]:
    sees_orders = user.has_perm("orders.view_order")
    sees_webhooks = user.has_perm("webhooks.view_subscription")
    found: dict[str, Any] = {"work": list(_work()) if sees_orders else []}
    if user.has_perm("commerce.view_inboundmessage"):
        found["work"] += _parked_messages()
    if sees_webhooks:
        reading = metrics.read(now=now)
        found |= _deliveries(reading) | {"next_steps": list(_next_steps(user, reading))}
    return found


# What staff have to do


def _work() -> Iterator[Tile]:
    orders = steps.with_work(Order.objects.all()).order_by()
    url = reverse("admin:orders_order_changelist")
    for name in ("confirm", "pack", "ship"):
        label, condition = steps.WAITING[name]
        yield Tile(_count(orders.filter(condition)), label, url=f"{url}?next={name}")
    yield Tile(_count(Order.objects.filter(on_hold=True)), "On hold", url=f"{url}?status__exact=on_hold")


def _parked_messages() -> list[Tile]:
    """Only while there are any: somebody has to put right what stands in their way."""
    parked = InboundMessage.objects.filter(state=InboundMessage.State.PARKED)
    if not parked.exists():
        return []
    url = reverse("admin:commerce_inboundmessage_changelist", query={"state": InboundMessage.State.PARKED})
    return [Tile(_count(parked), "Messages parked", url=url, is_bad=True)]


def _count(orders: Any) -> str:
    count = orders[:COUNTED_TO].count()
    return f"{count:,}{'+' if count == COUNTED_TO else ''}"


def _next_steps(user: User | AnonymousUser, reading: Reading) -> Iterator[tuple[bool, str, str, str]]:
    """Until all are done: whether it is, what to do, where, and what that does."""
    steps_to_take = [
        (
            Product.objects.exists(),
            "Add a product",
            reverse("admin:inventory_product_changelist"),
            "With units of it in a warehouse, so that there is something to sell.",
        ),
        (
            bool(reading.standings),
            "Connect a system",
            reverse("admin:webhooks_subscription_changelist"),
            "Give the address of your ERP, shipping app or notifier: four steps, under two minutes.",
        ),
        (
            Order.objects.exists(),
            "Place a test order",
            reverse("docs"),
            "By POST /api/v1/orders/. The systems you have connected are told of it at once.",
        ),
    ]
    if not all(is_done for is_done, *_ in steps_to_take):
        yield from steps_to_take


# Whether everybody is told


def _deliveries(reading: Reading) -> dict[str, Any]:
    worst_first = sorted(reading.standings, key=lambda each: (_WORST_FIRST.index(each.health), -each.backlog))
    day = reading.last_day
    return {
        "reading": reading,
        "alarms": [(alarm, wording.moment(alarm.since, now=reading.at)) for alarm in reading.alarms],
        "silence": _silence(reading),
        "is_anybody_told": notices.is_anybody_told(),
        "unwell": [_row(each, reading.at) for each in worst_first if each.health in _LOUD],
        "tiles": list(_tiles(reading, day)),
        "chart": Chart(tallies.by_hour(now=reading.at)) if day.attempts else None,
        "reasons": list(_reasons(day)),
        "systems": [_row(each, reading.at) for each in worst_first[:SHOWN]],
        "systems_hidden": max(len(worst_first) - SHOWN, 0),
    }


def _silence(reading: Reading) -> str:
    if reading.silence is None:
        return "No queue cluster has ever run, so nothing is sent. An operator starts one with manage.py qcluster."
    if reading.silence > LONGEST_SILENCE:
        distance = wording.distance(reading.silence.total_seconds())
        return f"No queue cluster has been heard of for {distance}: nothing is sent until one runs again."
    return ""


def _tiles(reading: Reading, day: Outcomes) -> Iterator[Tile]:
    log = reverse("admin:webhooks_delivery_changelist")
    attempts = f"{day.attempts:,} attempts in 24 h" if day.attempts else "no attempts in 24 h"
    yield Tile(health.share(day), "Success rate", attempts, f"{log}?period=24h", is_bad=day.failure_rate > 0.5)
    due, parked = (sum(getattr(each, state) for each in reading.standings) for state in ("due", "parked"))
    backlog = health.counted(reading.backlog)
    yield Tile(backlog, "Not delivered yet", f"{due:,} due, {parked:,} parked", f"{log}?state=open")
    yield _oldest(reading, log)
    yield Tile(_within(day, 0.5), "Half arrive within", f"95 % within {_within(day, 0.95)}")
    events = f"{reading.events_last_hour:,}{'+' if reading.events_last_hour == EVENTS_COUNTED_TO else ''}"
    yield Tile(events, "Events", "in the last hour", f"{reverse('admin:webhooks_event_changelist')}?period=1h")


def _oldest(reading: Reading, log: str) -> Tile:
    oldest = reading.oldest_due
    if oldest is None:
        return Tile("none", "Oldest that is due", "nothing waits for us")
    url = f"{log}?subscription={oldest.subscription.public_id}&state=pending"
    lag = oldest.lag(now=reading.at).total_seconds()
    return Tile(wording.distance(lag), "Oldest that is due", f"to {oldest.subscription}", url, is_bad=lag > 300)


def _within(day: Outcomes, share: float) -> str:
    seconds = day.percentile(share)
    return wording.NOTHING if seconds is None else wording.duration(round(seconds * 1000))


def _reasons(day: Outcomes) -> Iterator[dict[str, Any]]:
    """Why attempts failed, or could not be made, the most frequent first."""
    unsuccessful = day.by_reason.total() - day.successes
    for reason, count in day.by_reason.most_common():
        if reason:
            yield {
                "reason": reason.replace("_", " "),
                "meaning": advice(reason).meaning,
                "count": count,
                "percent": round(count / unsuccessful * 100),
            }


def _row(each: Standing, now: datetime) -> dict[str, Any]:
    subscription: Subscription = each.subscription
    return {
        "name": subscription.name,
        "url": reverse("admin:webhooks_subscription_change", args=[subscription.pk]),
        "mark": health.mark(subscription),
        "sentence": health.sentence(subscription, now=now),
        "rate": health.share(each.outcomes.day),
        "backlog": health.counted(each.backlog),
        "oldest": wording.moment(each.due_since, now=now),
        "p95": _within(each.outcomes.day, 0.95),
    }
