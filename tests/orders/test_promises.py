from datetime import UTC, date, datetime, time

import pytest

from inventory.models import Warehouse
from orders.promises import add_working_days, promise

MONDAY, FRIDAY, SATURDAY = date(2026, 11, 23), date(2026, 11, 27), date(2026, 11, 28)


def warehouse(**fields: object) -> Warehouse:
    return Warehouse(**{"country": "DE", "handling_days": 1, "cutoff": time(14), **fields})


def at(day: date, hour: int) -> datetime:
    return datetime.combine(day, time(hour), tzinfo=UTC)


class TestPromise:
    def test_counts_from_today_before_the_cut_off(self) -> None:
        promised = promise([warehouse()], country="DE", now=at(MONDAY, 10))

        assert promised.ship_by_at == datetime(2026, 11, 24, 14, tzinfo=UTC)
        assert (promised.delivery_from, promised.delivery_to) == (date(2026, 11, 25), date(2026, 11, 27))

    def test_counts_from_the_next_working_day_after_it(self) -> None:
        promised = promise([warehouse()], country="DE", now=at(FRIDAY, 15))

        assert promised.ship_by_at == datetime(2026, 12, 1, 14, tzinfo=UTC)

    def test_counts_a_weekend_as_the_monday_after(self) -> None:
        promised = promise([warehouse(handling_days=0)], country="DE", now=at(SATURDAY, 9))

        assert promised.ship_by_at == datetime(2026, 11, 30, 14, tzinfo=UTC)

    def test_takes_longer_abroad(self) -> None:
        promised = promise([warehouse()], country="FR", now=at(MONDAY, 10))

        assert (promised.delivery_from, promised.delivery_to) == (date(2026, 11, 27), date(2026, 12, 4))

    def test_is_as_slow_as_the_slowest_warehouse(self) -> None:
        promised = promise([warehouse(), warehouse(handling_days=3)], country="DE", now=at(MONDAY, 10))

        assert promised.ship_by_at == datetime(2026, 11, 26, 14, tzinfo=UTC)


class TestAddWorkingDays:
    @pytest.mark.parametrize(("count", "day"), [(0, FRIDAY), (1, date(2026, 11, 30)), (5, date(2026, 12, 4))])
    def test_leaves_out_weekends(self, count: int, day: date) -> None:
        assert add_working_days(FRIDAY, count) == day
