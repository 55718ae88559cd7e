"""What a customer is promised: when the parcel leaves, and when it comes."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from inventory.models import Warehouse

# Working days on the road, at best and at worst.
DOMESTIC_DAYS = (1, 3)
INTERNATIONAL_DAYS = (3, 8)


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


def _promise(warehouse: Warehouse, *, country: str, now: datetime) -> Promise:
    ships_on = add_working_days(_counted_from(warehouse, now), warehouse.handling_days)
    soonest, latest = DOMESTIC_DAYS if warehouse.country == country else INTERNATIONAL_DAYS
    return Promise(
        ship_by_at=datetime.combine(ships_on, warehouse.cutoff, tzinfo=UTC),
        delivery_from=add_working_days(ships_on, soonest),
        delivery_to=add_working_days(ships_on, latest),
    )


def _counted_from(warehouse: Warehouse, now: datetime) -> date:
    """The working day whose cut-off an order placed `now` still makes."""
    moment = now.astimezone(UTC)
    in_time = _is_working(moment.date()) and moment.time() <= warehouse.cutoff
    return moment.date() if in_time else add_working_days(moment.date(), 1)


def add_working_days(day: date, count: int) -> date:
    while count:
        day += timedelta(days=1)
        count -= _is_working(day)
    return day


def _is_working(day: date) -> bool:
    return day.weekday() < 5
