"""Which warehouse each line of an order comes from."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import chain, combinations, islice
from typing import Any

from django.db.models import QuerySet

from inventory.models import Product, StockLevel
from inventory.stock import InsufficientStock
from webhooks.prepared import Prepared

# Every group of twelve warehouses, so the fewest are found for certain; of more, a small group in bounded time.
GROUPS_TRIED = 2**12

Pick = tuple[StockLevel, int]
# A warehouse's levels by the key of their product.
Shelves = Mapping[int, StockLevel]


def plan(lines: Sequence[tuple[Product, int]], *, country: str, now: datetime) -> list[list[Pick]]:
    """For each line, the levels to take its units from. Holds nothing: `stock.reserve` does.

    Of the active warehouses that ship to `country`, the first by priority that can fill every line; else the fewest
    together. Raises InsufficientStock when all together cannot.
    """
    wanted: Counter[Product] = Counter()
    for product, quantity in lines:
        wanted[product] += quantity
    warehouses = _warehouses(_offered_of([product.pk for product in wanted]), country=country)
    if _shortage(wanted, warehouses):
        # What unpaid orders have held for too long is for sale, too.
        lapsed = StockLevel.objects.with_lapsed(now)
        warehouses = _warehouses(_levels(lapsed, [product.pk for product in wanted]), country=country)
        if short := _shortage(wanted, warehouses):
            raise InsufficientStock(short)
    units = {product.pk: quantity for product, quantity in wanted.items()}
    return _share_out(lines, _fewest(warehouses, units))


def _levels(levels: QuerySet[StockLevel], products: Sequence[int]) -> QuerySet[StockLevel]:
    """Of the products with these keys, in active warehouses, by priority."""
    offered = levels.filter(product__in=products, warehouse__is_active=True)
    return offered.select_related("product", "warehouse").order_by("warehouse__priority", "warehouse_id")


_offered_of = Prepared(lambda products: _levels(StockLevel.objects.all(), products))


def _warehouses(levels: Iterable[StockLevel], *, country: str) -> list[Shelves]:
    """What may be taken from each warehouse, by priority; those without any of it are left out."""
    found: dict[int, dict[int, StockLevel]] = {}
    for level in levels:
        if level.available and level.warehouse.can_ship_to(country):
            found.setdefault(level.warehouse_id, {})[level.product_id] = level
    return list(found.values())


def _shortage(wanted: Mapping[Product, int], warehouses: Sequence[Shelves]) -> list[dict[str, Any]]:
    return [
        {"sku": product.sku, "requested": quantity, "available": offered}
        for product, quantity in wanted.items()
        if (offered := _offered(warehouses, product.pk)) < quantity
    ]


def _offered(warehouses: Iterable[Shelves], product_id: int) -> int:
    return sum(shelves[product_id].available for shelves in warehouses if product_id in shelves)


def _fewest(warehouses: Sequence[Shelves], units: Mapping[int, int]) -> Sequence[Shelves]:
    """The smallest group that has all the units, the higher priorities first among groups of one size."""
    groups = chain.from_iterable(combinations(warehouses, size) for size in range(1, len(warehouses) + 1))
    for group in islice(groups, GROUPS_TRIED):
        if all(_offered(group, product_id) >= quantity for product_id, quantity in units.items()):
            return group
    return _fullest(warehouses, units)


def _fullest(warehouses: Sequence[Shelves], units: Mapping[int, int]) -> Sequence[Shelves]:
    """A small group, found by adding the warehouse that fills most of what is still open until nothing is."""
    group: list[Shelves] = []
    left, open_units = list(warehouses), dict(units)
    while any(open_units.values()):
        best = max(left, key=lambda shelves: sum(_fill(shelves, open_units).values()))
        for product_id, quantity in _fill(best, open_units).items():
            open_units[product_id] -= quantity
        left.remove(best)
        group.append(best)
    return group


def _fill(shelves: Shelves, units: Mapping[int, int]) -> dict[int, int]:
    return {pk: min(units[pk], level.available) for pk, level in shelves.items()}


def _share_out(lines: Sequence[tuple[Product, int]], group: Sequence[Shelves]) -> list[list[Pick]]:
    left = {level.pk: level.available for shelves in group for level in shelves.values()}
    return [_take(product, quantity, group, left) for product, quantity in lines]


def _take(product: Product, quantity: int, group: Sequence[Shelves], left: dict[int, int]) -> list[Pick]:
    """A line from one warehouse of the group where one can fill it, else from several; takes the units off `left`."""
    levels = [shelves[product.pk] for shelves in group if product.pk in shelves]
    picks: list[Pick] = []
    for level in sorted(levels, key=lambda level: left[level.pk] < quantity):
        if units := min(quantity - sum(taken for _, taken in picks), left[level.pk]):
            picks.append((level, units))
            left[level.pk] -= units
    return picks
