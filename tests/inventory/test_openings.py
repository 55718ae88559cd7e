"""A warehouse that opens or closes: what lies there is for sale, or is not, and each product that turns is told."""

from datetime import datetime, timedelta
from threading import Thread
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from commerce.audit import audit
from inventory import stock
from inventory.models import Product, StockLevel, StockMovement, Warehouse
from inventory.openings import open_or_close
from inventory.stock import Demand
from tests.factories import add_stock, make_product
from tests.inventory.test_events import BACK, OUT, await_a_waiting_transaction, told
from tests.marks import only_on
from tests.told import DataOf
from webhooks.models import Event

# Where transactions are real, as what is undone within one is not told.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def hamburg(elsewhere: StockLevel, lamps: StockLevel) -> Warehouse:
    """Has lamps, which nobody else has, and mugs, of which there are more in Berlin."""
    Event.objects.all().delete()
    return lamps.warehouse


def turn(warehouse: Warehouse, *, is_active: bool, now: datetime) -> list[StockMovement]:
    return open_or_close(warehouse, is_active=is_active, actor="ann", now=now)


class TestClosing:
    def test_tells_each_product_that_cannot_be_sold_any_more(
        self, hamburg: Warehouse, lamps: StockLevel, latest: DataOf, now: datetime
    ) -> None:
        turn(hamburg, is_active=False, now=now)

        assert Warehouse.objects.get(code="HAM").is_active is False
        assert (told(OUT), told(BACK), told("inventory.updated")) == (1, 0, 1)
        assert latest(OUT)["data"] == {
            "product_id": lamps.product.public_id,
            "sku": "LAMP",
            "warehouse_code": "HAM",
            "total_available": 0,
            "previous_total_available": 4,
            "reason": "warehouse_closed",
            "reference_id": "HAM",
            "changed_at": "2026-11-23T10:00:00.000000Z",
        }
        data = latest("inventory.updated")["data"]
        assert (data["sku"], data["on_hand"], data["total_available"], data["is_in_stock"]) == ("LAMP", 4, 0, False)
        product: Any = Product.objects.with_available(now).get(sku="LAMP")
        assert product.available == 0

    def test_leaves_the_books_in_order(self, lamps: StockLevel, now: datetime) -> None:
        turn(lamps.warehouse, is_active=False, now=now)
        turn(lamps.warehouse, is_active=True, now=now)

        assert StockMovement.objects.filter(level=lamps).count() == 3
        assert audit(now=timezone.now() + timedelta(hours=1)).findings == []

    def test_of_one_that_is_closed_tells_nothing(self, hamburg: Warehouse, now: datetime) -> None:
        turn(hamburg, is_active=False, now=now)

        assert turn(hamburg, is_active=False, now=now) == []
        assert told(OUT) == 1

    def test_of_the_second_of_two_tells_the_rest(self, hamburg: Warehouse, latest: DataOf, now: datetime) -> None:
        turn(hamburg, is_active=False, now=now)

        turn(Warehouse.objects.get(code="BER"), is_active=False, now=now)

        assert told(OUT) == 2
        assert (latest(OUT)["data"]["sku"], latest(OUT)["data"]["previous_total_available"]) == ("MUG", 10)

    def test_does_not_tell_again_what_was_out_of_stock(
        self, hamburg: Warehouse, lamps: StockLevel, now: datetime
    ) -> None:
        stock.reserve([Demand(lamps.pk, 4)], reference="o", actor="ann", now=now)
        assert told(OUT) == 1

        turn(hamburg, is_active=False, now=now)

        assert told(OUT) == 1

    def test_and_opening_in_one_transaction_is_not_told(self, hamburg: Warehouse, now: datetime) -> None:
        with transaction.atomic():
            turn(hamburg, is_active=False, now=now)
            turn(hamburg, is_active=True, now=now)

        assert (told(OUT), told(BACK)) == (0, 0)


class TestOpening:
    def test_tells_each_product_that_can_be_sold_again(self, hamburg: Warehouse, latest: DataOf, now: datetime) -> None:
        turn(hamburg, is_active=False, now=now)

        turn(hamburg, is_active=True, now=now)

        assert (told(OUT), told(BACK)) == (1, 1)
        data = latest(BACK)["data"]
        assert (data["sku"], data["previous_total_available"], data["total_available"]) == ("LAMP", 0, 4)
        assert data["reason"] == "warehouse_opened"

    def test_tells_what_came_while_it_was_closed(
        self, hamburg: Warehouse, level: StockLevel, latest: DataOf, now: datetime
    ) -> None:
        turn(hamburg, is_active=False, now=now)
        make_product("PAN", on_hand=0)
        add_stock(Product.objects.get(sku="PAN"), on_hand=7, warehouse="HAM")
        assert told(BACK) == 0

        turn(hamburg, is_active=True, now=now)

        subjects = Event.objects.filter(type=BACK).values_list("label", flat=True)
        assert sorted(subjects) == ["LAMP", "PAN"]


@only_on("postgresql", because="SQLite lets one transaction write at a time.")
class TestAtOnce:
    def test_the_last_unit_elsewhere_and_a_closing_are_told_once(
        self, hamburg: Warehouse, level: StockLevel, now: datetime
    ) -> None:
        """Neither sees what the other takes before that is committed."""

        def sell_out() -> None:
            stock.reserve([Demand(level.pk, 10)], reference="o", actor="ann", now=now)
            connection.close()

        other = Thread(target=sell_out)
        with transaction.atomic():
            turn(hamburg, is_active=False, now=now)
            other.start()
            await_a_waiting_transaction()
        other.join()

        mugs = Event.objects.filter(type=OUT, label="MUG")
        assert mugs.count() == 1

    def test_a_first_delivery_waits_for_the_warehouse_to_close(self, hamburg: Warehouse, now: datetime) -> None:
        pan = make_product("PAN", on_hand=0)

        def receive() -> None:
            add_stock(pan, on_hand=7, warehouse="HAM")
            connection.close()

        other = Thread(target=receive)
        with transaction.atomic():
            turn(hamburg, is_active=False, now=now)
            other.start()
            await_a_waiting_transaction()
        other.join()

        assert not Event.objects.filter(type=BACK, label="PAN").exists()
