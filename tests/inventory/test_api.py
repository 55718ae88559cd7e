from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from rest_framework.validators import UniqueValidator

from inventory import stock
from inventory.models import Product, StockLevel, Warehouse
from inventory.stock import Demand
from tests.caller import Caller, fields_at_fault
from tests.factories import NOW, make_product
from webhooks.models import Event

pytestmark = pytest.mark.django_db

Body = dict[str, Any]


class TestReadingProducts:
    def test_anybody_sees_what_is_for_sale(self, client: Client, level: StockLevel, elsewhere: StockLevel) -> None:
        answer = client.get("/api/v1/products/MUG/")

        product = level.product
        assert answer.status_code == 200
        assert answer.json() == {
            "product_id": product.public_id,
            "sku": "MUG",
            "name": "Mug",
            "price_amount": "24.95",
            "currency": "EUR",
            "is_active": True,
            "weight_grams": None,
            "version": 1,
            "available": 13,
            "is_in_stock": True,
            "updated_at": product.updated_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }

    def test_says_when_there_is_none_left(self, client: Client, level: StockLevel) -> None:
        stock.reserve([Demand(level.pk, 10)], reference="o", actor="ann", now=NOW)

        answer = client.get("/api/v1/products/MUG/").json()

        assert (answer["available"], answer["is_in_stock"]) == (0, False)

    def test_lists_the_newest_first(self, client: Client, level: StockLevel, lamps: StockLevel) -> None:
        page = client.get("/api/v1/products/").json()

        assert [product["sku"] for product in page["results"]] == ["LAMP", "MUG"]
        assert (page["next"], page["previous"]) == (None, None)

    def test_hides_what_is_not_for_sale(self, client: Client, level: StockLevel) -> None:
        Product.objects.update(is_active=False)

        assert client.get("/api/v1/products/MUG/").status_code == 404
        assert client.get("/api/v1/products/").json()["results"] == []

    @pytest.mark.parametrize("sku", ["NONE", "mug", "%20", "%F0%9F%98%80", "x" * 500])
    def test_answers_not_found_for_any_other_sku(self, client: Client, level: StockLevel, sku: str) -> None:
        answer = client.get(f"/api/v1/products/{sku}/")

        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")

    def test_finds_what_changed_since(self, client: Client, level: StockLevel, lamps: StockLevel) -> None:
        since = level.product.updated_at + timedelta(hours=1)
        Product.objects.filter(sku="LAMP").update(updated_at=since)

        page = client.get("/api/v1/products/", {"updated_since": since.isoformat()}).json()

        assert [product["sku"] for product in page["results"]] == ["LAMP"]

    @pytest.mark.parametrize("since", ["yesterday", "2026-13-01", "5", "0000-00-00T00:00:00Z"])
    def test_refuses_a_moment_that_is_none(self, client: Client, level: StockLevel, since: str) -> None:
        assert fields_at_fault(client.get("/api/v1/products/", {"updated_since": since})) == ["updated_since"]

    def test_takes_one_query_however_many_there_are(
        self, client: Client, level: StockLevel, lamps: StockLevel, django_assert_num_queries: Any
    ) -> None:
        with django_assert_num_queries(1):
            client.get("/api/v1/products/")


PRODUCT: Body = {"sku": "CUP", "name": "Cup", "price_amount": "12.50", "currency": "EUR", "weight_grams": 300}


class TestAddingProducts:
    def test_adds_one_and_answers_with_its_public_shape(self, catalogue: Caller) -> None:
        answer = catalogue.post("products/", PRODUCT)

        assert answer.status_code == 201
        product = Product.objects.get()
        assert (product.sku, product.price_minor, product.weight_grams, product.is_active) == ("CUP", 1250, 300, True)
        assert answer.json() | PRODUCT == answer.json()
        assert (answer.json()["product_id"], answer.json()["available"]) == (product.public_id, 0)
        assert list(Event.objects.values_list("type", flat=True)) == ["product.created"]

    @pytest.mark.parametrize(
        ("wrong", "at_fault"),
        [
            ({"sku": None}, ["sku"]),
            ({"sku": ""}, ["sku"]),
            ({"sku": "a b"}, ["sku"]),
            ({"sku": "x" * 65}, ["sku"]),
            ({"sku": ["CUP"]}, ["sku"]),
            ({"name": ""}, ["name"]),
            ({"name": "x" * 201}, ["name"]),
            ({"price_amount": 12.5}, ["price_amount"]),
            ({"price_amount": "12.505"}, ["price_amount"]),
            ({"price_amount": "-1"}, ["price_amount"]),
            ({"price_amount": "9" * 400}, ["price_amount"]),
            ({"currency": "eur"}, ["currency"]),
            ({"currency": "XXX"}, ["currency"]),
            ({"currency": "JPY"}, ["price_amount"]),
            ({"currency": {}}, ["currency"]),
            ({"weight_grams": -1}, ["weight_grams"]),
            ({"weight_grams": 1.5}, ["weight_grams"]),
            ({"weight_grams": 2**31}, ["weight_grams"]),
            ({"weight_grams": 10**30}, ["weight_grams"]),
            ({"is_active": "perhaps"}, ["is_active"]),
        ],
    )
    def test_refuses_what_is_no_product(self, catalogue: Caller, wrong: Body, at_fault: list[str]) -> None:
        assert fields_at_fault(catalogue.post("products/", PRODUCT | wrong)) == at_fault
        assert not Product.objects.exists()

    @pytest.mark.parametrize("missing", ["sku", "name", "price_amount", "currency"])
    def test_refuses_one_without_what_it_needs(self, catalogue: Caller, missing: str) -> None:
        body = {name: value for name, value in PRODUCT.items() if name != missing}

        assert fields_at_fault(catalogue.post("products/", body)) == [missing]

    @pytest.mark.parametrize("body", [[], [PRODUCT], "CUP", 5, None])
    def test_refuses_a_body_that_is_no_object(self, catalogue: Caller, body: object) -> None:
        assert catalogue.post("products/", body).status_code == 400

    def test_refuses_a_sku_that_is_taken(self, catalogue: Caller) -> None:
        catalogue.post("products/", PRODUCT)

        assert fields_at_fault(catalogue.post("products/", PRODUCT)) == ["sku"]

    def test_refuses_a_sku_that_was_taken_a_moment_after_it_was_checked(
        self, catalogue: Caller, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        catalogue.post("products/", PRODUCT)
        look, too_early = UniqueValidator.__call__, iter([True])

        def check(validator: UniqueValidator, value: str, field: Any) -> None:
            if not next(too_early, False):
                look(validator, value, field)

        monkeypatch.setattr(UniqueValidator, "__call__", check)

        answer = catalogue.post("products/", PRODUCT)

        assert fields_at_fault(answer) == ["sku"]
        assert Product.objects.count() == 1

    def test_refuses_a_caller_without_the_scope(self, client: Client, erp: Caller) -> None:
        assert erp.post("products/", PRODUCT).status_code == 403
        assert client.post("/api/v1/products/", PRODUCT, content_type="application/json").status_code == 401
        assert not Product.objects.exists()


class TestChangingProducts:
    def test_changes_what_is_given_and_tells_it(
        self, catalogue: Caller, level: StockLevel, latest: Callable[[str], Body]
    ) -> None:
        answer = catalogue.patch("products/MUG/", {"price_amount": "19.00", "is_active": False})

        assert answer.status_code == 200
        assert (answer.json()["price_amount"], answer.json()["is_active"], answer.json()["version"]) == (
            "19.00",
            False,
            2,
        )
        assert answer.json()["available"] == 10
        assert latest("product.updated")["data"]["changed_fields"] == ["price_amount", "is_active"]

    def test_reads_a_price_in_the_currency_the_product_has(self, catalogue: Caller) -> None:
        make_product("SAKE", price_minor=4000, currency="JPY")

        assert fields_at_fault(catalogue.patch("products/SAKE/", {"price_amount": "40.50"})) == ["price_amount"]

        catalogue.patch("products/SAKE/", {"price_amount": "4100"})
        assert Product.objects.get().price_minor == 4100

    def test_refuses_a_new_currency_without_a_new_price(self, catalogue: Caller, level: StockLevel) -> None:
        assert fields_at_fault(catalogue.patch("products/MUG/", {"currency": "JPY"})) == ["price_amount"]
        assert Product.objects.get().currency == "EUR"

    def test_tells_nothing_of_a_change_that_changes_nothing(self, catalogue: Caller, level: StockLevel) -> None:
        answer = catalogue.patch("products/MUG/", {"name": "Mug"})

        assert (answer.status_code, answer.json()["version"]) == (200, 1)
        assert not Event.objects.filter(type="product.updated").exists()

    def test_answers_not_found_for_another_sku(self, catalogue: Caller) -> None:
        assert catalogue.patch("products/NONE/", {"name": "Mug"}).status_code == 404

    def test_knows_no_other_way_to_change_one(self, catalogue: Caller, level: StockLevel) -> None:
        assert catalogue.client.put("/api/v1/products/MUG/", PRODUCT).status_code == 405
        assert catalogue.client.delete("/api/v1/products/MUG/").status_code == 405


WAREHOUSE: Body = {"code": "MUC", "name": "Munich", "country": "DE"}


class TestWarehouses:
    def test_adds_one(self, erp: Caller) -> None:
        answer = erp.post("inventory/warehouses/", WAREHOUSE | {"priority": 3, "ships_to": ["DE", "AT"]})

        assert answer.status_code == 201
        assert answer.json() == WAREHOUSE | {
            "priority": 3,
            "handling_days": 1,
            "cutoff": "14:00:00",
            "time_zone": "UTC",
            "transit_days": {},
            "ships_to": ["DE", "AT"],
            "is_active": True,
        }
        assert Warehouse.objects.get().ships_to == ["DE", "AT"]

    @pytest.mark.parametrize(
        ("wrong", "at_fault"),
        [
            ({"code": "a b"}, ["code"]),
            ({"code": ""}, ["code"]),
            ({"country": "Germany"}, ["country"]),
            ({"country": "de"}, ["country"]),
            ({"priority": -1}, ["priority"]),
            ({"priority": 10**9}, ["priority"]),
            ({"handling_days": 366}, ["handling_days"]),
            ({"cutoff": "25:00"}, ["cutoff"]),
            ({"time_zone": "Europe/Atlantis"}, ["time_zone"]),
            ({"time_zone": "../../etc/passwd"}, ["time_zone"]),
            ({"time_zone": ""}, ["time_zone"]),
            ({"ships_to": "DE"}, ["ships_to"]),
            ({"ships_to": ["DE", "xx"]}, ["ships_to.1"]),
            ({"transit_days": [2, 4]}, ["transit_days"]),
            ({"transit_days": {"Austria": [2, 4]}}, ["transit_days"]),
            ({"transit_days": {"AT": [4, 2]}}, ["transit_days"]),
            ({"transit_days": {"AT": [2]}}, ["transit_days.AT"]),
            ({"transit_days": {"AT": [2, 366]}}, ["transit_days.AT.1"]),
            ({"transit_days": {"AT": [True, 2]}}, ["transit_days.AT.0"]),
        ],
    )
    def test_refuses_what_is_none(self, erp: Caller, wrong: Body, at_fault: list[str]) -> None:
        assert fields_at_fault(erp.post("inventory/warehouses/", WAREHOUSE | wrong)) == at_fault
        assert not Warehouse.objects.exists()

    def test_refuses_a_code_that_is_taken(self, erp: Caller) -> None:
        erp.post("inventory/warehouses/", WAREHOUSE)

        assert fields_at_fault(erp.post("inventory/warehouses/", WAREHOUSE)) == ["code"]

    def test_a_token_of_one_warehouse_sees_it_alone_and_adds_none(self, level: StockLevel, lamps: StockLevel) -> None:
        hamburg = Caller("inventory", warehouse="HAM")

        assert [row["code"] for row in hamburg.get("inventory/warehouses/").json()["results"]] == ["HAM"]
        assert hamburg.post("inventory/warehouses/", WAREHOUSE).status_code == 403
        assert hamburg.get("inventory/warehouses/HAM/").json()["code"] == "HAM"
        assert hamburg.get("inventory/warehouses/BER/").status_code == 404
        for code in ("HAM", "BER"):
            assert hamburg.patch(f"inventory/warehouses/{code}/", {"is_active": False}).status_code == 403
        assert Warehouse.objects.filter(is_active=True).count() == 2

    def test_changes_what_is_given(self, erp: Caller) -> None:
        before = erp.post("inventory/warehouses/", WAREHOUSE | {"priority": 3}).json()
        change = {
            "cutoff": "11:30:00",
            "time_zone": "Europe/Berlin",
            "transit_days": {"AT": [2, 4]},
            "ships_to": ["AT"],
        }

        answer = erp.patch("inventory/warehouses/MUC/", change)

        assert (answer.status_code, answer.json()) == (200, before | change)
        assert erp.get("inventory/warehouses/MUC/").json() == before | change

    @pytest.mark.parametrize("wrong", [{"code": "HAM"}, {"transit_days": {"AT": 2}}, {"country": "de"}, {"colour": 1}])
    def test_refuses_a_change_to_what_is_none(self, erp: Caller, level: StockLevel, wrong: Body) -> None:
        [name] = wrong
        answer = erp.patch("inventory/warehouses/BER/", {"priority": 3} | wrong)

        assert [field and field.split(".")[0] for field in fields_at_fault(answer)] == [name]
        assert Warehouse.objects.get().priority == 100

    def test_tells_what_is_not_for_sale_when_one_is_closed(
        self, erp: Caller, level: StockLevel, latest: Callable[[str], Body]
    ) -> None:
        assert erp.patch("inventory/warehouses/BER/", {"is_active": False}).json()["is_active"] is False

        data = latest("inventory.updated")["data"]
        assert (data["reason"], data["is_in_stock"]) == ("warehouse_closed", False)
        assert erp.get("products/MUG/").json()["available"] == 0

    def test_answers_not_found_for_another_code(self, erp: Caller) -> None:
        assert erp.patch("inventory/warehouses/NONE/", {}).status_code == 404
        assert erp.get("inventory/warehouses/NONE/").status_code == 404

    def test_refuses_a_caller_without_the_scope(self, catalogue: Caller, level: StockLevel) -> None:
        assert catalogue.get("inventory/warehouses/BER/").status_code == 403
        assert catalogue.patch("inventory/warehouses/BER/", {"priority": 3}).status_code == 403
