"""The one sentence that tells a shopper where the order is, and the sentence after it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

from inventory.money import display
from orders.models import Hold, Order, Shipment
from orders.models.shipment import TrackingStatus

Status = Order.Status
Fulfilment = Order.Fulfilment


@dataclass(frozen=True)
class Headline:
    """`mood` is calm, good, wait, bad or quiet; `icon` a picture's name. `{parcel}` and `{email}` are filled in."""

    words: str
    explanation: str
    mood: str
    icon: str
    kept_until: datetime | None = None


# What matters most about parcels on the road, first to last.
_ON_THE_ROAD: Mapping[str, Headline] = {
    TrackingStatus.LOST: Headline(
        "{parcel} seems to be lost", "We are sorry. We are looking into it, and write to {email}.", "bad", "alert"
    ),
    TrackingStatus.RETURNED: Headline(
        "{parcel} has come back to us", "It could not be handed over. We write to {email} about it.", "bad", "alert"
    ),
    TrackingStatus.RETURN_TO_SENDER: Headline(
        "{parcel} is on its way back to us",
        "It could not be handed over. We write to {email} about it.",
        "bad",
        "alert",
    ),
    TrackingStatus.ATTEMPT_FAILED: Headline(
        "The courier missed you",
        "{parcel} could not be handed over. The courier usually tries again on the next working day.",
        "wait",
        "alert",
    ),
    TrackingStatus.READY_FOR_PICKUP: Headline(
        "{parcel} is ready to collect",
        "The courier keeps it for you. Bring something to identify yourself.",
        "good",
        "box",
    ),
    TrackingStatus.OUT_FOR_DELIVERY: Headline(
        "{parcel} is out for delivery", "It is on the van and will be with you soon.", "good", "truck"
    ),
    TrackingStatus.DELAYED: Headline(
        "{parcel} is running late", "It is still on its way. We are sorry for the wait.", "wait", "clock"
    ),
}
# Why else an order is held is the shop's own affair.
_HELD: Mapping[str, tuple[str, str]] = {
    Hold.Kind.ADDRESS: ("We are checking your address", "If anything is unclear, we write to {email}."),
    Hold.Kind.PAYMENT: ("We are checking your payment", "If anything is missing, we write to {email}."),
    Hold.Kind.STOCK: ("Your order takes a little longer", "We are waiting for an item, and write to {email}."),
}
_CHECKED = ("We are checking your order", "You need not do anything. If we have a question, we write to {email}.")
_WHY_CANCELLED: Mapping[str, str] = {
    "customer_request": "As you asked. ",
    "payment_expired": "It was not paid in time. ",
    "returned_to_sender": "It could not be handed over, and has come back to us. ",
    "lost": "We are sorry: it was lost on its way. ",
}


def headline(order: Any, *, now: datetime) -> Headline:
    """Of an order read with `story.PARTS`."""
    found = _of_the_road(order) or _BY_STATUS[order.status](order)
    if _is_overdue(order, now):
        found = _late(found, order)
    return replace(
        found,
        words=_filled_in(found.words, order),
        explanation=_filled_in(found.explanation, order),
    )


def _late(found: Headline, order: Any) -> Headline:
    sorry = f"You should have had it by {day(order.promised_to)}: we are sorry that it is late."
    return replace(
        found,
        explanation=f"{found.explanation} {sorry}",
        mood="wait" if found.mood == "calm" else found.mood,
    )


def day(on: date) -> str:
    return f"{on:%A} {on.day} {on:%B}"


def masked(email: str) -> str:
    name, _, domain = email.partition("@")
    return f"{name[:1]}•••@{domain}"


def on_the_road(order: Any) -> list[Shipment]:
    return [parcel for parcel in order.parcels if parcel.state == Shipment.State.SHIPPED]


def is_over(order: Any) -> bool:
    """Nothing more is to come."""
    return order.status in {Status.DELIVERED, Status.RETURNED, Status.CANCELLED}


def mood(parcel: Shipment) -> str:
    if parcel.state == Shipment.State.DELIVERED:
        return "good"
    said = _ON_THE_ROAD.get(parcel.tracking_status)
    return said.mood if said else "calm"


def _filled_in(words: str, order: Any) -> str:
    is_only_one = len(order.parcels) == 1 and not any(line.unpacked for line in order.items)
    parcel = "Your parcel" if is_only_one else "One of your parcels"
    return words.replace("{parcel}", parcel).replace("{email}", masked(order.contact_email))


def _is_overdue(order: Any, now: datetime) -> bool:
    return now.date() > order.promised_to and not is_over(order)


def _of_the_road(order: Any) -> Headline | None:
    said = {parcel.tracking_status for parcel in on_the_road(order)}
    return next((found for status, found in _ON_THE_ROAD.items() if status in said), None)


def _pending(order: Any) -> Headline:
    if order.is_cash_on_delivery:
        amount = display(order.outstanding_minor, order.currency)
        return Headline("We have your order", f"We confirm it shortly. You pay {amount} at the door.", "calm", "bag")
    if order.payment_status == Order.PaymentStatus.FAILED:
        said = ("Your payment did not go through", "Please try again in the shop.")
        return Headline(*said, "wait", "card", order.hold_expires_at)
    said = ("We are waiting for your payment", "As soon as it is here, we get your order ready.")
    return Headline(*said, "wait", "card", order.hold_expires_at)


def _on_hold(order: Any) -> Headline:
    kinds = {stop.kind for stop in order.stops if stop.released_at is None}
    known = kinds.pop() if len(kinds) == 1 else ""
    return Headline(*_HELD.get(known, _CHECKED), "wait", "clock")


def _confirmed(order: Any) -> Headline:
    explanation = f"We are getting it ready. It leaves us by {day(order.ship_by_at)}."
    if order.fulfilment_status == Fulfilment.PARTIALLY_PACKED:
        return Headline("We are packing your order", explanation, "calm", "box")
    return Headline("Your order is confirmed", explanation, "calm", "bag")


def _packed(order: Any) -> Headline:
    if order.fulfilment_status == Fulfilment.PARTIALLY_SHIPPED:
        return Headline("Part of your order is on its way", "The rest follows as soon as it is ready.", "calm", "truck")
    explanation = f"The courier collects it by {day(order.ship_by_at)}."
    return Headline("Your order is packed and ready to ship", explanation, "calm", "box")


def _shipped(order: Any) -> Headline:
    if order.fulfilment_status == Fulfilment.PARTIALLY_DELIVERED:
        return Headline("Part of your order has arrived", "The rest is still on its way.", "calm", "truck")
    return Headline("Your order is on its way", "It has left us and is with the courier.", "calm", "truck")


def _delivered(order: Any) -> Headline:
    last = max(parcel.delivered_at for parcel in order.parcels if parcel.delivered_at)
    return Headline("Your order has arrived", f"Delivered on {day(last)}. We hope you like it.", "good", "home")


def _returned(order: Any) -> Headline:
    return Headline("Your return has arrived", "We have everything back. Thank you.", "quiet", "box")


def _cancelled(order: Any) -> Headline:
    why = next((step.reason for step in reversed(order.steps) if step.to_status == Status.CANCELLED), "")
    money = "What you have paid is given back to you." if order.paid_minor else "Nothing is to be paid."
    return Headline("Your order was cancelled", f"{_WHY_CANCELLED.get(why, '')}{money}", "quiet", "cross")


_BY_STATUS: Mapping[str, Callable[[Any], Headline]] = {
    Status.PENDING: _pending,
    Status.ON_HOLD: _on_hold,
    Status.CONFIRMED: _confirmed,
    Status.PACKED: _packed,
    Status.SHIPPED: _shipped,
    Status.DELIVERED: _delivered,
    Status.RETURNED: _returned,
    Status.CANCELLED: _cancelled,
}
