import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inventory import allocation
from inventory.models import Product, StockLevel, Warehouse
from inventory.stock import InsufficientStock
from tests.factories import NOW, make_warehouse

pytestmark = pytest.mark.django_db

Stock = dict[str, dict[str, int]]
Picks = list[list[tuple[str, int]]]


def lay_out(stock: Stock) -> None:
    """Warehouse -> SKU -> units; the first warehouse has the highest priority."""
    for priority, (code, units) in enumerate(stock.items()):
        warehouse = make_warehouse(code, priority=priority)
        for sku, on_hand in units.items():
            product = Product.objects.get_or_create(
                sku=sku, defaults={"name": sku, "price_minor": 1, "currency": "EUR"}
            )[0]
            StockLevel.objects.create(product=product, warehouse=warehouse, on_hand=on_hand)


def plan(*lines: tuple[str, int], country: str = "DE") -> Picks:
    wanted = [(Product.objects.get(sku=sku), quantity) for sku, quantity in lines]
    picks = allocation.plan(wanted, country=country, now=NOW)
    return [[(level.warehouse.code, units) for level, units in line] for line in picks]


class TestPlan:
    @pytest.mark.parametrize(
        ("stock", "lines", "picks"),
        [
            pytest.param({"A": {"X": 5}, "B": {"X": 5}}, [("X", 2)], [[("A", 2)]], id="the first by priority"),
            pytest.param(
                {"A": {"X": 5}, "B": {"X": 5, "Y": 5}},
                [("X", 1), ("Y", 1)],
                [[("B", 1)], [("B", 1)]],
                id="one that fills all lines goes before a higher priority",
            ),
            pytest.param(
                {"A": {"X": 5}, "B": {"Y": 5}},
                [("X", 1), ("Y", 2)],
                [[("A", 1)], [("B", 2)]],
                id="a split where no warehouse has all",
            ),
            pytest.param(
                {"A": {"X": 3}, "B": {"X": 4}}, [("X", 5)], [[("A", 3), ("B", 2)]], id="a line split between two"
            ),
            pytest.param(
                {"A": {"X": 1}, "B": {"Y": 1}, "C": {"X": 1, "Z": 1}, "D": {"Y": 1, "Z": 1}},
                [("X", 1), ("Y", 1), ("Z", 1)],
                [[("A", 1)], [("D", 1)], [("D", 1)]],
                id="two parcels rather than three, the higher priority of two pairs",
            ),
            pytest.param(
                {"A": {"X": 2, "Y": 1}, "B": {"X": 3, "Z": 1}},
                [("X", 3), ("Y", 1), ("Z", 1)],
                [[("B", 3)], [("A", 1)], [("B", 1)]],
                id="a line is kept whole where a warehouse of the group can fill it",
            ),
            pytest.param(
                {"A": {"X": 3}, "B": {"X": 3}},
                [("X", 2), ("X", 2), ("X", 2)],
                [[("A", 2)], [("B", 2)], [("A", 1), ("B", 1)]],
                id="lines of one product share what there is",
            ),
            pytest.param(
                {"A": {"X": 0}, "B": {"X": 1}}, [("X", 1)], [[("B", 1)]], id="an empty warehouse is passed over"
            ),
        ],
    )
    def test_routes(self, stock: Stock, lines: list[tuple[str, int]], picks: Picks) -> None:
        lay_out(stock)

        assert plan(*lines) == picks

    def test_offers_neither_reserved_units_nor_the_safety_stock(self) -> None:
        lay_out({"A": {"X": 5}, "B": {"X": 5}})
        StockLevel.objects.filter(warehouse__code="A").update(reserved=2, safety_stock=2)

        assert plan(("X", 2)) == [[("B", 2)]]

    def test_passes_over_a_closed_warehouse(self) -> None:
        lay_out({"A": {"X": 5}, "B": {"X": 5}})
        Warehouse.objects.filter(code="A").update(is_active=False)

        assert plan(("X", 1)) == [[("B", 1)]]

    def test_passes_over_a_warehouse_that_does_not_ship_to_the_country(self) -> None:
        lay_out({"A": {"X": 5}, "B": {"X": 5}})
        Warehouse.objects.filter(code="A").update(ships_to=["FR", "BE"])

        assert plan(("X", 1), country="DE") == [[("B", 1)]]
        assert plan(("X", 1), country="FR") == [[("A", 1)]]

    def test_refuses_with_everything_that_is_short_and_what_there_is_of_it(self) -> None:
        lay_out({"A": {"X": 1, "Y": 9}, "B": {"X": 1}, "C": {"Z": 0}})

        with pytest.raises(InsufficientStock) as refusal:
            plan(("X", 2), ("Y", 9), ("X", 1), ("Z", 1))

        assert refusal.value.errors == [
            {"sku": "X", "requested": 3, "available": 2},
            {"sku": "Z", "requested": 1, "available": 0},
        ]

    def test_reads_the_stock_in_one_query(self) -> None:
        lay_out({"A": {"X": 5, "Y": 1}, "B": {"X": 5, "Z": 5}, "C": {"Z": 1}})
        wanted = [(product, 1) for product in Product.objects.order_by("sku")]

        with CaptureQueriesContext(connection) as queries:
            allocation.plan(wanted, country="DE", now=NOW)

        assert len(queries) == 1

    def test_ends_soon_where_very_many_warehouses_are_needed(self) -> None:
        lay_out({f"W{number:02}": {"X": 2} for number in range(30)})

        [line] = plan(("X", 45))

        assert sum(units for _, units in line) == 45
        assert len(line) == 23

    @given(
        st.lists(st.lists(st.integers(0, 4), min_size=3, max_size=3), min_size=1, max_size=5),
        st.lists(st.tuples(st.integers(0, 2), st.integers(1, 5)), min_size=1, max_size=5),
    )
    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_fills_every_line_or_refuses_and_never_promises_more_than_there_is(
        self, shelves: list[list[int]], wanted: list[tuple[int, int]]
    ) -> None:
        products = [Product(pk=pk, sku=f"S{pk}") for pk in range(3)]
        warehouses = [
            {
                pk: StockLevel(pk=10 * number + pk, product=products[pk], warehouse=Warehouse(pk=number), on_hand=units)
                for pk, units in enumerate(row)
                if units
            }
            for number, row in enumerate(shelves)
        ]
        lines = [(products[index], quantity) for index, quantity in wanted]
        units: dict[int, int] = {}
        for index, quantity in wanted:
            units[index] = units.get(index, 0) + quantity
        short = {index for index, quantity in units.items() if sum(row[index] for row in shelves) < quantity}
        found = allocation._shortage({products[pk]: n for pk, n in units.items()}, warehouses)
        assert {each["sku"] for each in found} == {f"S{index}" for index in short}
        if short:
            return

        picks = allocation._share_out(lines, allocation._fewest(warehouses, units))

        assert [sum(n for _, n in line) for line in picks] == [quantity for _, quantity in lines]
        for level in (level for row in warehouses for level in row.values()):
            assert sum(n for line in picks for picked, n in line if picked.pk == level.pk) <= level.on_hand
