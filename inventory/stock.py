"""Every change of stock, each one conditional UPDATE per level: no rows changed is the refusal.

Levels are written in the order of their keys, so that two orders for the same products cannot wait for each other.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import BigIntegerField, QuerySet
from django.db.models.expressions import RawSQL

from inventory import lapses
from inventory.models import Product, Sale, StockLevel, StockMovement, Warehouse
from webhooks.cursors import execute, here
from webhooks.prepared import Prepared
from webhooks.sources import DomainError, together

Reason = StockMovement.Reason


class InsufficientStock(DomainError):
    """Fewer units than asked for; `errors` holds `{"sku", "requested", "available"}` for each product.

    `room` is the word for the units that were asked for: a write-off may take more than what is available.
    """

    code = "insufficient_stock"

    def __init__(self, errors: list[dict[str, Any]], *, room: str = "available") -> None:
        told = ", ".join(f"{e['sku']} ({e['requested']} asked for, {e['available']} {room})" for e in errors)
        super().__init__(f"Not enough stock: {told}.", errors=errors)


class StaleCount(DomainError):
    """The level has moved since it was counted."""

    code = "stale_count"


class ReferenceReused(DomainError):
    """A sale of other lines has this reference already."""

    code = "reference_reused"


@dataclass(frozen=True)
class Demand:
    level_id: int
    quantity: int

    def __post_init__(self) -> None:
        if self.quantity < 1:
            raise ValueError(f"A demand is for at least one unit, not {self.quantity}.")


@dataclass(frozen=True)
class _Cause:
    reason: str
    reference: str
    actor: str
    now: datetime


@dataclass(frozen=True)
class _Room:
    """Which of a level's units a change may take, as SQL, and the word a refusal uses for them."""

    units: str
    word: str


# A till sells what lies on its counter: the safety stock is kept back from every channel but this.
TILL = "pos"

_AVAILABLE = _Room("on_hand - reserved - safety_stock", "available")
_UNRESERVED = _Room("on_hand - reserved", "not reserved")
_RESERVED = _Room("reserved", "reserved")


@dataclass(frozen=True)
class _Entry:
    """A change of one level that takes `taken` of its room (negative: adds to it)."""

    level_id: int
    taken: int
    on_hand: int = 0
    reserved: int = 0
    safety_stock: int = 0


def reserve(demands: Iterable[Demand], *, reference: str, actor: str, now: datetime) -> list[StockMovement]:
    """Hold units for an order: all of them, or none and InsufficientStock."""
    return _take(_held(demands), _AVAILABLE, _Cause(Reason.RESERVED, reference, actor, now))


def reserve_free(demands: Iterable[Demand], *, reference: str, actor: str, now: datetime) -> list[StockMovement]:
    """`reserve` of what nobody holds: nothing is taken back from orders that are not paid in time.

    For a caller whose own `together` ends with InsufficientStock, and undoes with everything else what is written here:
    two statements less while others wait for the levels.
    """
    return _post_all(_held(demands), _AVAILABLE, _Cause(Reason.RESERVED, reference, actor, now))


def _held(demands: Iterable[Demand]) -> list[_Entry]:
    return [_Entry(level_id, n, reserved=n) for level_id, n in _merged(demands)]


def release(demands: Iterable[Demand], *, reference: str, actor: str, now: datetime) -> list[StockMovement]:
    """Give held units back. Raises InsufficientStock when fewer are held."""
    entries = [_Entry(level_id, n, reserved=-n) for level_id, n in _merged(demands)]
    return _post(entries, _RESERVED, _Cause(Reason.RELEASED, reference, actor, now))


def issue(demands: Iterable[Demand], *, reference: str, actor: str, now: datetime) -> list[StockMovement]:
    """Held units have left the warehouse. Raises InsufficientStock when fewer are held."""
    entries = [_Entry(level_id, n, on_hand=-n, reserved=-n) for level_id, n in _merged(demands)]
    return _post(entries, _RESERVED, _Cause(Reason.SHIPPED, reference, actor, now))


def restock(demands: Iterable[Demand], *, reference: str, actor: str, now: datetime) -> list[StockMovement]:
    """Units that a customer sent back can be sold again."""
    entries = [_Entry(level_id, -n, on_hand=n) for level_id, n in _merged(demands)]
    return _post(entries, _UNRESERVED, _Cause(Reason.RETURNED, reference, actor, now))


@together()
def sell(
    *,
    warehouse: Warehouse,
    lines: Iterable[tuple[Product, int]],
    reference: str,
    channel: str = "",
    actor: str,
    now: datetime,
) -> list[StockMovement]:
    """A till or marketplace has sold these units: takes all of them, or none and InsufficientStock.

    The same reference again changes nothing and gives the first movements; with other lines it raises ReferenceReused.
    """
    units: Counter[Product] = Counter()
    for product, quantity in lines:
        units[product] += quantity
    sold = {product.sku: quantity for product, quantity in units.items()}
    # Added first: of two calls with one reference, the second waits here until the first has ended.
    sale, is_new = Sale.objects.get_or_create(
        warehouse=warehouse, reference=reference, defaults={"lines": sold, "channel": channel, "sold_at": now}
    )
    if sale.lines != sold:
        raise ReferenceReused(f"The sale {reference} of {warehouse} is of other lines: use a new reference.")
    if not is_new:
        return _movements_of(sale)
    entries = [_Entry(_level(product, warehouse).pk, n, on_hand=-n) for product, n in units.items()]
    room = _UNRESERVED if channel == TILL else _AVAILABLE
    return _take(entries, room, _Cause(Reason.SOLD, reference, actor, now))


def lock(level_ids: Collection[int] | QuerySet[Any, Any]) -> None:
    """Keep others from writing these levels until the transaction ends, so that it can write them in any order."""
    # Evaluated for its lock: SQLite has none, and needs none, for it lets one transaction write at a time.
    levels = StockLevel.objects.filter(pk__in=level_ids)
    list(levels.select_for_update().order_by("pk").values_list("pk"))
    _lock_products(levels.values("product"))


def lock_places(places: Iterable[tuple[Product, Warehouse]]) -> None:
    """`lock` the levels of these products in these warehouses; makes those that are missing."""
    # These first: who makes the same ones at this moment is waited for before anything is locked.
    ordered = sorted(places, key=lambda place: (place[1].pk, place[0].pk))
    lock([_level(product, warehouse).pk for product, warehouse in ordered])


@together()
def adjust(
    *, product: Product, warehouse: Warehouse, delta: int, reason: str, reference: str = "", actor: str, now: datetime
) -> StockMovement:
    """Add or take off units; makes the level where there is none. Raises InsufficientStock below what is reserved."""
    entry = _Entry(_level(product, warehouse).pk, -delta, on_hand=delta)
    return _post([entry], _UNRESERVED, _Cause(reason, reference, actor, now))[0]


@together()
def count(
    *,
    product: Product,
    warehouse: Warehouse,
    on_hand: int,
    expected_on_hand: int,
    reason: str,
    reference: str = "",
    actor: str,
    now: datetime,
) -> StockMovement:
    """Set the units that were counted, unless the level is no longer at `expected_on_hand` (StaleCount)."""
    level = _level(product, warehouse)
    if not _lock(level, now=now, on_hand=expected_on_hand):
        level.refresh_from_db()
        raise _stale(level, expected_on_hand)
    delta = on_hand - expected_on_hand
    cause = _Cause(reason, reference, actor, now)
    return _post([_Entry(level.pk, -delta, on_hand=delta)], _UNRESERVED, cause)[0]


def check_count(level: StockLevel, *, on_hand: int, expected_on_hand: int) -> None:
    """Refuse what `count` would refuse of the level as it was read; nothing is written, and nothing locked."""
    if level.on_hand != expected_on_hand:
        raise _stale(level, expected_on_hand)
    taken, room = level.on_hand - on_hand, level.on_hand - level.reserved
    if taken > room:
        error = {"sku": level.product.sku, "requested": taken, "available": room}
        raise InsufficientStock([error], room=_UNRESERVED.word)


@together()
def keep_back(level: StockLevel, *, safety_stock: int, actor: str, now: datetime) -> StockMovement:
    """Set how many of a level's units are never offered. Those already reserved stay reserved."""
    _lock(level, now=now)
    level.refresh_from_db()
    entry = _Entry(level.pk, 0, safety_stock=safety_stock - level.safety_stock)
    return _post([entry], _UNRESERVED, _Cause(Reason.SAFETY_STOCK, "", actor, now))[0]


def mark(level_ids: Iterable[int], *, reason: str, reference: str, actor: str, now: datetime) -> list[StockMovement]:
    """Movements of no units: what the levels hold counts for something else from now on."""
    entries = [_Entry(level_id, 0) for level_id in level_ids]
    return _post(entries, _UNRESERVED, _Cause(reason, reference, actor, now))


def lock_warehouse(warehouse: Warehouse) -> Warehouse:
    """As it is now, and stays until the transaction ends; to be locked before its levels."""
    # Not against foreign keys to it: its orders and sales go on.
    return Warehouse.objects.select_for_update(no_key=True).get(pk=warehouse.pk)


def _stale(level: StockLevel, expected_on_hand: int) -> StaleCount:
    return StaleCount(f"{level} holds {level.on_hand} units now, not {expected_on_hand}: count again.")


def _movements_of(sale: Sale) -> list[StockMovement]:
    movements = StockMovement.objects.filter(
        reference=sale.reference, reason=Reason.SOLD, level__warehouse=sale.warehouse
    )
    return list(movements.select_related("level__product", "level__warehouse").order_by("level_id"))


def _level(product: Product, warehouse: Warehouse) -> StockLevel:
    level, is_new = StockLevel.objects.get_or_create(product=product, warehouse=warehouse)
    if is_new:
        # Who opens or closes the warehouse at this moment cannot see it yet, and is waited for.
        lock_warehouse(warehouse)
    return level


def _lock(level: StockLevel, *, now: datetime, **expected: int) -> bool:
    """Keep others from writing the level until the transaction ends; False, and no lock, unless it is as `expected`.

    By an UPDATE, because `select_for_update` does nothing on SQLite.
    """
    return StockLevel.objects.filter(pk=level.pk, **expected).update(updated_at=now) == 1


def _merged(demands: Iterable[Demand]) -> Iterable[tuple[int, int]]:
    units: Counter[int] = Counter()
    for demand in demands:
        units[demand.level_id] += demand.quantity
    return units.items()


def _take(entries: Sequence[_Entry], room: _Room, cause: _Cause) -> list[StockMovement]:
    """Post what is sold or held. Units that nobody has paid for in time are taken back first where they are needed."""
    with suppress(InsufficientStock):
        return _post(entries, room, cause)
    with together():
        lapses.reclaim(_missing(entries, room), now=cause.now)
        return _post(entries, room, cause)


def _missing(entries: Sequence[_Entry], room: _Room) -> dict[int, int]:
    """By level, the units that it is short of, of each level of the demand: all of them are going to be written.

    A level's room is below zero where the safety stock has been eaten into.
    """
    levels = StockLevel.objects.annotate(room=_units_of(room)).filter(pk__in=[entry.level_id for entry in entries])
    rooms = dict(levels.values_list("pk", "room"))
    return {entry.level_id: max(0, entry.taken - rooms[entry.level_id]) for entry in entries}


@together()
def _post(entries: Iterable[_Entry], room: _Room, cause: _Cause) -> list[StockMovement]:
    """Write every entry and its movement, or none of them."""
    return _post_all(entries, room, cause)


def _post_all(entries: Iterable[_Entry], room: _Room, cause: _Cause) -> list[StockMovement]:
    """`_post`, which leaves some of them written where it raises InsufficientStock."""
    ordered = sorted(entries, key=lambda entry: entry.level_id)
    refused = [entry for entry in ordered if not _write(entry, room, now=cause.now)]
    if refused:
        raise _refusal(refused, room)
    levels = _levels_of_products(ordered)
    movements = [_movement(entry, levels[entry.level_id], cause) for entry in ordered]
    if turning := [movement.level.product_id for movement in movements if _turns(movement)]:
        _lock_products(turning)
        levels = _levels_of_products(ordered)
    _add_totals(movements, levels.values())
    StockMovement.add_all(movements)
    return movements


def _levels_of_products(entries: Iterable[_Entry]) -> dict[int, StockLevel]:
    """Of all the products in question, everywhere: so that each movement can tell what is left in all."""
    return {level.pk: level for level in _levels_beside([entry.level_id for entry in entries])}


@Prepared
def _levels_beside(level_ids: Sequence[int]) -> QuerySet[StockLevel]:
    """These, and all others of their products."""
    products = StockLevel.objects.filter(pk__in=level_ids).values("product")
    return StockLevel.objects.select_related("product", "warehouse").filter(product__in=products)


def _turns(movement: StockMovement) -> bool:
    """Whether a level ran empty or is no longer so: then the product may have run out, or be back, in all."""
    return (movement.available_before > 0) != (movement.available_after > 0)


def _lock_products(products: Collection[int] | QuerySet[Any, Any]) -> None:
    """Of two transactions that empty, or fill, two warehouses at once, the second must see what the first has left."""
    # Not against foreign keys to them: orders for the same products go on.
    rows = Product.objects.select_for_update(no_key=True).filter(pk__in=products)
    list(rows.order_by("pk").values_list("pk"))


def _add_totals(movements: Sequence[StockMovement], levels: Iterable[StockLevel]) -> None:
    """What is left in all. Of several movements of one product, each begins where the one before it ended."""
    left: Counter[int] = Counter()
    for level in levels:
        left[level.product_id] += level.unreserved if level.warehouse.is_active else 0
    for movement in reversed(movements):
        product = movement.level.product_id
        movement.total_after = left[product]
        left[product] -= movement.total_delta
        movement.total_before = left[product]


_WRITE = """
    UPDATE inventory_stocklevel
    SET on_hand = on_hand + %s, reserved = reserved + %s, safety_stock = safety_stock + %s,
        version = version + 1, updated_at = %s
    WHERE id = %s AND {room} >= %s"""


def _write(entry: _Entry, room: _Room, *, now: datetime) -> bool:
    """Whether the level had the room: the check and the change are one statement.

    Written out, because each sale runs it once for each line: putting it together takes Django ten times as long.
    """
    database = here()
    moment = database.ops.adapt_datetimefield_value(now)
    changes = [entry.on_hand, entry.reserved, entry.safety_stock, moment, entry.level_id, entry.taken]
    return bool(execute(database, _WRITE.format(room=room.units), changes).rowcount)


def _units_of(room: _Room) -> RawSQL:
    return RawSQL(room.units, (), output_field=BigIntegerField())  # noqa: S611  (one of the three above)


def _refusal(refused: list[_Entry], room: _Room) -> InsufficientStock:
    levels = StockLevel.objects.select_related("product").annotate(room=_units_of(room))
    found: dict[int, Any] = levels.in_bulk([entry.level_id for entry in refused])
    errors = [
        {"sku": level.product.sku, "requested": entry.taken, "available": max(0, level.room)}
        for level, entry in ((found[entry.level_id], entry) for entry in refused)
    ]
    return InsufficientStock(errors, room=room.word)


def _movement(entry: _Entry, level: StockLevel, cause: _Cause) -> StockMovement:
    return StockMovement(
        level=level,
        on_hand_delta=entry.on_hand,
        reserved_delta=entry.reserved,
        safety_stock_delta=entry.safety_stock,
        on_hand_after=level.on_hand,
        reserved_after=level.reserved,
        safety_stock_after=level.safety_stock,
        version=level.version,
        reason=cause.reason,
        reference=cause.reference,
        actor=cause.actor,
        at=cause.now,
    )
