import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from inventory.models import StockLevel
from tests.caller import Caller
from tests.factories import NOW, add_stock, make_product
from webhooks.models import Event


@pytest.fixture
def now() -> datetime:
    return NOW


@pytest.fixture
def level(db: None) -> StockLevel:
    """Ten mugs in Berlin."""
    make_product("MUG", on_hand=10)
    return StockLevel.objects.get()


@pytest.fixture
def lamps(db: None) -> StockLevel:
    """Four lamps in Hamburg."""
    make_product("LAMP", on_hand=4, warehouse="HAM")
    return StockLevel.objects.get(product__sku="LAMP")


@pytest.fixture
def elsewhere(level: StockLevel) -> StockLevel:
    """Three more of the mugs, in Hamburg."""
    return add_stock(level.product, on_hand=3, warehouse="HAM")


@pytest.fixture
def balance() -> Callable[[StockLevel], tuple[int, int, int]]:
    """On hand, reserved and version, as the database has them."""

    def read(level: StockLevel) -> tuple[int, int, int]:
        return StockLevel.objects.values_list("on_hand", "reserved", "version").get(pk=level.pk)

    return read


@pytest.fixture
def latest() -> Callable[[str], dict[str, Any]]:
    """The body of the latest event of a type."""

    def read(event_type: str) -> dict[str, Any]:
        body: dict[str, Any] = json.loads(Event.objects.filter(type=event_type).latest("pk").body)
        return body

    return read


@pytest.fixture
def catalogue(db: None) -> Caller:
    return Caller("catalogue")


@pytest.fixture
def erp(db: None) -> Caller:
    return Caller("inventory")
