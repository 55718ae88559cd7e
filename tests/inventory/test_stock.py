from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from inventory import stock
from inventory.models import Sale, StockLevel, StockMovement
from inventory.stock import Demand, InsufficientStock, ReferenceReused, StaleCount
from tests.factories import NOW, make_product, make_warehouse
from webhooks.models import Event

pytestmark = pytest.mark.django_db

Balance = Callable[[StockLevel], tuple[int, int, int]]

CAUSE: dict[str, Any] = {"reference": "ord_1", "actor": "ann", "now": NOW}


def nothing_but(movements: int) -> bool:
    return (StockMovement.objects.count(), Event.objects.filter(type="inventory.updated").count()) == (
        movements,
        movements,
    )


class TestDemand:
    @pytest.mark.parametrize("quantity", [0, -1])
    def test_is_for_at_least_one_unit(self, quantity: int) -> None:
        with pytest.raises(ValueError, match="at least one"):
            Demand(level_id=1, quantity=quantity)


class TestReserve:
    def test_holds_units_and_leaves_them_on_hand(self, level: StockLevel, balance: Balance, now: datetime) -> None:
        [movement] = stock.reserve([Demand(level.pk, 4)], reference="ord_1", actor="storefront", now=now)

        assert balance(level) == (10, 4, 2)
        assert (movement.on_hand_delta, movement.reserved_delta) == (0, 4)
        assert (movement.on_hand_after, movement.reserved_after, movement.version) == (10, 4, 2)
        assert (movement.reason, movement.reference, movement.actor, movement.at) == (
            "reserved",
            "ord_1",
            "storefront",
            now,
        )

    def test_takes_the_last_unit(self, level: StockLevel, balance: Balance) -> None:
        stock.reserve([Demand(level.pk, 10)], **CAUSE)

        assert balance(level) == (10, 10, 2)

    def test_merges_the_demands_for_one_level(self, level: StockLevel, balance: Balance) -> None:
        movements = stock.reserve([Demand(level.pk, 3), Demand(level.pk, 4)], **CAUSE)

        assert [movement.reserved_delta for movement in movements] == [7]
        assert balance(level) == (10, 7, 2)

    def test_refuses_demands_that_only_together_are_too_many(self, level: StockLevel, balance: Balance) -> None:
        with pytest.raises(InsufficientStock) as refusal:
            stock.reserve([Demand(level.pk, 6), Demand(level.pk, 5)], **CAUSE)

        assert refusal.value.errors == [{"sku": "MUG", "requested": 11, "available": 10}]
        assert balance(level) == (10, 0, 1)

    def test_refuses_all_for_one(self, level: StockLevel, lamps: StockLevel, balance: Balance) -> None:
        with pytest.raises(InsufficientStock) as refusal:
            stock.reserve([Demand(level.pk, 2), Demand(lamps.pk, 5)], **CAUSE)

        assert refusal.value.errors == [{"sku": "LAMP", "requested": 5, "available": 4}]
        assert (balance(level), balance(lamps)) == ((10, 0, 1), (4, 0, 1))
        assert nothing_but(2)

    def test_names_everything_that_is_short(self, level: StockLevel, lamps: StockLevel) -> None:
        with pytest.raises(
            InsufficientStock, match=r"MUG \(11 asked for, 10 available\), LAMP \(5 asked for, 4 available\)"
        ) as refusal:
            stock.reserve([Demand(lamps.pk, 5), Demand(level.pk, 11)], **CAUSE)

        assert [error["sku"] for error in refusal.value.errors] == ["MUG", "LAMP"]

    def test_never_takes_the_safety_stock(self, level: StockLevel, balance: Balance, now: datetime) -> None:
        stock.keep_back(level, safety_stock=8, actor="ann", now=now)

        with pytest.raises(InsufficientStock) as refusal:
            stock.reserve([Demand(level.pk, 3)], **CAUSE)

        assert refusal.value.errors == [{"sku": "MUG", "requested": 3, "available": 2}]

    def test_says_that_nothing_is_left_where_the_safety_stock_is_eaten_into(
        self, level: StockLevel, now: datetime
    ) -> None:
        stock.keep_back(level, safety_stock=50, actor="ann", now=now)

        with pytest.raises(InsufficientStock) as refusal:
            stock.reserve([Demand(level.pk, 1)], **CAUSE)

        assert refusal.value.errors == [{"sku": "MUG", "requested": 1, "available": 0}]

    def test_a_refusal_can_be_caught_inside_of_a_transaction(
        self, level: StockLevel, lamps: StockLevel, balance: Balance
    ) -> None:
        with transaction.atomic():
            with pytest.raises(InsufficientStock):
                stock.reserve([Demand(level.pk, 1), Demand(lamps.pk, 5)], **CAUSE)
            stock.reserve([Demand(level.pk, 2)], **CAUSE)

        assert (balance(level), balance(lamps)) == ((10, 2, 2), (4, 0, 1))

    def test_checks_and_writes_in_one_statement_per_level_in_the_order_of_keys(
        self, level: StockLevel, lamps: StockLevel
    ) -> None:
        with CaptureQueriesContext(connection) as queries:
            stock.reserve([Demand(lamps.pk, 1), Demand(level.pk, 1)], **CAUSE)

        updates = [query["sql"] for query in queries if "UPDATE inventory_stocklevel" in query["sql"]]
        assert [f"id = {pk} AND" in sql for pk, sql in zip((level.pk, lamps.pk), updates, strict=True)] == [True, True]


class TestRelease:
    def test_gives_held_units_back(self, level: StockLevel, balance: Balance) -> None:
        stock.reserve([Demand(level.pk, 4)], **CAUSE)

        [movement] = stock.release([Demand(level.pk, 3)], **CAUSE)

        assert balance(level) == (10, 1, 3)
        assert (movement.reason, movement.reserved_delta, movement.available_delta) == ("released", -3, 3)

    def test_refuses_more_than_is_held(self, level: StockLevel, balance: Balance) -> None:
        stock.reserve([Demand(level.pk, 2)], **CAUSE)

        with pytest.raises(InsufficientStock, match=r"3 asked for, 2 reserved"):
            stock.release([Demand(level.pk, 3)], **CAUSE)

        assert balance(level) == (10, 2, 2)


class TestIssue:
    def test_takes_held_units_out_of_the_warehouse(self, level: StockLevel, balance: Balance) -> None:
        stock.reserve([Demand(level.pk, 4)], **CAUSE)

        [movement] = stock.issue([Demand(level.pk, 3)], **CAUSE)

        assert balance(level) == (7, 1, 3)
        assert (movement.reason, movement.on_hand_delta, movement.reserved_delta) == ("shipped", -3, -3)
        assert movement.available_delta == 0

    def test_refuses_units_that_are_not_held(self, level: StockLevel, balance: Balance) -> None:
        with pytest.raises(InsufficientStock, match=r"1 asked for, 0 reserved"):
            stock.issue([Demand(level.pk, 1)], **CAUSE)

        assert balance(level) == (10, 0, 1)


class TestAdjust:
    def test_adds_units(self, level: StockLevel, balance: Balance, now: datetime) -> None:
        movement = stock.adjust(
            product=level.product,
            warehouse=level.warehouse,
            delta=5,
            reason="received",
            reference="DN 7",
            actor="ann",
            now=now,
        )

        assert balance(level) == (15, 0, 2)
        assert (movement.reason, movement.reference, movement.on_hand_delta) == ("received", "DN 7", 5)

    def test_makes_the_level_where_there_is_none(self, level: StockLevel, now: datetime) -> None:
        warehouse = make_warehouse("HAM")

        movement = stock.adjust(
            product=level.product, warehouse=warehouse, delta=2, reason="received", actor="ann", now=now
        )

        assert (movement.level.warehouse, movement.level.on_hand, movement.level.version) == (warehouse, 2, 1)

    def test_refuses_to_take_off_what_is_not_there_and_leaves_no_empty_level(
        self, level: StockLevel, now: datetime
    ) -> None:
        with pytest.raises(InsufficientStock) as refusal:
            stock.adjust(
                product=level.product, warehouse=make_warehouse("HAM"), delta=-1, reason="damaged", actor="ann", now=now
            )

        assert refusal.value.errors == [{"sku": "MUG", "requested": 1, "available": 0}]
        assert StockLevel.objects.count() == 1

    def test_refuses_to_take_off_what_is_reserved(self, level: StockLevel, balance: Balance, now: datetime) -> None:
        stock.reserve([Demand(level.pk, 8)], **CAUSE)

        with pytest.raises(InsufficientStock, match=r"3 asked for, 2 not reserved"):
            stock.adjust(
                product=level.product, warehouse=level.warehouse, delta=-3, reason="damaged", actor="ann", now=now
            )

        assert balance(level) == (10, 8, 2)

    def test_may_eat_into_the_safety_stock(self, level: StockLevel, balance: Balance, now: datetime) -> None:
        stock.keep_back(level, safety_stock=9, actor="ann", now=now)

        stock.adjust(product=level.product, warehouse=level.warehouse, delta=-5, reason="damaged", actor="ann", now=now)

        assert balance(level) == (5, 0, 3)


class TestCount:
    def count(self, level: StockLevel, *, on_hand: int, expected: int) -> StockMovement:
        return stock.count(
            product=level.product,
            warehouse=level.warehouse,
            on_hand=on_hand,
            expected_on_hand=expected,
            reason="recounted",
            actor="ben",
            now=NOW,
        )

    def test_sets_what_was_counted(self, level: StockLevel, balance: Balance) -> None:
        movement = self.count(level, on_hand=7, expected=10)

        assert balance(level) == (7, 0, 2)
        assert (movement.reason, movement.on_hand_delta) == ("recounted", -3)

    def test_records_a_count_that_found_all_in_order(self, level: StockLevel, balance: Balance) -> None:
        movement = self.count(level, on_hand=10, expected=10)

        assert balance(level) == (10, 0, 2)
        assert movement.on_hand_delta == 0

    @pytest.mark.parametrize(("on_hand", "expected"), [(7, 9), (0, 40), (12, 11)])
    def test_refuses_a_count_that_began_before_the_last_change(
        self, level: StockLevel, balance: Balance, on_hand: int, expected: int
    ) -> None:
        with pytest.raises(StaleCount, match=f"MUG in BER holds 10 units now, not {expected}"):
            self.count(level, on_hand=on_hand, expected=expected)

        assert balance(level) == (10, 0, 1)
        assert nothing_but(1)

    def test_refuses_fewer_than_are_reserved(self, level: StockLevel, balance: Balance) -> None:
        stock.reserve([Demand(level.pk, 8)], **CAUSE)

        with pytest.raises(InsufficientStock, match=r"3 asked for, 2 not reserved"):
            self.count(level, on_hand=7, expected=10)

        assert balance(level) == (10, 8, 2)


class TestSell:
    def sell(self, level: StockLevel, *quantities: int, reference: str = "T1") -> list[StockMovement]:
        return stock.sell(
            warehouse=level.warehouse,
            lines=[(level.product, quantity) for quantity in quantities],
            reference=reference,
            actor="till",
            now=NOW,
        )

    def test_takes_the_units_at_once(self, level: StockLevel, balance: Balance) -> None:
        [movement] = self.sell(level, 3)

        assert balance(level) == (7, 0, 2)
        assert (movement.reason, movement.reference, movement.on_hand_delta) == ("sold", "T1", -3)

    def test_merges_lines_of_one_product(self, level: StockLevel, balance: Balance) -> None:
        self.sell(level, 3, 4)

        assert balance(level) == (3, 0, 2)

    def test_sells_nothing_twice_for_one_reference(self, level: StockLevel, balance: Balance) -> None:
        first = self.sell(level, 3)

        again = self.sell(level, 1, 2)

        assert again == first
        assert balance(level) == (7, 0, 2)

    def test_refuses_a_reference_of_other_lines(self, level: StockLevel, balance: Balance) -> None:
        self.sell(level, 3)

        with pytest.raises(ReferenceReused, match="use a new reference"):
            self.sell(level, 4)

        assert balance(level) == (7, 0, 2)

    def test_a_refused_reference_can_be_used_again(self, level: StockLevel, balance: Balance) -> None:
        with pytest.raises(InsufficientStock):
            self.sell(level, 11)
        assert not Sale.objects.exists()

        self.sell(level, 10)

        assert balance(level) == (0, 0, 2)

    def test_refuses_all_for_one(self, level: StockLevel, balance: Balance) -> None:
        lamp = make_product("LAMP", on_hand=1)

        with pytest.raises(InsufficientStock) as refusal:
            stock.sell(
                warehouse=level.warehouse, lines=[(level.product, 1), (lamp, 2)], reference="T1", actor="till", now=NOW
            )

        assert refusal.value.errors == [{"sku": "LAMP", "requested": 2, "available": 1}]
        assert balance(level) == (10, 0, 1)

    def test_never_takes_what_is_reserved_or_kept_back(self, level: StockLevel, balance: Balance) -> None:
        stock.reserve([Demand(level.pk, 4)], **CAUSE)
        stock.keep_back(level, safety_stock=5, actor="ann", now=NOW)

        with pytest.raises(InsufficientStock) as refusal:
            self.sell(level, 2)

        assert refusal.value.errors == [{"sku": "MUG", "requested": 2, "available": 1}]


class TestKeepBack:
    def test_is_a_movement_of_what_is_available(self, level: StockLevel, now: datetime) -> None:
        movement = stock.keep_back(level, safety_stock=3, actor="ann", now=now)

        assert (movement.reason, movement.safety_stock_delta, movement.available_delta) == ("safety_stock", 3, -3)
        assert (movement.level.on_hand, movement.level.safety_stock, movement.level.available) == (10, 3, 7)

    def test_goes_by_what_the_database_has(self, level: StockLevel, now: datetime) -> None:
        stale = StockLevel.objects.get(pk=level.pk)
        stock.keep_back(level, safety_stock=5, actor="ann", now=now)

        movement = stock.keep_back(stale, safety_stock=3, actor="ben", now=now)

        assert (movement.safety_stock_delta, movement.safety_stock_after) == (-2, 3)
