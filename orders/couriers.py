"""One vocabulary for every courier, and one rule for scans that come late, twice or out of order (spec/domain.md)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from orders import fulfilment, promises
from orders.models import Shipment, TrackingUpdate
from orders.models.shipment import TrackingStatus
from orders.transitions import InvalidTransition, lock_shipment, store
from webhooks.inbound import Unmatched
from webhooks.sources import together

# Word -> rank, which decides between scans of one moment.
STATUSES: Mapping[str, int] = {
    TrackingStatus.LABEL_CREATED: 10,
    TrackingStatus.PICKED_UP: 20,
    TrackingStatus.IN_TRANSIT: 30,
    TrackingStatus.DELAYED: 31,
    TrackingStatus.ARRIVED_AT_HUB: 35,
    TrackingStatus.OUT_FOR_DELIVERY: 40,
    TrackingStatus.ATTEMPT_FAILED: 45,
    TrackingStatus.READY_FOR_PICKUP: 46,
    TrackingStatus.DELIVERED: 60,
    TrackingStatus.RETURN_TO_SENDER: 70,
    TrackingStatus.RETURNED: 80,
    TrackingStatus.LOST: 90,
}
EXCEPTIONS = frozenset(
    {
        TrackingStatus.DELAYED,
        TrackingStatus.ATTEMPT_FAILED,
        TrackingStatus.RETURN_TO_SENDER,
        TrackingStatus.RETURNED,
        TrackingStatus.LOST,
    }
)
_AFTER_DELIVERY = frozenset({TrackingStatus.DELIVERED, TrackingStatus.RETURN_TO_SENDER, TrackingStatus.RETURNED})


@dataclass(frozen=True)
class Scan:
    """What a courier says of a parcel, and when it happened. `is_cash_collected`: it was paid at the door."""

    status: str
    occurred_at: datetime
    message: str = ""
    location: str = ""
    estimated_delivery_at: datetime | None = None
    is_cash_collected: bool = False


Told = TypeVar("Told", Scan, TrackingUpdate)


def track(
    shipment_id: str,
    *,
    status: str,
    occurred_at: datetime,
    message: str = "",
    location: str = "",
    estimated_delivery_at: datetime | None = None,
    source: str,
    now: datetime,
) -> TrackingUpdate:
    """Add a scan to a shipped parcel's timeline; `delivered` delivers it. The same scan again returns the first."""
    scan = Scan(status, occurred_at, message, location, estimated_delivery_at)
    return report(shipment_id, [scan], source=source, now=now)[0]


@together()
def report(shipment_id: str, scans: Iterable[Scan], *, source: str, now: datetime) -> list[TrackingUpdate]:
    """`track`, for a courier that sends the whole history each time: what is known already changes nothing."""
    shipment = lock_shipment(shipment_id)
    if shipment.shipped_at is None:
        raise InvalidTransition(f"Shipment {shipment} is {shipment.state}, not shipped.")
    timeline: list[TrackingUpdate] = list(shipment.tracking_updates.all())
    return [_find(timeline, scan) or _add(shipment, timeline, scan, source=source, now=now) for scan in in_order(scans)]


def _find(timeline: Iterable[TrackingUpdate], scan: Scan) -> TrackingUpdate | None:
    known = (update for update in timeline if (update.status, update.occurred_at) == (scan.status, scan.occurred_at))
    return next(known, None)


def _add(
    shipment: Shipment, timeline: list[TrackingUpdate], scan: Scan, *, source: str, now: datetime
) -> TrackingUpdate:
    update = TrackingUpdate(
        shipment=shipment,
        status=TrackingStatus(scan.status),
        previous_status=shipment.tracking_status,
        occurred_at=scan.occurred_at,
        message=scan.message,
        location=scan.location,
        estimated_delivery_at=scan.estimated_delivery_at,
        source=source,
        at=now,
    )
    timeline.append(update)
    _show(shipment, timeline, update)
    if scan.estimated_delivery_at is not None and shipment.state != Shipment.State.RETURNED:
        promises.heed(shipment, actor=source, now=now)
    if update.status == TrackingStatus.DELIVERED and shipment.state == Shipment.State.SHIPPED:
        fulfilment.arrive(
            shipment,
            delivered_at=scan.occurred_at,
            source=source,
            actor=source,
            now=now,
            is_all_collected=scan.is_cash_collected,
        )
    return update


def parcel_with(tracking_number: str) -> Shipment:
    """The parcel that left last under this number: couriers use them again. Raises Unmatched until there is one."""
    parcels = Shipment.objects.filter(tracking_number=tracking_number).order_by("-shipped_at", "-pk")
    parcel = parcels.select_related("order", "warehouse").first()
    if parcel is None:
        raise Unmatched(f"No parcel has the tracking number {tracking_number} yet.", awaits=number_key(tracking_number))
    return parcel


def number_key(tracking_number: str) -> str:
    """What messages wait for that came before their number was attached to a parcel."""
    return f"tracking_number:{tracking_number}"


def _show(shipment: Shipment, scans: list[TrackingUpdate], update: TrackingUpdate) -> None:
    """Write the parcel as its timeline, `update` included, shows it. Staff may have delivered it without a scan."""
    _date_delivery(shipment, scans)
    if shipment.delivered_at is not None:
        scans = [*scans, TrackingUpdate(status=TrackingStatus.DELIVERED, occurred_at=shipment.delivered_at)]
    shown = current(scans)
    # Once somebody has looked at the goods, what the courier says of them moves nothing.
    is_over = shipment.state == Shipment.State.RETURNED
    update.is_late = is_over or shown is not update
    shipment.tracking_status = shipment.tracking_status if is_over else shown.status
    shipment.estimated_delivery_at = latest_estimate(scans) or shipment.estimated_delivery_at
    shipment.save(update_fields=["tracking_status", "estimated_delivery_at", "delivered_at", "delivery_source"])
    store(shipment.order, now=update.at)
    update.save()


def _date_delivery(shipment: Shipment, scans: Iterable[TrackingUpdate]) -> None:
    """Of several scans that say it was delivered, the earliest counts; what staff said of it stands."""
    delivered = [scan for scan in in_order(scans) if scan.status == TrackingStatus.DELIVERED]
    if any(scan.occurred_at == shipment.delivered_at for scan in delivered):
        shipment.delivered_at, shipment.delivery_source = delivered[0].occurred_at, delivered[0].source


def current(scans: Iterable[TrackingUpdate]) -> TrackingUpdate:
    """The latest by `occurred_at`, ties by rank; but `delivered` gives way to a return only."""
    first, *later = in_order(scans)
    shown = first
    for scan in later:
        if shown.status != TrackingStatus.DELIVERED or scan.status in _AFTER_DELIVERY:
            shown = scan
    return shown


def latest_estimate(scans: Iterable[TrackingUpdate]) -> datetime | None:
    estimates = [scan.estimated_delivery_at for scan in in_order(scans) if scan.estimated_delivery_at]
    return estimates[-1] if estimates else None


def in_order(scans: Iterable[Told]) -> list[Told]:
    return sorted(scans, key=lambda scan: (scan.occurred_at, STATUSES[scan.status]))
