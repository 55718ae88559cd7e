"""An order's page: everything that is known of it, to be read."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Prefetch
from django.utils import timezone

from inventory.money import display
from orders import promises
from orders.admin import steps
from orders.models import Hold, Order, OrderTransition, Payment, Refund, Return, Shipment, TrackingUpdate
from orders.models.line import Units

Kind = OrderTransition.Kind


@dataclass(frozen=True)
class Entry:
    """A line of the timeline: what happened, who said or did so, and why."""

    at: datetime
    what: str
    who: str
    why: str = ""


def with_everything() -> Any:
    """Eleven statements, however much there is of an order."""
    parcels = Shipment.objects.select_related("warehouse").order_by("index")
    orders = Order.objects.with_items().annotate(standing=promises.standing(timezone.now()))
    return steps.with_work(orders).prefetch_related(
        Prefetch("shipments", parcels.prefetch_related("lines", "tracking_updates"), to_attr="parcels"),
        Prefetch("payments", Payment.objects.order_by("-pk"), to_attr="attempts"),
        Prefetch("holds", Hold.objects.open().order_by("pk"), to_attr="stops"),
        Prefetch("returns", Return.objects.prefetch_related("lines").order_by("pk"), to_attr="sent_back"),
        Prefetch("refunds", Refund.objects.select_related("payment", "goods_return").order_by("pk"), to_attr="given"),
        Prefetch(
            "transitions",
            OrderTransition.objects.select_related("goods_return", "refund").order_by("-pk"),
            to_attr="steps",
        ),
    )


def describe(order: Any) -> dict[str, Any]:
    """Of an order of `with_everything`."""
    return {
        "order": order,
        "bought": [Units(line, line.quantity, line.warehouse_code) for line in order.items],
        "timeline": timeline(order),
        "next_step": steps.next_step(order),
    }


def timeline(order: Any) -> list[Entry]:
    """Newest first."""
    entries = [
        *(_of_step(step, order) for step in order.steps),
        *(_of_payment(attempt, order) for attempt in order.attempts),
        *(_of_scan(scan, parcel) for parcel in order.parcels for scan in parcel.tracking_updates.all()),
    ]
    return sorted(entries, key=lambda entry: entry.at, reverse=True)


def _of_step(step: OrderTransition, order: Any) -> Entry:
    parcel = next((f" parcel {parcel}" for parcel in order.parcels if parcel.pk == step.shipment_id), "")
    what = f"{step.get_kind_display()}{parcel}{_of_which_holds(step)}{_of_what_comes_back(step, order)}"
    return Entry(step.at, what, step.actor, _why(step))


def _of_what_comes_back(step: OrderTransition, order: Order) -> str:
    """The return's number, or the money."""
    if step.refund is not None:
        return f": {_money(order, step.refund.amount_minor)}"
    return f": {step.goods_return}" if step.goods_return is not None else ""


def _of_which_holds(step: OrderTransition) -> str:
    kinds = step.details.get("kinds", []) if step.kind in {Kind.HELD, Kind.RELEASED} else []
    return ": " + ", ".join(str(Hold.Kind(kind).label) for kind in kinds) if kinds else ""


def _why(step: OrderTransition) -> str:
    if step.kind != Kind.WINDOW_CHANGED:
        return step.reason
    return f"{step.reason.replace('_', ' ')}; it was {step.details['previous_from']} to {step.details['previous_to']}"


def _of_payment(attempt: Payment, order: Order) -> Entry:
    what = f"{attempt.get_kind_display()} of {display(attempt.amount_minor, attempt.currency)}"
    if attempt.result != Payment.Result.SUCCESS:
        why = attempt.failure_message or attempt.failure_code
        return Entry(attempt.at, f"{what} {attempt.result}", attempt.actor, why)
    return Entry(attempt.at, what, attempt.actor)


def _of_scan(scan: TrackingUpdate, parcel: Shipment) -> Entry:
    place = f", {scan.location}" if scan.location else ""
    return Entry(scan.occurred_at, f"{scan.get_status_display()}{place}: parcel {parcel}", scan.source, scan.message)


def _money(order: Order, minor: int) -> str:
    return display(minor, order.currency)
