"""What a customer is promised: when the parcel leaves and when it comes; and the orders that may not keep it.

Days are working days, Monday to Friday, in the warehouse's own time zone; public holidays are not known.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from django.db import models
from django.db.models import Case, F, Q, Value, When

from inventory.models import Warehouse
from orders.models import Allocation, Order, Shipment
from orders.transitions import Kind, record

# Working days on the road, at best and at worst, where the warehouse names none for the country.
DOMESTIC_DAYS = (1, 3)
INTERNATIONAL_DAYS = (3, 8)
# So long before it has to leave, an order that has not left is at risk.
AT_RISK_FOR = timedelta(hours=4)

_TO_LEAVE = (
    Order.Fulfilment.UNFULFILLED,
    Order.Fulfilment.PARTIALLY_PACKED,
    Order.Fulfilment.PACKED,
    Order.Fulfilment.PARTIALLY_SHIPPED,
)
_TO_ARRIVE = (*_TO_LEAVE, Order.Fulfilment.SHIPPED, Order.Fulfilment.PARTIALLY_DELIVERED)

Window = tuple[date, date]


class Standing(models.TextChoices):
    """Of an order that does not keep its promise, or may not."""

    LATE = "late", "Late"
    AT_RISK = "at_risk", "At risk"


@dataclass(frozen=True)
class Promise:
    ship_by_at: datetime
    delivery_from: date
    delivery_to: date


def promise(warehouses: Iterable[Warehouse], *, country: str, now: datetime) -> Promise:
    """For an order placed `now` that goes from all of these warehouses to `country`: the slowest one counts."""
    promises = [_promise(warehouse, country=country, now=now) for warehouse in warehouses]
    return Promise(
        ship_by_at=max(each.ship_by_at for each in promises),
        delivery_from=max(each.delivery_from for each in promises),
        delivery_to=max(each.delivery_to for each in promises),
    )


def renew(order: Order, *, actor: str, now: datetime) -> None:
    """After a hold: what is still to be packed leaves as if it had been ordered `now`. One query."""
    unpacked = Allocation.objects.filter(line__order=order, packed__lt=F("quantity"))
    warehouses = list(Warehouse.objects.filter(pk__in=unpacked.values("level__warehouse")))
    if not warehouses:
        return
    renewed = promise(warehouses, country=order.address_country, now=now)
    window = (renewed.delivery_from, renewed.delivery_to)
    _move(order, window, because="hold", ship_by_at=renewed.ship_by_at, actor=actor, now=now)


def heed(shipment: Shipment, *, actor: str, now: datetime) -> None:
    """A parcel has left, or its courier has an estimate: what that means for its order's window."""
    order, zone = shipment.order, shipment.warehouse.zone
    if shipment.estimated_delivery_at is not None:
        day = shipment.estimated_delivery_at.astimezone(zone).date()
        _move(order, (day, day), because="courier_estimate", actor=actor, now=now)
    elif now > order.ship_by_at:
        window = _on_the_road(shipment.warehouse, now.astimezone(zone).date(), country=order.address_country)
        _move(order, window, because="late_shipment", actor=actor, now=now)


def are(standing: str, *, now: datetime) -> Q:
    """Orders that stand so. Read by index, from among those that are open."""
    return {Standing.LATE: _late, Standing.AT_RISK: _at_risk}[Standing(standing)](now)


def standing(now: datetime) -> Case:
    """Their Standing, or empty, for a query of orders."""
    cases = [When(are(each, now=now), then=Value(each.value)) for each in Standing]
    return Case(*cases, default=Value(""), output_field=models.CharField())


def _late(now: datetime) -> Q:
    """Not left, or not arrived, by the time they were promised for."""
    unsent = Q(fulfilment_status__in=_TO_LEAVE, ship_by_at__lt=now)
    return Q(state=Order.State.CONFIRMED) & (unsent | Q(fulfilment_status__in=_TO_ARRIVE, promised_to__lt=_today(now)))


def _at_risk(now: datetime) -> Q:
    """They have to leave soon, and are not late yet."""
    soon = Q(ship_by_at__gte=now, ship_by_at__lt=now + AT_RISK_FOR, promised_to__gte=_today(now))
    return Q(state=Order.State.CONFIRMED, fulfilment_status__in=_TO_LEAVE) & soon


def _move(
    order: Order, window: Window, *, because: str, ship_by_at: datetime | None = None, actor: str, now: datetime
) -> None:
    """Later only: what the customer has been told is not taken back for something earlier, and no news is no event."""
    if window[1] <= order.promised_to:
        return
    details = {"previous_from": order.promised_from.isoformat(), "previous_to": order.promised_to.isoformat()}
    order.promised_from, order.promised_to = window
    order.ship_by_at = max(order.ship_by_at, ship_by_at or order.ship_by_at)
    record(order, Kind.WINDOW_CHANGED, actor=actor, now=now, reason=because, details=details)


def _promise(warehouse: Warehouse, *, country: str, now: datetime) -> Promise:
    ships_on = add_working_days(_counted_from(warehouse, now), warehouse.handling_days)
    delivery_from, delivery_to = _on_the_road(warehouse, ships_on, country=country)
    return Promise(
        ship_by_at=datetime.combine(ships_on, warehouse.cutoff, tzinfo=warehouse.zone).astimezone(UTC),
        delivery_from=delivery_from,
        delivery_to=delivery_to,
    )


def _on_the_road(warehouse: Warehouse, leaves_on: date, *, country: str) -> Window:
    soonest, latest = warehouse.transit_days.get(country) or (
        DOMESTIC_DAYS if warehouse.country == country else INTERNATIONAL_DAYS
    )
    return add_working_days(leaves_on, soonest), add_working_days(leaves_on, latest)


def _counted_from(warehouse: Warehouse, now: datetime) -> date:
    """The working day whose cut-off an order placed `now` still makes."""
    moment = now.astimezone(warehouse.zone)
    in_time = _is_working(moment.date()) and moment.time() <= warehouse.cutoff
    return moment.date() if in_time else add_working_days(moment.date(), 1)


def add_working_days(day: date, count: int) -> date:
    while count:
        day += timedelta(days=1)
        count -= _is_working(day)
    return day


def _is_working(day: date) -> bool:
    return day.weekday() < 5


def _today(now: datetime) -> date:
    return now.astimezone(UTC).date()
