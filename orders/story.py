"""What a shopper reads about an order: how far it has come, in the shop's words.

The address of the page is unguessable, but people pass it on. So of the buyer it tells only the town and a masked
e-mail address: no name, no street, no telephone number, no price but the cash due at the door. And it tells nothing of
who works here, nor why an order is checked.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from babel import Locale

from inventory.money import display
from orders import checkout
from orders.couriers import in_order
from orders.headlines import Headline, day, headline, is_over, masked, mood, on_the_road
from orders.models import Order, OrderTransition, Return, Shipment
from orders.models.shipment import TrackingStatus
from orders.returns import RETURN_WINDOW, returnable

Kind = OrderTransition.Kind
Status = Order.Status


@dataclass(frozen=True)
class Step:
    """`state` is done, current or todo."""

    label: str
    state: str
    at: datetime | None = None
    note: str = ""


@dataclass(frozen=True)
class Scan:
    words: str
    at: datetime
    location: str = ""
    message: str = ""


@dataclass(frozen=True)
class Parcel:
    """`scans` are newest first, from the packing on."""

    title: str
    words: str
    mood: str
    shipment: Shipment
    contents: list[tuple[int, str]]
    scans: list[Scan]


@dataclass(frozen=True)
class Story:
    """`arrives` is empty when there is nothing to wait for, or no day to name; `waiting` are units in no parcel yet."""

    number: str
    headline: Headline
    arrives: str
    steps: list[Step]
    parcels: list[Parcel]
    waiting: list[tuple[int, str]]
    cancelled: list[tuple[int, str]]
    destination: str
    email: str
    cash_due: str
    cancellable_until: datetime | None
    returnable_until: datetime | None
    returns: list[Return]


# For `reading.read`.
PARTS = {"shipments": "parcels", "transitions": "steps", "returns": "sent_back", "holds": "stops"}


def tell(order: Any, *, now: datetime) -> Story:
    """Of an order read with its PARTS."""
    return Story(
        number=order.number,
        headline=headline(order, now=now),
        arrives=_arrives(order, today=now.date()),
        steps=_steps(order),
        parcels=[_parcel(shipment, order) for shipment in order.parcels],
        waiting=[(line.unpacked, line.name) for line in order.items if line.unpacked],
        cancelled=[(line.cancelled, line.name) for line in order.items if line.cancelled],
        destination=f"{order.address_city}, {_country(order.address_country)}",
        email=masked(order.contact_email),
        cash_due=_cash_due(order),
        cancellable_until=checkout.cancellable_until(order, now=now),
        returnable_until=_returnable_until(order, now),
        returns=order.sent_back,
    )


def window(first: date, last: date) -> str:
    """`Thursday 26 – Monday 30 November`."""
    if first == last:
        return day(first)
    return f"{first:%A} {first.day}{'' if first.month == last.month else f' {first:%B}'} – {day(last)}"


def _arrives(order: Any, *, today: date) -> str:
    road = on_the_road(order)
    if is_over(order) or order.on_hold or any(parcel.tracking_status in _SAYS_WHEN_ITSELF for parcel in road):
        return ""
    estimates = [parcel.estimated_delivery_at.date() for parcel in road if parcel.estimated_delivery_at]
    has_all_left = all(parcel.shipped_at for parcel in order.parcels) and not any(line.unpacked for line in order.items)
    first, last = (
        (max(estimates), max(estimates)) if estimates and has_all_left else (order.promised_from, order.promised_to)
    )
    return window(first, last) if last >= today else ""


def _returnable_until(order: Any, now: datetime) -> datetime | None:
    """None: nothing can be sent back, not yet or not any more."""
    delivered = [parcel.delivered_at for parcel in order.parcels if parcel.delivered_at]
    until = max(delivered) + RETURN_WINDOW if delivered else None
    return until if until and now <= until and any(returnable(order).values()) else None


def _country(code: str) -> str:
    name: str = Locale("en").territories.get(code, code)
    return name


def _cash_due(order: Any) -> str:
    if order.is_cash_on_delivery and order.outstanding_minor and not is_over(order):
        return display(order.outstanding_minor, order.currency)
    return ""


# Beside these words of a courier, a day would be wrong or no comfort.
_SAYS_WHEN_ITSELF = frozenset(
    {
        TrackingStatus.OUT_FOR_DELIVERY,
        TrackingStatus.READY_FOR_PICKUP,
        TrackingStatus.ATTEMPT_FAILED,
        TrackingStatus.RETURN_TO_SENDER,
        TrackingStatus.RETURNED,
        TrackingStatus.LOST,
    }
)


# What each stage is called, and the kind of step that tells when it was reached.
_STAGES = (
    ("Ordered", Kind.CREATED),
    ("Confirmed", Kind.CONFIRMED),
    ("Packed", Kind.PACKED),
    ("On its way", Kind.SHIPPED),
    ("Delivered", Kind.DELIVERED),
)
_REACHED: Mapping[str, int] = {
    Status.PENDING: 0,
    Status.CONFIRMED: 1,
    Status.PACKED: 2,
    Status.SHIPPED: 3,
    Status.DELIVERED: 4,
    Status.RETURNED: 4,
}


def _steps(order: Any) -> list[Step]:
    last = {step.kind: step.at for step in order.steps}
    if Kind.DELIVERED in last:
        # Couriers tell of it later.
        last[Kind.DELIVERED] = max(parcel.delivered_at for parcel in order.parcels if parcel.delivered_at)
    if order.status == Status.CANCELLED:
        done = [Step(label, "done", last[kind]) for label, kind in _STAGES if kind in last]
        return [*done, Step("Cancelled", "current", last.get(Kind.CANCELLED))]
    reached = _REACHED.get(order.status, 1 if Kind.CONFIRMED in last else 0)
    return [_step(order, place, reached, last) for place in range(len(_STAGES))]


def _step(order: Any, place: int, reached: int, last: Mapping[str, datetime]) -> Step:
    label, kind = _STAGES[place]
    if place <= reached:
        return Step(label, "current" if place == reached else "done", last.get(kind))
    return Step(label, "todo", note=_part(order, kind))


def _part(order: Any, kind: str) -> str:
    """Of a stage that only some of an order has reached: `1 of 2 parcels`."""
    reached = {
        Kind.SHIPPED: [parcel for parcel in order.parcels if parcel.shipped_at],
        Kind.DELIVERED: [parcel for parcel in order.parcels if parcel.delivered_at],
    }
    there, count = len(reached.get(Kind(kind), [])), len(order.parcels)
    return f"{there} of {count} parcels" if 0 < there < count else ""


def _parcel(shipment: Any, order: Any) -> Parcel:
    count = len(order.parcels)
    return Parcel(
        # Not its index, which counts the parcels that were taken apart too.
        title=f"Parcel {order.parcels.index(shipment) + 1} of {count}" if count > 1 else "Your parcel",
        words=shipment.get_tracking_status_display() or shipment.get_state_display(),
        mood=mood(shipment),
        shipment=shipment,
        contents=[(content.quantity, content.line.name) for content in shipment.contents],
        scans=_scans(shipment),
    )


def _scans(shipment: Any) -> list[Scan]:
    told = in_order(shipment.tracking_updates.all())
    scans = [Scan(scan.get_status_display(), scan.occurred_at, scan.location, scan.message) for scan in told]
    scans.append(Scan("Packed", shipment.packed_at))
    if shipment.shipped_at:
        scans.append(Scan(f"Handed to {shipment.carrier}", shipment.shipped_at))
    if shipment.delivered_at and not any(scan.status == TrackingStatus.DELIVERED for scan in told):
        scans.append(Scan("Delivered", shipment.delivered_at))
    if shipment.returned_at and not any(scan.status == shipment.tracking_status for scan in told):
        scans.append(Scan(shipment.get_tracking_status_display(), shipment.returned_at))
    return sorted(scans, key=lambda scan: scan.at, reverse=True)
