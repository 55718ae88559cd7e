from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from inventory.models import Product, Sale, StockLevel, StockMovement, Warehouse, validate_countries
from tests.factories import NOW, add_stock, make_product, make_warehouse


class TestProduct:
    @pytest.mark.parametrize("sku", ["A", "MUG-BLUE", "a.b_c-1", "0" * 64])
    def test_takes_a_sku_that_fits_into_an_address(self, sku: str) -> None:
        Product(sku=sku, name="Mug", price_minor=1, currency="EUR").clean_fields()

    @pytest.mark.parametrize("sku", ["", "-A", "a b", "a/b", "a?b", "ä", "A\n", "0" * 65])
    def test_refuses_another(self, sku: str) -> None:
        with pytest.raises(ValidationError, match="sku"):
            Product(sku=sku, name="Mug", price_minor=1, currency="EUR").clean_fields()

    def test_keeps_two_products_from_having_one_sku(self, db: None) -> None:
        make_product("MUG")

        with pytest.raises(IntegrityError), transaction.atomic():
            Product.objects.create(sku="MUG", name="Other", price_minor=1, currency="EUR")

    def test_keeps_the_price_from_falling_below_nothing(self, db: None) -> None:
        with pytest.raises(IntegrityError), transaction.atomic():
            Product.objects.create(sku="MUG", name="Mug", price_minor=-1, currency="EUR")


class TestWithAvailable:
    def test_adds_up_the_active_warehouses(self, level: StockLevel, elsewhere: StockLevel) -> None:
        assert available_of(level.product) == 13

    def test_leaves_out_a_warehouse_that_is_closed(self, level: StockLevel, elsewhere: StockLevel) -> None:
        Warehouse.objects.filter(code="HAM").update(is_active=False)

        assert available_of(level.product) == 10

    def test_never_counts_one_warehouse_below_zero(self, level: StockLevel, elsewhere: StockLevel) -> None:
        StockLevel.objects.filter(pk=elsewhere.pk).update(safety_stock=100)

        assert available_of(level.product) == 10

    def test_is_zero_for_a_product_that_lies_nowhere(self, db: None) -> None:
        product = Product.objects.create(sku="NEW", name="New", price_minor=1, currency="EUR")

        assert available_of(product) == 0


def available_of(product: Product) -> int:
    found: Any = Product.objects.with_available(NOW).get(pk=product.pk)
    return int(found.available)


class TestWarehouse:
    @pytest.mark.parametrize(("ships_to", "can"), [([], True), (["DE", "AT"], True), (["FR"], False)])
    def test_ships_to_its_countries_or_everywhere(self, ships_to: list[str], can: bool) -> None:
        assert Warehouse(ships_to=ships_to).can_ship_to("DE") is can

    @pytest.mark.parametrize("countries", [None, "DE", {"DE": 1}, ["de"], ["DEU"], [""], [49], [["DE"]]])
    def test_refuses_what_is_not_a_list_of_countries(self, countries: object) -> None:
        with pytest.raises(ValidationError):
            validate_countries(countries)


class TestStockLevel:
    @pytest.mark.parametrize(
        "values",
        [
            {"on_hand": -1},
            {"reserved": -1},
            {"reserved": 11},
            {"on_hand": 5, "reserved": 6},
            {"safety_stock": -1},
        ],
    )
    def test_the_database_itself_refuses(self, level: StockLevel, values: dict[str, int]) -> None:
        with pytest.raises(IntegrityError), transaction.atomic():
            StockLevel.objects.filter(pk=level.pk).update(**values)

        level.refresh_from_db()
        assert (level.on_hand, level.reserved, level.safety_stock) == (10, 0, 0)

    def test_there_is_one_for_a_product_in_a_warehouse(self, level: StockLevel) -> None:
        with pytest.raises(IntegrityError), transaction.atomic():
            StockLevel.objects.create(product=level.product, warehouse=level.warehouse)

    @pytest.mark.parametrize(
        ("on_hand", "reserved", "safety_stock", "available"),
        [(10, 0, 0, 10), (10, 4, 0, 6), (10, 4, 5, 1), (10, 4, 9, 0)],
    )
    def test_offers_what_is_neither_reserved_nor_kept_back(
        self, on_hand: int, reserved: int, safety_stock: int, available: int
    ) -> None:
        assert StockLevel(on_hand=on_hand, reserved=reserved, safety_stock=safety_stock).available == available


class TestStockMovement:
    def test_a_version_of_a_level_has_one(self, level: StockLevel) -> None:
        first = StockMovement.objects.get()
        copy = StockMovement(
            level=level,
            on_hand_after=10,
            reserved_after=0,
            safety_stock_after=0,
            version=first.version,
            reason="adjusted",
        )

        with pytest.raises(IntegrityError), transaction.atomic():
            copy.save()

    def test_is_never_changed_nor_deleted(self, level: StockLevel) -> None:
        movement = StockMovement.objects.get()

        with pytest.raises(TypeError, match="cannot be changed"):
            movement.save()
        with pytest.raises(TypeError, match="cannot be deleted"):
            movement.delete()
        with pytest.raises(TypeError, match="never change it"):
            StockMovement.objects.update(on_hand_delta=1)

    def test_knows_what_became_available(self) -> None:
        movement = StockMovement(
            on_hand_delta=-3,
            reserved_delta=-3,
            on_hand_after=7,
            reserved_after=2,
            safety_stock_after=1,
            safety_stock_delta=1,
        )

        assert (movement.available_before, movement.available_after, movement.available_delta) == (5, 4, -1)

    def test_counts_nothing_as_available_below_zero(self) -> None:
        movement = StockMovement(on_hand_delta=2, on_hand_after=4, reserved_after=0, safety_stock_after=3)

        assert movement.available_delta == 1


class TestSale:
    def test_a_reference_is_taken_once_in_a_warehouse(self, level: StockLevel) -> None:
        Sale.objects.create(warehouse=level.warehouse, reference="T1", lines={"MUG": 1}, sold_at=level.updated_at)
        Sale.objects.create(warehouse=make_warehouse("HAM"), reference="T1", lines={"MUG": 1}, sold_at=level.updated_at)

        with pytest.raises(IntegrityError), transaction.atomic():
            Sale.objects.create(warehouse=level.warehouse, reference="T1", lines={}, sold_at=level.updated_at)


def test_what_a_level_refers_to_cannot_be_deleted(level: StockLevel) -> None:
    add_stock(level.product, on_hand=1, warehouse="HAM")

    for row in (level, level.product, level.warehouse):
        with pytest.raises(IntegrityError), transaction.atomic():
            row.delete()
