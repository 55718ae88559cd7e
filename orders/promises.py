"""What a customer is promised: when the parcel leaves and when it comes; and the orders that may not keep it.

Days are working days, Monday to Friday, in the warehouse's own time zone; public holidays are not known.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from django.db import models
from django.db.models import Case, Exists, F, OuterRef, Q, Value, When

from inventory.models import Warehouse
from orders.models import Allocation, Order, OrderLine, Shipment
from orders.transitions import Kind, record, store

# Working days on the road, at best and at worst, where the warehouse names none for the country.
DOMESTIC_DAYS = (1, 3)
INTERNATIONAL_DAYS = (3, 8)
# What is expected later than that is a slip, such as 2062 for 2026.
ESTIMATES_WITHIN = timedelta(days=366)
# So long before it has to leave, an order that has not left is at risk.
AT_RISK_FOR = timedelta(hours=4)

# Part of an order that has arrived says nothing of the rest: whether that has left stands on the lines.
_TO_LEAVE = (
    Order.Fulfilment.UNFULFILLED,
    Order.Fulfilment.PARTIALLY_PACKED,
    Order.Fulfilment.PACKED,
    Order.Fulfilment.PARTIALLY_SHIPPED,
    Order.Fulfilment.PARTIALLY_DELIVERED,
)
_TO_ARRIVE = (*_TO_LEAVE, Order.Fulfilment.SHIPPED)

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
    _pledge(order, window, because="hold", ship_by_at=renewed.ship_by_at, actor=actor, now=now)


def heed(shipment: Shipment, *, actor: str, now: datetime) -> None:
    """A parcel has left, has arrived, or its courier has an estimate: what that means for its order's window.

    Of an order that has arrived, nothing: its window stays what the customer was told while waiting.
    """
    order, warehouse = shipment.order, shipment.warehouse
    if order.fulfilment_status not in _TO_ARRIVE:
        return
    if shipment.estimated_delivery_at is not None:
        _move(order, _pledged(order), because="courier_estimate", actor=actor, now=now)
    elif shipment.state == Shipment.State.SHIPPED and now > order.ship_by_at:
        window = _on_the_road(warehouse, now.astimezone(warehouse.zone).date(), country=order.address_country)
        _pledge(order, window, because="late_shipment", actor=actor, now=now)


def are(standing: str, *, now: datetime) -> Q:
    """Orders that stand so. Read by index, from among those that are open."""
    return {Standing.LATE: _late, Standing.AT_RISK: _at_risk}[Standing(standing)](now)


def standing(now: datetime) -> Case:
    """Their Standing, or empty, for a query of orders."""
    cases = [When(are(each, now=now), then=Value(each.value)) for each in Standing]
    return Case(*cases, default=Value(""), output_field=models.CharField())


def _late(now: datetime) -> Q:
    """Not left, or not arrived, by the time they were promised for."""
    unsent = Q(ship_by_at__lt=now) & _is_to_leave()
    return Q(state=Order.State.CONFIRMED) & (unsent | Q(fulfilment_status__in=_TO_ARRIVE, promised_to__lt=_today(now)))


def _at_risk(now: datetime) -> Q:
    """They have to leave soon, and are not late yet."""
    soon = Q(ship_by_at__gte=now, ship_by_at__lt=now + AT_RISK_FOR, promised_to__gte=_today(now))
    return Q(state=Order.State.CONFIRMED) & soon & _is_to_leave()


def _is_to_leave() -> Q:
    """Not all of it has left."""
    waiting = OrderLine.objects.filter(order=OuterRef("pk"), shipped__lt=F("quantity") - F("cancelled"))
    return Q(Exists(waiting), fulfilment_status__in=_TO_LEAVE)


def _pledged(order: Order) -> Window:
    """What we promise by ourselves, whatever the couriers say."""
    if order.pledged_from is None or order.pledged_to is None:
        return order.promised_from, order.promised_to
    return order.pledged_from, order.pledged_to


def _pledge(
    order: Order, window: Window, *, because: str, ship_by_at: datetime | None = None, actor: str, now: datetime
) -> None:
    """Later only: what we have promised by ourselves is not taken back for something earlier."""
    if window[1] > _pledged(order)[1]:
        _move(order, window, because=because, ship_by_at=ship_by_at, actor=actor, now=now)


def _move(
    order: Order, pledge: Window, *, because: str, ship_by_at: datetime | None = None, actor: str, now: datetime
) -> None:
    """To what we pledge, or to the day beyond it that a courier names by now. No news is no event."""
    told, pledged = (order.promised_from, order.promised_to), _pledged(order)
    window = max([pledge, *_estimates(order)], key=lambda each: each[1])
    order.promised_from, order.promised_to = window
    order.pledged_from, order.pledged_to = (None, None) if window == pledge else pledge
    is_news = window != told or (ship_by_at is not None and ship_by_at > order.ship_by_at)
    order.ship_by_at = max(order.ship_by_at, ship_by_at or order.ship_by_at)
    if is_news:
        details = {"previous_from": told[0].isoformat(), "previous_to": told[1].isoformat()}
        record(order, Kind.WINDOW_CHANGED, actor=actor, now=now, reason=because, details=details)
    elif pledge != pledged:
        store(order, now=now)


def _estimates(order: Order) -> list[Window]:
    """The days that couriers name for its parcels on the road, each by its warehouse's clock. One query."""
    parcels = order.shipments.filter(state=Shipment.State.SHIPPED, estimated_delivery_at__isnull=False)
    days = [
        parcel.estimated_delivery_at.astimezone(parcel.warehouse.zone).date()
        for parcel in parcels.select_related("warehouse")
        if parcel.estimated_delivery_at
    ]
    return [(day, day) for day in days]


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
