from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from django.db import transaction

from inventory import events, stock
from inventory.models import Product, StockLevel, Warehouse
from inventory.stock import Demand
from tests.factories import make_product
from webhooks.catalogue import EventType
from webhooks.models import Event
from webhooks.outbox import rfc3339

pytestmark = pytest.mark.django_db

Latest = Callable[[str], dict[str, Any]]


def told(event_type: str) -> int:
    return Event.objects.filter(type=event_type).count()


@pytest.mark.parametrize("event_type", [events.INVENTORY_UPDATED, events.PRODUCT_CREATED, events.PRODUCT_UPDATED])
def test_an_example_has_every_field_of_the_event_in_its_order_or_another(event_type: EventType) -> None:
    assert set(event_type.example) == set(event_type.serializer().fields)


class TestInventoryUpdated:
    def test_says_what_moved_and_what_is_left(
        self, level: StockLevel, elsewhere: StockLevel, latest: Latest, now: datetime
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

    def test_says_when_nothing_is_left_anywhere(self, level: StockLevel, latest: Latest, now: datetime) -> None:
        stock.reserve([Demand(level.pk, 10)], reference="ord_1", actor="ann", now=now)

        data = latest("inventory.updated")["data"]
        assert (data["available"], data["total_available"], data["is_in_stock"]) == (0, 0, False)

    def test_has_null_where_there_is_no_reference(self, level: StockLevel, latest: Latest) -> None:
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


class TestProductEvents:
    def test_a_new_product_is_told(self, latest: Latest) -> None:
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

    def test_a_change_is_told_with_what_changed_by_its_public_name(self, latest: Latest) -> None:
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
    level: StockLevel, elsewhere: StockLevel, latest: Latest, now: datetime
) -> None:
    Warehouse.objects.filter(code="HAM").update(is_active=False)

    stock.reserve([Demand(level.pk, 10)], reference="o", actor="ann", now=now)

    data = latest("inventory.updated")["data"]
    assert (data["total_available"], data["is_in_stock"]) == (0, False)
