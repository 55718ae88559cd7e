import time
from datetime import datetime
from threading import Thread
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from inventory import events, stock
from inventory.models import Product, StockLevel, Warehouse
from inventory.stock import Demand
from tests.factories import make_product
from tests.marks import only_on
from tests.told import DataOf
from webhooks.catalogue import EventType
from webhooks.models import Event, EventSequence
from webhooks.outbox import rfc3339

pytestmark = pytest.mark.django_db


def told(event_type: str) -> int:
    return Event.objects.filter(type=event_type).count()


@pytest.mark.parametrize(
    "event_type",
    [
        events.INVENTORY_UPDATED,
        events.INVENTORY_LOW,
        events.INVENTORY_OUT_OF_STOCK,
        events.INVENTORY_BACK_IN_STOCK,
        events.PRODUCT_CREATED,
        events.PRODUCT_UPDATED,
    ],
)
def test_an_example_has_every_field_of_the_event_in_its_order_or_another(event_type: EventType) -> None:
    assert set(event_type.example) == set(event_type.serializer().fields)


class TestInventoryUpdated:
    def test_says_what_moved_and_what_is_left(
        self, level: StockLevel, elsewhere: StockLevel, latest: DataOf, now: datetime
    ) -> None:
        stock.reserve([Demand(level.pk, 4)], reference="ord_1", actor="ann", now=now)

        body = latest("inventory.updated")

        assert body["subject"] == f"{level.product.public_id}:BER"
        assert body["timestamp"] == rfc3339(now)
        assert body["data"] == {
            "product_id": level.product.public_id,
            "sku": "MUG",
            "warehouse_code": "BER",
            "on_hand": 10,
            "reserved": 4,
            "available": 6,
            "on_hand_delta": 0,
            "available_delta": -4,
            "total_available": 9,
            "is_in_stock": True,
            "reason": "reserved",
            "reference_id": "ord_1",
            "version": 2,
            "changed_at": "2026-11-23T10:00:00.000000Z",
        }

    def test_has_a_sequence_of_its_own_for_each_product_and_warehouse(
        self, level: StockLevel, elsewhere: StockLevel, now: datetime
    ) -> None:
        stock.reserve([Demand(level.pk, 1), Demand(elsewhere.pk, 1)], reference="ord_1", actor="ann", now=now)

        found = Event.objects.filter(type="inventory.updated").order_by("subject", "sequence")
        product = level.product.public_id
        assert list(found.values_list("subject", "sequence")) == [
            (f"{product}:BER", 1),
            (f"{product}:BER", 2),
            (f"{product}:HAM", 1),
            (f"{product}:HAM", 2),
        ]

    def test_says_when_nothing_is_left_anywhere(self, level: StockLevel, latest: DataOf, now: datetime) -> None:
        stock.reserve([Demand(level.pk, 10)], reference="ord_1", actor="ann", now=now)

        data = latest("inventory.updated")["data"]
        assert (data["available"], data["total_available"], data["is_in_stock"]) == (0, 0, False)

    def test_has_null_where_there_is_no_reference(self, level: StockLevel, latest: DataOf) -> None:
        assert latest("inventory.updated")["data"]["reference_id"] is None

    def test_every_verb_tells_once(self, level: StockLevel, now: datetime) -> None:
        by: dict[str, Any] = {"actor": "ann", "now": now}
        place: dict[str, Any] = {"product": level.product, "warehouse": level.warehouse}
        before = told("inventory.updated")

        stock.reserve([Demand(level.pk, 3)], reference="o", **by)
        stock.release([Demand(level.pk, 1)], reference="o", **by)
        stock.issue([Demand(level.pk, 2)], reference="o", **by)
        stock.adjust(**place, delta=1, reason="received", **by)
        stock.count(**place, on_hand=9, expected_on_hand=9, reason="recounted", **by)
        stock.sell(warehouse=level.warehouse, lines=[(level.product, 1)], reference="T1", **by)
        stock.keep_back(level, safety_stock=2, **by)

        assert told("inventory.updated") - before == 7

    def test_nothing_is_told_of_what_is_rolled_back(self, level: StockLevel, now: datetime) -> None:
        before = told("inventory.updated")

        with transaction.atomic():
            stock.reserve([Demand(level.pk, 3)], reference="o", actor="ann", now=now)
            transaction.set_rollback(True)

        assert told("inventory.updated") == before


class TestInventoryLow:
    @pytest.fixture
    def watched(self, level: StockLevel) -> StockLevel:
        """Low at five of its ten."""
        level.low_stock_threshold = 5
        level.save(update_fields=["low_stock_threshold"])
        return level

    def test_tells_the_buyer_that_a_level_fell_to_its_threshold(
        self, watched: StockLevel, elsewhere: StockLevel, latest: DataOf, now: datetime
    ) -> None:
        stock.reserve([Demand(watched.pk, 5)], reference="ord_1", actor="ann", now=now)

        body = latest("inventory.low")

        assert (body["subject"], body["timestamp"]) == (f"{watched.product.public_id}:BER", rfc3339(now))
        assert body["data"] == {
            "product_id": watched.product.public_id,
            "sku": "MUG",
            "warehouse_code": "BER",
            "on_hand": 10,
            "reserved": 5,
            "available": 5,
            "previous_available": 10,
            "low_stock_threshold": 5,
            "reason": "reserved",
            "reference_id": "ord_1",
            "version": 2,
            "changed_at": "2026-11-23T10:00:00.000000Z",
        }

    def test_is_told_once_until_it_was_above_again(self, watched: StockLevel, now: datetime) -> None:
        by: dict[str, Any] = {"reference": "o", "actor": "ann", "now": now}

        stock.reserve([Demand(watched.pk, 4)], **by)
        assert told("inventory.low") == 0
        stock.reserve([Demand(watched.pk, 2)], **by)
        stock.reserve([Demand(watched.pk, 2)], **by)
        stock.release([Demand(watched.pk, 1)], **by)
        assert told("inventory.low") == 1

        stock.release([Demand(watched.pk, 6)], **by)
        stock.reserve([Demand(watched.pk, 6)], **by)
        assert told("inventory.low") == 2

    def test_is_told_of_what_is_newly_kept_back(self, watched: StockLevel, now: datetime) -> None:
        stock.keep_back(watched, safety_stock=5, actor="ann", now=now)

        assert told("inventory.low") == 1

    def test_is_never_told_without_a_threshold(self, level: StockLevel, now: datetime) -> None:
        stock.reserve([Demand(level.pk, 10)], reference="o", actor="ann", now=now)

        assert told("inventory.low") == 0


OUT, BACK = "inventory.out_of_stock", "inventory.back_in_stock"


# Where transactions are real, as what is undone within one is not told.
@pytest.mark.django_db(transaction=True)
class TestInAndOutOfStock:
    """Of the product, whose ten are in Berlin and three in Hamburg."""

    @pytest.fixture(autouse=True)
    def told_before(self, level: StockLevel, elsewhere: StockLevel) -> None:
        Event.objects.filter(type=BACK).delete()

    def test_tells_that_the_last_unit_is_gone_from_all_warehouses(
        self, level: StockLevel, elsewhere: StockLevel, latest: DataOf, now: datetime
    ) -> None:
        stock.reserve([Demand(level.pk, 10)], reference="ord_1", actor="ann", now=now)
        assert told(OUT) == 0

        stock.reserve([Demand(elsewhere.pk, 3)], reference="ord_2", actor="ann", now=now)

        body = latest(OUT)
        assert body["subject"] == f"{level.product.public_id}:*"
        assert body["data"] == {
            "product_id": level.product.public_id,
            "sku": "MUG",
            "warehouse_code": "HAM",
            "total_available": 0,
            "previous_total_available": 3,
            "reason": "reserved",
            "reference_id": "ord_2",
            "changed_at": "2026-11-23T10:00:00.000000Z",
        }

    def test_tells_that_some_can_be_sold_again(
        self, level: StockLevel, elsewhere: StockLevel, latest: DataOf, now: datetime
    ) -> None:
        all_of_it = [Demand(level.pk, 10), Demand(elsewhere.pk, 3)]
        stock.reserve(all_of_it, reference="ord_1", actor="ann", now=now)

        stock.release([Demand(level.pk, 2)], reference="ord_1", actor="ann", now=now)
        stock.release([Demand(elsewhere.pk, 3)], reference="ord_1", actor="ann", now=now)

        assert (told(OUT), told(BACK)) == (1, 1)
        data = latest(BACK)["data"]
        assert (data["warehouse_code"], data["previous_total_available"], data["total_available"]) == ("BER", 0, 2)

    def test_an_order_from_several_warehouses_is_told_once(
        self, level: StockLevel, elsewhere: StockLevel, latest: DataOf, now: datetime
    ) -> None:
        all_of_it = [Demand(level.pk, 10), Demand(elsewhere.pk, 3)]

        stock.reserve(all_of_it, reference="ord_1", actor="ann", now=now)
        assert told(OUT) == 1
        stock.release(all_of_it, reference="ord_1", actor="ann", now=now)

        assert (told(OUT), told(BACK)) == (1, 1)

    def test_the_first_stock_of_a_product_is_told(self, latest: DataOf) -> None:
        lamp = make_product("LAMP", on_hand=4)

        assert (latest(BACK)["subject"], latest(BACK)["sequence"]) == (f"{lamp.public_id}:*", 1)

    def test_what_came_and_went_within_a_transaction_is_not_told(
        self, level: StockLevel, elsewhere: StockLevel, now: datetime
    ) -> None:
        by: dict[str, Any] = {"reference": "o", "actor": "ann", "now": now}
        stock.reserve([Demand(level.pk, 10), Demand(elsewhere.pk, 3)], **by)
        last = EventSequence.objects.get(subject__endswith=":*").last

        with transaction.atomic():
            stock.release([Demand(level.pk, 10)], **by)
            stock.reserve([Demand(level.pk, 10)], **by)

        assert (told(OUT), told(BACK)) == (1, 0)
        assert EventSequence.objects.get(subject__endswith=":*").last == last

    def test_stock_in_a_closed_warehouse_keeps_no_product_in_stock(
        self, level: StockLevel, elsewhere: StockLevel, now: datetime
    ) -> None:
        Warehouse.objects.filter(code="HAM").update(is_active=False)
        by: dict[str, Any] = {"reference": "o", "actor": "ann", "now": now}

        stock.reserve([Demand(level.pk, 10)], **by)
        stock.reserve([Demand(elsewhere.pk, 3)], **by)
        stock.release([Demand(elsewhere.pk, 3)], **by)

        assert (told(OUT), told(BACK)) == (1, 0)

    def test_shipping_what_was_held_is_no_change(self, level: StockLevel, elsewhere: StockLevel, now: datetime) -> None:
        all_of_it = [Demand(level.pk, 10), Demand(elsewhere.pk, 3)]
        stock.reserve(all_of_it, reference="o", actor="ann", now=now)

        stock.issue(all_of_it, reference="o", actor="ann", now=now)

        assert (told(OUT), told(BACK)) == (1, 0)

    def test_costs_two_statements_and_only_where_a_level_ran_empty(self, level: StockLevel, now: datetime) -> None:
        def statements(quantity: int) -> int:
            with CaptureQueriesContext(connection) as captured:
                stock.reserve([Demand(level.pk, quantity)], reference="o", actor="ann", now=now)
            return len(captured)

        plain = statements(1)

        assert statements(9) - plain == 2
        assert told(OUT) == 0


@pytest.mark.django_db(transaction=True)
@only_on("postgresql", because="SQLite lets one transaction write at a time.")
class TestTwoWarehousesEmptiedAtOnce:
    def test_are_told_once_as_out_of_stock(self, level: StockLevel, elsewhere: StockLevel, now: datetime) -> None:
        """Neither sees what the other takes before that is committed."""

        def empty_the_other() -> None:
            stock.reserve([Demand(elsewhere.pk, 3)], reference="ord_2", actor="ann", now=now)
            connection.close()

        other = Thread(target=empty_the_other)
        with transaction.atomic():
            stock.reserve([Demand(level.pk, 10)], reference="ord_1", actor="ann", now=now)
            other.start()
            await_a_waiting_transaction()
        other.join()

        assert told(OUT) == 1


def await_a_waiting_transaction() -> None:
    ends = time.monotonic() + 10
    while time.monotonic() < ends:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            if cursor.fetchone()[0]:
                return
        time.sleep(0.01)
    raise TimeoutError("No transaction waits for another.")


class TestProductEvents:
    def test_a_new_product_is_told(self, latest: DataOf) -> None:
        product = make_product("MUG", weight_grams=350)

        body = latest("product.created")

        assert (body["subject"], body["sequence"]) == (product.public_id, 1)
        assert body["data"].pop("created_at")
        assert body["data"] == {
            "product_id": product.public_id,
            "sku": "MUG",
            "name": "Mug",
            "price_amount": "24.95",
            "currency": "EUR",
            "is_active": True,
            "weight_grams": 350,
            "version": 1,
        }

    def test_a_change_is_told_with_what_changed_by_its_public_name(self, latest: DataOf) -> None:
        make_product("MUG")
        product = Product.objects.get()
        product.price_minor, product.name = 2000, "Cup"

        product.save()

        data = latest("product.updated")["data"]
        assert data["changed_fields"] == ["name", "price_amount"]
        assert (data["name"], data["price_amount"], data["weight_grams"], data["version"]) == ("Cup", "20.00", None, 2)

    def test_a_save_that_changes_nothing_is_not_told(self) -> None:
        make_product("MUG")

        Product.objects.get().save()

        assert told("product.updated") == 0

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("sku", "CUP"),
            ("name", "Cup"),
            ("price_minor", 1),
            ("currency", "USD"),
            ("is_active", False),
            ("weight_grams", 7),
        ],
    )
    def test_every_field_that_shows_is_watched(self, field: str, value: object) -> None:
        make_product("MUG")
        product = Product.objects.get()
        setattr(product, field, value)

        product.save()

        assert told("product.updated") == 1


def test_a_closed_warehouse_does_not_count_as_in_stock(
    level: StockLevel, elsewhere: StockLevel, latest: DataOf, now: datetime
) -> None:
    Warehouse.objects.filter(code="HAM").update(is_active=False)

    stock.reserve([Demand(level.pk, 10)], reference="o", actor="ann", now=now)

    data = latest("inventory.updated")["data"]
    assert (data["total_available"], data["is_in_stock"]) == (0, False)
