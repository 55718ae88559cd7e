from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from inventory import stock
from inventory.models import Sale, StockLevel, StockMovement
from inventory.stock import Demand
from tests.caller import Caller, fields_at_fault
from tests.factories import NOW

pytestmark = pytest.mark.django_db

Body = dict[str, Any]
Balance = Callable[[StockLevel], tuple[int, int, int]]


class TestStock:
    def test_shows_every_level(self, erp: Caller, level: StockLevel) -> None:
        stock.reserve([Demand(level.pk, 4)], reference="o", actor="ann", now=NOW)

        [row] = erp.get("inventory/").json()["results"]

        assert row == {
            "product_id": level.product.public_id,
            "sku": "MUG",
            "warehouse_code": "BER",
            "on_hand": 10,
            "reserved": 4,
            "safety_stock": 0,
            "available": 6,
            "version": 2,
            "updated_at": "2026-11-23T10:00:00.000000Z",
        }

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ({}, [("LAMP", "HAM"), ("MUG", "BER"), ("MUG", "HAM")]),
            ({"sku": "MUG"}, [("MUG", "BER"), ("MUG", "HAM")]),
            ({"warehouse": "HAM"}, [("LAMP", "HAM"), ("MUG", "HAM")]),
            ({"sku": "MUG", "warehouse": "HAM"}, [("MUG", "HAM")]),
            ({"sku": "NONE"}, []),
            ({"updated_since": "2026-11-23T10:30:00Z"}, [("LAMP", "HAM")]),
            ({"updated_since": "2026-11-23T11:30:00+01:00"}, [("LAMP", "HAM")]),
        ],
    )
    def test_filters(
        self,
        erp: Caller,
        elsewhere: StockLevel,
        lamps: StockLevel,
        query: dict[str, str],
        found: list[tuple[str, str]],
    ) -> None:
        stock.keep_back(lamps, safety_stock=1, actor="ann", now=NOW + timedelta(hours=1))

        rows = erp.get("inventory/", **query).json()["results"]

        assert sorted((row["sku"], row["warehouse_code"]) for row in rows) == found

    def test_refuses_a_moment_that_is_none(self, erp: Caller) -> None:
        assert fields_at_fault(erp.get("inventory/", updated_since="x")) == ["updated_since"]

    def test_a_token_of_one_warehouse_sees_its_levels_alone(self, level: StockLevel, lamps: StockLevel) -> None:
        rows = Caller("inventory", warehouse="HAM").get("inventory/").json()["results"]

        assert [row["sku"] for row in rows] == ["LAMP"]

    def test_refuses_a_caller_without_the_scope(self, client: Client, catalogue: Caller) -> None:
        for path in ("inventory/", "inventory/warehouses/"):
            assert client.get(f"/api/v1/{path}").status_code == 401
            assert catalogue.get(path).status_code == 403
        for path in ("inventory/adjustments/", "inventory/sales/"):
            assert catalogue.post(path, {}).status_code == 403


DELTA: Body = {"sku": "MUG", "warehouse": "BER", "delta": -3, "reason": "damaged"}
COUNT: Body = {"sku": "MUG", "warehouse": "BER", "on_hand": 8, "expected_on_hand": 10, "reason": "recounted"}


class TestAdjustments:
    def test_adds_or_takes_off_units(self, erp: Caller, level: StockLevel, balance: Balance) -> None:
        answer = erp.post("inventory/adjustments/", DELTA)

        assert answer.status_code == 201
        assert (answer.json()["on_hand"], answer.json()["available"], answer.json()["version"]) == (7, 7, 2)
        assert balance(level) == (7, 0, 2)
        assert StockMovement.objects.latest("pk").actor == "ERP"

    def test_begins_a_level_where_there_is_none(self, erp: Caller, level: StockLevel, lamps: StockLevel) -> None:
        answer = erp.post("inventory/adjustments/", DELTA | {"warehouse": "HAM", "delta": 5, "reason": "received"})

        assert (answer.status_code, answer.json()["on_hand"]) == (201, 5)

    def test_sets_what_was_counted(self, erp: Caller, level: StockLevel, balance: Balance) -> None:
        assert erp.post("inventory/adjustments/", COUNT).status_code == 201
        assert balance(level) == (8, 0, 2)

    def test_refuses_a_stale_count(self, erp: Caller, level: StockLevel, balance: Balance) -> None:
        answer = erp.post("inventory/adjustments/", COUNT | {"expected_on_hand": 9})

        assert (answer.status_code, answer.json()["code"]) == (409, "stale_count")
        assert "holds 10 units now, not 9" in answer.json()["detail"]
        assert balance(level) == (10, 0, 1)

    def test_refuses_to_go_below_zero(self, erp: Caller, level: StockLevel, balance: Balance) -> None:
        answer = erp.post("inventory/adjustments/", DELTA | {"delta": -11})

        assert (answer.status_code, answer.json()["code"]) == (409, "insufficient_stock")
        assert answer.json()["errors"] == [{"sku": "MUG", "requested": 11, "available": 10}]
        assert balance(level) == (10, 0, 1)

    @pytest.mark.parametrize(
        ("body", "at_fault"),
        [
            (DELTA | {"delta": 0}, ["delta"]),
            (DELTA | {"delta": "many"}, ["delta"]),
            (DELTA | {"delta": 1.5}, ["delta"]),
            (DELTA | {"delta": None}, ["delta"]),
            (DELTA | {"delta": 10**10}, ["delta"]),
            (DELTA | {"delta": 10**400}, ["delta"]),
            (DELTA | {"reason": "shipped"}, ["reason"]),
            (DELTA | {"reason": ""}, ["reason"]),
            (DELTA | {"reason": ["damaged"]}, ["reason"]),
            (DELTA | {"sku": "NONE"}, ["sku"]),
            (DELTA | {"sku": {"a": 1}}, ["sku"]),
            (DELTA | {"sku": None}, ["sku"]),
            (DELTA | {"warehouse": "NONE"}, ["warehouse"]),
            (DELTA | {"warehouse": 7}, ["warehouse"]),
            (DELTA | {"on_hand": 1, "expected_on_hand": 1}, [None]),
            (DELTA | {"on_hand": 1}, [None]),
            (COUNT | {"on_hand": -1}, ["on_hand"]),
            (COUNT | {"expected_on_hand": "x"}, ["expected_on_hand"]),
            ({key: DELTA[key] for key in ("sku", "warehouse", "reason")}, [None]),
            ({key: COUNT[key] for key in ("sku", "warehouse", "reason", "on_hand")}, [None]),
            ({}, ["sku", "warehouse", "reason"]),
        ],
    )
    def test_refuses_what_makes_no_sense(
        self, erp: Caller, level: StockLevel, balance: Balance, body: Body, at_fault: list[str | None]
    ) -> None:
        assert fields_at_fault(erp.post("inventory/adjustments/", body)) == at_fault
        assert balance(level) == (10, 0, 1)

    def test_a_token_of_one_warehouse_reaches_no_other(
        self, level: StockLevel, lamps: StockLevel, balance: Balance
    ) -> None:
        answer = Caller("inventory", warehouse="HAM").post("inventory/adjustments/", DELTA)

        assert fields_at_fault(answer) == ["warehouse"]
        assert balance(level) == (10, 0, 1)


SALE: Body = {"warehouse": "BER", "reference": "T1-0042", "lines": [{"sku": "MUG", "quantity": 2}]}


class TestSales:
    def test_takes_what_was_sold(self, erp: Caller, level: StockLevel, balance: Balance) -> None:
        answer = erp.post("inventory/sales/", SALE)

        assert answer.status_code == 201
        assert (answer.json()["warehouse"], answer.json()["reference"]) == ("BER", "T1-0042")
        assert [(row["sku"], row["on_hand"]) for row in answer.json()["levels"]] == [("MUG", 8)]
        assert balance(level) == (8, 0, 2)

    def test_the_same_sale_again_is_one_sale(self, erp: Caller, level: StockLevel, balance: Balance) -> None:
        first = erp.post("inventory/sales/", SALE)

        again = erp.post("inventory/sales/", SALE)

        assert (again.status_code, again.json()) == (201, first.json())
        assert balance(level) == (8, 0, 2)

    @pytest.mark.parametrize(("channel", "left"), [("", 0), ("web", 0), ("marketplace", 0), ("erp", 0), ("pos", 8)])
    def test_the_safety_stock_is_kept_back_from_all_but_tills(
        self, level: StockLevel, balance: Balance, channel: str, left: int
    ) -> None:
        stock.keep_back(level, safety_stock=9, actor="ann", now=NOW)

        answer = Caller("inventory", channel=channel).post("inventory/sales/", SALE)

        if left:
            assert (answer.status_code, balance(level)[0]) == (201, left)
            assert Sale.objects.get().channel == channel
        else:
            assert (answer.status_code, answer.json()["errors"][0]["available"]) == (409, 1)
            assert balance(level)[0] == 10

    def test_refuses_a_reference_of_another_sale(self, erp: Caller, level: StockLevel, balance: Balance) -> None:
        erp.post("inventory/sales/", SALE)

        answer = erp.post("inventory/sales/", SALE | {"lines": [{"sku": "MUG", "quantity": 3}]})

        assert (answer.status_code, answer.json()["code"]) == (409, "reference_reused")
        assert balance(level) == (8, 0, 2)

    def test_refuses_all_for_one(self, erp: Caller, level: StockLevel, lamps: StockLevel, balance: Balance) -> None:
        lines = [{"sku": "MUG", "quantity": 2}, {"sku": "LAMP", "quantity": 1}]

        answer = erp.post("inventory/sales/", SALE | {"lines": lines})

        assert (answer.status_code, answer.json()["code"]) == (409, "insufficient_stock")
        assert answer.json()["errors"] == [{"sku": "LAMP", "requested": 1, "available": 0}]
        assert balance(level) == (10, 0, 1)
        assert not Sale.objects.exists()

    @pytest.mark.parametrize(
        ("wrong", "at_fault"),
        [
            ({"lines": []}, ["lines"]),
            ({"lines": "MUG"}, ["lines"]),
            ({"lines": [{"sku": "MUG", "quantity": 0}]}, ["lines.0.quantity"]),
            ({"lines": [{"sku": "MUG", "quantity": -2}]}, ["lines.0.quantity"]),
            ({"lines": [{"sku": "NONE", "quantity": 1}]}, ["lines.0.sku"]),
            ({"lines": [{"sku": "MUG", "quantity": 1}, {}]}, ["lines.1.sku", "lines.1.quantity"]),
            ({"lines": [{"sku": "MUG", "quantity": 1}] * 101}, ["lines"]),
            ({"reference": ""}, ["reference"]),
            ({"reference": "x" * 101}, ["reference"]),
            ({"reference": None}, ["reference"]),
            ({"warehouse": "NONE"}, ["warehouse"]),
        ],
    )
    def test_refuses_what_is_no_sale(
        self, erp: Caller, level: StockLevel, balance: Balance, wrong: Body, at_fault: list[str]
    ) -> None:
        assert fields_at_fault(erp.post("inventory/sales/", SALE | wrong)) == at_fault
        assert balance(level) == (10, 0, 1)
