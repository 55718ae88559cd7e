from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from inventory.models import Warehouse, validate_time_zone, validate_transit
from orders import couriers, fulfilment, holds, promises
from orders.models import Order, Shipment
from orders.promises import Standing, add_working_days, promise
from tests.factories import NOW, confirm_order, make_product, make_warehouse, pack_order, place_order, ship_order
from tests.marks import only_on
from tests.told import DataOf, Told
from webhooks.models import Event

MONDAY, TUESDAY = date(2026, 11, 23), date(2026, 11, 24)
FRIDAY, SATURDAY = date(2026, 11, 27), date(2026, 11, 28)


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

    def test_takes_the_days_that_the_warehouse_names_for_a_country(self) -> None:
        promised = promise([warehouse(transit_days={"FR": [2, 4], "DE": [0, 1]})], country="FR", now=at(MONDAY, 10))

        assert (promised.delivery_from, promised.delivery_to) == (date(2026, 11, 26), date(2026, 11, 30))

    @pytest.mark.parametrize(
        ("zone", "now", "ship_by_at"),
        [
            # 14:00 in Berlin is 13:00 in winter and 12:00 in summer.
            ("Europe/Berlin", datetime(2026, 11, 23, 12, 59, tzinfo=UTC), datetime(2026, 11, 24, 13, tzinfo=UTC)),
            ("Europe/Berlin", datetime(2026, 11, 23, 13, 1, tzinfo=UTC), datetime(2026, 11, 25, 13, tzinfo=UTC)),
            ("Europe/Berlin", datetime(2026, 7, 6, 11, 59, tzinfo=UTC), datetime(2026, 7, 7, 12, tzinfo=UTC)),
            # The clocks go back in the night between the order and the dispatch.
            ("Europe/Berlin", datetime(2026, 10, 23, 11, 0, tzinfo=UTC), datetime(2026, 10, 26, 13, tzinfo=UTC)),
            # Sunday evening in UTC is Monday morning in Auckland, Friday evening Saturday.
            ("Pacific/Auckland", datetime(2026, 11, 22, 23, tzinfo=UTC), datetime(2026, 11, 24, 1, tzinfo=UTC)),
            ("Pacific/Auckland", datetime(2026, 11, 27, 12, tzinfo=UTC), datetime(2026, 12, 1, 1, tzinfo=UTC)),
        ],
    )
    def test_goes_by_the_warehouse_s_own_clock(self, zone: str, now: datetime, ship_by_at: datetime) -> None:
        assert promise([warehouse(time_zone=zone)], country="DE", now=now).ship_by_at == ship_by_at

    def test_is_as_slow_as_the_slowest_warehouse(self) -> None:
        promised = promise([warehouse(), warehouse(handling_days=3)], country="DE", now=at(MONDAY, 10))

        assert promised.ship_by_at == datetime(2026, 11, 26, 14, tzinfo=UTC)


class TestAddWorkingDays:
    @pytest.mark.parametrize(("count", "day"), [(0, FRIDAY), (1, date(2026, 11, 30)), (5, date(2026, 12, 4))])
    def test_leaves_out_weekends(self, count: int, day: date) -> None:
        assert add_working_days(FRIDAY, count) == day


class TestWarehouseSettings:
    @pytest.mark.parametrize("name", ["", "Berlin", "Europe/Atlantis", "../../etc/passwd", "/etc/passwd", "A" * 50])
    def test_refuse_what_is_no_time_zone(self, name: str) -> None:
        with pytest.raises(ValidationError, match="is not a time zone"):
            validate_time_zone(name)

    @pytest.mark.parametrize(
        "days",
        [[], "DE", {"Germany": [1, 2]}, {"DE": 3}, {"DE": [3, 1]}, {"DE": [1]}, {"DE": [-1, 2]}, {"DE": [1, 366]}],
    )
    def test_refuse_days_that_make_no_sense(self, days: object) -> None:
        with pytest.raises(ValidationError):
            validate_transit(days)


def window(order: Order) -> tuple[date, date]:
    order.refresh_from_db()
    return order.promised_from, order.promised_to


def changes() -> int:
    return Event.objects.filter(type="order.delivery_window.changed").count()


@pytest.mark.django_db
class TestHeld:
    """Placed on Monday at 10: to leave on Tuesday by 14, to arrive from Wednesday to Friday."""

    def test_for_long_an_order_is_promised_anew_at_its_release(self, told: Told, data_of: DataOf) -> None:
        order = confirm_order()
        holds.place(order.public_id, kind="fraud", reason="x", actor="ann", now=NOW)

        holds.release(order.public_id, actor="ann", now=NOW + timedelta(days=2))

        assert window(order) == (date(2026, 11, 27), date(2026, 12, 1))
        assert order.ship_by_at == datetime(2026, 11, 26, 14, tzinfo=UTC)
        assert told(order.public_id)[-2:] == ["order.released", "order.delivery_window.changed"]
        data = data_of("order.delivery_window.changed")
        assert (data["promised_delivery_from"], data["promised_delivery_to"]) == ("2026-11-27", "2026-12-01")
        assert (data["previous_delivery_from"], data["previous_delivery_to"]) == ("2026-11-25", "2026-11-27")
        assert (data["reason"], data["ship_by_at"]) == ("hold", "2026-11-26T14:00:00.000000Z")

    def test_shortly_it_keeps_its_promise_and_nothing_is_told(self) -> None:
        order = confirm_order()
        before = window(order)
        holds.place(order.public_id, kind="fraud", reason="x", actor="ann", now=NOW)

        holds.release(order.public_id, actor="ann", now=NOW + timedelta(hours=3))

        assert (window(order), changes()) == (before, 0)

    def test_by_two_holds_it_is_told_once_when_the_last_ends(self) -> None:
        order = confirm_order()
        for kind in ("fraud", "address"):
            holds.place(order.public_id, kind=kind, reason="x", actor="ann", now=NOW)

        holds.release(order.public_id, kinds=["fraud"], actor="ann", now=NOW + timedelta(days=2))
        assert changes() == 0
        holds.release(order.public_id, kinds=["address"], actor="ann", now=NOW + timedelta(days=2))

        assert changes() == 1

    def test_after_it_left_nothing_is_to_be_promised_anew(self) -> None:
        order = pack_order().order
        holds.place(order.public_id, kind="fraud", reason="x", actor="ann", now=NOW)

        holds.release(order.public_id, actor="ann", now=NOW + timedelta(days=2))

        assert changes() == 0


@pytest.mark.django_db
class TestLeaving:
    def ship(self, shipment: Shipment, *, now: datetime, **answers: Any) -> Order:
        fulfilment.ship(shipment.public_id, carrier="DHL", tracking_number="1", actor="ben", now=now, **answers)
        return shipment.order

    def test_late_moves_the_window_by_the_days_on_the_road(self, told: Told, data_of: DataOf) -> None:
        order = self.ship(pack_order(), now=NOW + timedelta(days=3))

        assert window(order) == (date(2026, 11, 27), date(2026, 12, 1))
        assert told(order.public_id)[-2:] == ["order.shipped", "order.delivery_window.changed"]
        assert data_of("order.delivery_window.changed")["reason"] == "late_shipment"

    def test_in_time_moves_nothing(self) -> None:
        order = self.ship(pack_order(), now=NOW + timedelta(days=1))

        assert (window(order), changes()) == ((date(2026, 11, 25), date(2026, 11, 27)), 0)

    @pytest.mark.parametrize("days", [0, 3])
    def test_with_an_estimate_within_the_window_moves_nothing(self, days: int) -> None:
        estimate = datetime(2026, 11, 27, 16, tzinfo=UTC)

        order = self.ship(pack_order(), now=NOW + timedelta(days=days), estimated_delivery_at=estimate)

        assert (window(order), changes()) == ((date(2026, 11, 25), date(2026, 11, 27)), 0)


@pytest.mark.django_db
class TestCourierEstimate:
    def scan(self, shipment: Shipment, hour: int, estimate: datetime | None) -> None:
        couriers.track(
            shipment.public_id,
            status="in_transit",
            occurred_at=NOW + timedelta(hours=hour),
            estimated_delivery_at=estimate,
            source="dhl",
            now=NOW,
        )

    def test_beyond_the_window_moves_it_to_that_day_once(self, told: Told, data_of: DataOf) -> None:
        shipment = ship_order()
        late = datetime(2026, 12, 2, 16, tzinfo=UTC)

        for hour in range(3):
            self.scan(shipment, hour, late)

        assert window(shipment.order) == (date(2026, 12, 2), date(2026, 12, 2))
        assert changes() == 1
        assert data_of("order.delivery_window.changed")["reason"] == "courier_estimate"
        assert told(shipment.order.public_id)[3:6] == [
            "order.packed",
            "order.shipped",
            "order.tracking.updated",
        ]

    def test_earlier_or_missing_moves_nothing(self) -> None:
        shipment = ship_order()

        self.scan(shipment, 1, datetime(2026, 11, 24, 16, tzinfo=UTC))
        self.scan(shipment, 2, None)

        assert changes() == 0

    def test_that_is_newer_moves_it_back_but_not_below_what_we_promised(self, data_of: DataOf) -> None:
        shipment = ship_order()
        self.scan(shipment, 1, datetime(2062, 12, 2, 16, tzinfo=UTC))

        self.scan(shipment, 2, datetime(2026, 12, 2, 16, tzinfo=UTC))
        assert window(shipment.order) == (date(2026, 12, 2), date(2026, 12, 2))
        assert data_of("order.delivery_window.changed")["previous_delivery_to"] == "2062-12-02"

        self.scan(shipment, 3, datetime(2026, 11, 24, 16, tzinfo=UTC))
        assert window(shipment.order) == (date(2026, 11, 25), date(2026, 11, 27))
        assert data_of("order.delivery_window.changed")["promised_delivery_from"] == "2026-11-25"
        assert changes() == 3

    def test_that_is_older_moves_nothing(self) -> None:
        shipment = ship_order()
        self.scan(shipment, 2, datetime(2026, 12, 2, 16, tzinfo=UTC))

        self.scan(shipment, 1, datetime(2026, 12, 9, 16, tzinfo=UTC))

        assert (window(shipment.order), changes()) == ((date(2026, 12, 2), date(2026, 12, 2)), 1)

    def test_does_not_go_below_what_was_promised_anew_when_it_left_late(self) -> None:
        shipment = pack_order()
        fulfilment.ship(
            shipment.public_id, carrier="DHL", tracking_number="1", actor="ben", now=NOW + timedelta(days=3)
        )
        anew = (date(2026, 11, 27), date(2026, 12, 1))

        for hour, day in enumerate((9, 2, 1)):
            self.scan(shipment, hour, datetime(2026, 12, day, 16, tzinfo=UTC))

        assert (window(shipment.order), changes()) == (anew, 4)

    def test_of_one_parcel_counts_until_it_arrives_and_never_hides_another_s(self) -> None:
        make_product("MUG")
        make_product("CUP", warehouse="HAM")
        order = confirm_order(("MUG", 1), ("CUP", 1))
        first, second = fulfilment.pack(order.public_id, actor="ben", now=NOW)
        for parcel in (first, second):
            fulfilment.ship(parcel.public_id, carrier="DHL", tracking_number="1", actor="ben", now=NOW)
        self.scan(first, 1, datetime(2026, 12, 9, 16, tzinfo=UTC))

        self.scan(second, 1, datetime(2026, 12, 2, 16, tzinfo=UTC))
        assert window(order)[1] == date(2026, 12, 9)
        fulfilment.deliver(first.public_id, delivered_at=NOW, actor="ben", now=NOW)
        assert window(order)[1] == date(2026, 12, 2)
        fulfilment.deliver(second.public_id, delivered_at=NOW, actor="ben", now=NOW)
        assert (window(order)[1], changes()) == (date(2026, 12, 2), 2)

    def test_hides_no_later_promise_of_ours_that_a_release_made_meanwhile(self, told: Told) -> None:
        make_product("MUG")
        make_product("CUP", warehouse="HAM")
        order = confirm_order(("MUG", 1), ("CUP", 1))
        first = fulfilment.pack(order.public_id, warehouse="BER", actor="ben", now=NOW)[0]
        fulfilment.ship(first.public_id, carrier="DHL", tracking_number="1", actor="ben", now=NOW)
        self.scan(first, 1, datetime(2026, 12, 9, 16, tzinfo=UTC))
        holds.place(order.public_id, kind="fraud", reason="x", actor="ann", now=NOW)
        holds.release(order.public_id, actor="ann", now=NOW + timedelta(days=2))
        assert (window(order)[1], order.ship_by_at) == (date(2026, 12, 9), datetime(2026, 11, 26, 14, tzinfo=UTC))

        self.scan(first, 2, datetime(2026, 11, 24, 16, tzinfo=UTC))

        assert window(order) == (date(2026, 11, 27), date(2026, 12, 1))

    def test_heard_after_the_order_arrived_moves_nothing(self) -> None:
        shipment = ship_order()
        fulfilment.deliver(shipment.public_id, delivered_at=NOW, actor="ben", now=NOW)

        self.scan(shipment, 1, datetime(2026, 12, 9, 16, tzinfo=UTC))

        assert changes() == 0

    def test_is_of_the_day_it_is_in_the_warehouse(self) -> None:
        make_warehouse("BER", time_zone="Europe/Berlin")
        shipment = ship_order()

        self.scan(shipment, 1, datetime(2026, 11, 27, 23, 30, tzinfo=UTC))

        assert window(shipment.order)[1] == date(2026, 11, 28)


@pytest.mark.django_db
class TestStanding:
    """To leave by Tuesday 14:00, to arrive by Friday."""

    @pytest.mark.parametrize(
        ("make", "now", "standing"),
        [
            (confirm_order, datetime(2026, 11, 24, 9, 59, tzinfo=UTC), ""),
            (confirm_order, datetime(2026, 11, 24, 10, 1, tzinfo=UTC), "at_risk"),
            (pack_order, datetime(2026, 11, 24, 10, 1, tzinfo=UTC), "at_risk"),
            (pack_order, datetime(2026, 11, 24, 14, 1, tzinfo=UTC), "late"),
            (ship_order, datetime(2026, 11, 27, 23, 59, tzinfo=UTC), ""),
            (ship_order, datetime(2026, 11, 28, tzinfo=UTC), "late"),
            (place_order, datetime(2026, 12, 24, tzinfo=UTC), ""),
        ],
    )
    def test_of_an_order_at_a_moment(self, make: Callable[[], Any], now: datetime, standing: str) -> None:
        make()

        (found,) = Order.objects.annotate(standing=promises.standing(now))

        assert found.standing == standing  # type: ignore[attr-defined]
        listed = [each.value for each in Standing if Order.objects.filter(promises.are(each, now=now)).exists()]
        assert listed == ([standing] if standing else [])

    @pytest.mark.parametrize(
        ("left", "standings"),
        # To leave by Tuesday 14:00; the first parcel has arrived on Monday.
        [(False, ["", "at_risk", "late", "late"]), (True, ["", "", "", "late"])],
        ids=["the rest has not left", "the rest is on its way"],
    )
    def test_of_an_order_of_which_a_part_has_arrived_goes_by_the_rest(self, left: bool, standings: list[str]) -> None:
        make_product("MUG")
        make_product("CUP", warehouse="HAM")
        order = confirm_order(("MUG", 1), ("CUP", 1))
        first, second = fulfilment.pack(order.public_id, actor="ben", now=NOW)
        for parcel in (first, second) if left else (first,):
            fulfilment.ship(parcel.public_id, carrier="DHL", tracking_number="1", actor="ben", now=NOW)
        fulfilment.deliver(first.public_id, delivered_at=NOW, actor="ben", now=NOW)
        moments = (NOW, at(TUESDAY, 11), at(TUESDAY, 15), at(SATURDAY, 1))

        found = [Order.objects.annotate(standing=promises.standing(each)).get() for each in moments]

        assert [each.standing for each in found] == standings  # type: ignore[attr-defined]
        listed = [list(Order.objects.filter(promises.are("late", now=each))) for each in moments]
        assert listed == [[order] if standing == "late" else [] for standing in standings]

    def test_of_what_has_arrived_is_none(self) -> None:
        shipment = ship_order()
        fulfilment.deliver(shipment.public_id, delivered_at=NOW, actor="ben", now=NOW)

        assert not Order.objects.filter(promises.are("late", now=NOW + timedelta(days=30))).exists()

    @only_on("sqlite", because="PostgreSQL scans a table that is empty")
    @pytest.mark.parametrize("standing", Standing)
    def test_is_read_by_index(self, standing: Standing) -> None:
        plan = Order.objects.filter(promises.are(standing, now=NOW)).explain()

        assert "SCAN" not in plan
