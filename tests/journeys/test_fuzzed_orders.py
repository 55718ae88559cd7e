"""Whatever is sent as an order: an order or a refusal in words, never a failure, and the stock always adds up."""

import json
from copy import deepcopy
from typing import Any

import pytest
from django.db.models import QuerySet, Sum
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inventory.models import StockLevel, StockMovement
from orders.models import Allocation, OrderLine
from tests.bodies import CART
from tests.journeys.shop import Shop

pytestmark = pytest.mark.django_db

# The same examples at every run.
BOUNDED = settings(
    max_examples=150, derandomize=True, database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
# Lone surrogates too, which JSON can spell and no database can keep.
TEXTS = st.text(st.characters(exclude_categories=()), max_size=20)
NUMBERS = st.integers() | st.integers(-5, 60) | st.floats()
ANYTHING = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
SKUS = st.sampled_from(["MUG"] * 8 + ["GONE", "NOPE"])
LINES = st.lists(st.fixed_dictionaries({"sku": SKUS, "quantity": st.integers(1, 12)}), min_size=1, max_size=3)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to everything inside a body."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, inner in inside for place in places(inner, (*path, key)))]


@st.composite
def carts(draw: st.DrawFn) -> Any:
    """A cart of a few lines, half of them with one or two places replaced by anything."""
    cart: Any = deepcopy(CART) | {"lines": draw(LINES)}
    for _ in range(draw(st.sampled_from([0, 0, 1, 2]))):
        path = draw(st.sampled_from(places(cart)))
        if not path:
            return draw(ANYTHING)
        parent = cart
        for key in path[:-1]:
            parent = parent[key]
        parent[path[-1]] = draw(ANYTHING)
    return cart


def total(rows: QuerySet[Any], field: str) -> int:
    units: int | None = rows.aggregate(total=Sum(field))["total"]
    return units or 0


def assert_stock_adds_up() -> None:
    for level in StockLevel.objects.all():
        moved = StockMovement.objects.filter(level=level)
        assert 0 <= level.reserved <= level.on_hand
        assert (level.on_hand, level.reserved) == (total(moved, "on_hand_delta"), total(moved, "reserved_delta"))
    waiting = total(Allocation.objects.all(), "quantity") - total(OrderLine.objects.all(), "shipped")
    assert total(StockLevel.objects.all(), "reserved") == waiting


class TestFuzzedOrders:
    @BOUNDED
    @given(body=carts())
    def test_are_placed_or_refused_in_words(self, shop: Shop, body: Any) -> None:
        answer = shop.send("POST orders/", json.dumps(body).encode())

        assert answer.status_code in {201, 400, 409, 422}
        assert answer.status_code == 201 or answer.json()["detail"]
        assert_stock_adds_up()
