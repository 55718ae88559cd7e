"""From the shelf to the door: pack, ship, deliver; and back to the shelf: unpack, bring back."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import F

from inventory import stock
from inventory.models import Warehouse
from inventory.stock import Demand
from orders import checkout, payments, promises, refunds
from orders.models import Allocation, Order, OrderLine, OrderTransition, Shipment, ShipmentLine
from orders.models.shipment import Fate, TrackingStatus
from orders.returns import Receipt
from orders.transitions import (
    InvalidTransition,
    Kind,
    find_line,
    lock,
    lock_shipment,
    record,
    require,
    require_shipment,
    unpacked_units,
)
from webhooks.sources import together

# In place of a tracking number: the parcel goes without one, and somebody meant it so.
UNTRACKED = "untracked"


@dataclass(frozen=True)
class _Taken:
    """Units of an allocation that go into a parcel."""

    allocation: Allocation
    quantity: int


@together()
def pack(
    order_id: str,
    *,
    quantities: Mapping[str, int] | None = None,
    warehouse: str | None = None,
    package_count: int = 1,
    weight_grams: int | None = None,
    actor: str,
    now: datetime,
) -> list[Shipment]:
    """Put what is left, or `quantities` of lines (by their public ids), into one parcel per warehouse.

    `warehouse` is the code of the only one that packs now. Raises InvalidTransition, OrderLine.DoesNotExist.
    """
    order = lock(order_id)
    require(order, Kind.PACKED)
    if order.on_hold:
        raise InvalidTransition(f"Order {order} is on hold: release it first.")
    parcels = _take(order, quantities, warehouse)
    first_index = order.shipment_count + 1
    order.shipment_count += len(parcels)
    shipments = []
    for index, (origin, taken) in enumerate(parcels.items(), start=first_index):
        shipment = Shipment(
            order=order,
            warehouse=origin,
            index=index,
            packed_at=now,
            packed_by=actor,
            package_count=package_count,
            weight_grams=weight_grams,
        )
        _fill(shipment, taken)
        record(order, Kind.PACKED, actor=actor, now=now, shipment=shipment)
        shipments.append(shipment)
    _write_packed(order, parcels)
    return shipments


@together()
def unpack(shipment_id: str, *, actor: str, now: datetime) -> OrderTransition:
    """Take a parcel apart before it leaves: its units can be cancelled, or packed anew. The stock stays held."""
    shipment = lock_shipment(shipment_id)
    require_shipment(shipment, Shipment.State.PACKED)
    require(shipment.order, Kind.UNPACKED)
    shipment.state = Shipment.State.UNPACKED
    shipment.save()
    _count(shipment, packed=-1)
    _take_out(shipment, "packed")
    return record(shipment.order, Kind.UNPACKED, actor=actor, now=now, shipment=shipment)


@together()
def ship(
    shipment_id: str,
    *,
    carrier: str,
    tracking_number: str,
    tracking_url: str = "",
    carrier_service: str = "",
    estimated_delivery_at: datetime | None = None,
    actor: str,
    now: datetime,
) -> OrderTransition:
    """Hand a packed parcel to its carrier. A parcel without a tracking number says so: `tracking_number=UNTRACKED`."""
    shipment = lock_shipment(shipment_id)
    require_shipment(shipment, Shipment.State.PACKED)
    require(shipment.order, Kind.SHIPPED)
    if not (carrier and tracking_number):
        raise InvalidTransition(
            f"Shipment {shipment} is packed: to ship it takes a carrier and a tracking number, or untracked."
        )
    shipment.state = Shipment.State.SHIPPED
    shipment.carrier = carrier
    shipment.carrier_service = carrier_service
    shipment.tracking_number = "" if tracking_number == UNTRACKED else tracking_number
    shipment.tracking_url = tracking_url
    shipment.estimated_delivery_at = estimated_delivery_at
    shipment.shipped_at = now
    shipment.save()
    _count(shipment, shipped=1)
    fact = record(shipment.order, Kind.SHIPPED, actor=actor, now=now, shipment=shipment)
    promises.heed(shipment, actor=actor, now=now)
    demands = [Demand(content.level_id, content.quantity) for content in shipment.contents]
    stock.issue(demands, reference=shipment.public_id, actor=actor, now=now)
    return fact


@together()
def deliver(
    shipment_id: str,
    *,
    delivered_at: datetime,
    received_by: str = "",
    source: str = "staff",
    actor: str,
    now: datetime,
    collected_minor: int | None = None,
) -> OrderTransition:
    """A parcel has reached its customer. `collected_minor` is the cash the courier took; None: not known yet."""
    shipment = lock_shipment(shipment_id)
    shipment.received_by = received_by
    shipment.tracking_status = TrackingStatus.DELIVERED
    return arrive(
        shipment, delivered_at=delivered_at, source=source, actor=actor, now=now, collected_minor=collected_minor
    )


def arrive(
    shipment: Shipment,
    *,
    delivered_at: datetime,
    source: str,
    actor: str,
    now: datetime,
    collected_minor: int | None = None,
    is_all_collected: bool = False,
) -> OrderTransition:
    """`deliver`, for a caller that has the order's lock. `is_all_collected`: the courier took the cash in full."""
    order = shipment.order
    require_shipment(shipment, Shipment.State.SHIPPED)
    require(order, Kind.DELIVERED)
    shipment.state = Shipment.State.DELIVERED
    shipment.delivered_at = delivered_at
    shipment.delivery_source = source
    shipment.save()
    _count(shipment, delivered=1)
    cod_minor = _to_collect(shipment)
    if is_all_collected:
        collected_minor = cod_minor
    details = {"cod_minor": cod_minor, "cod_collected_minor": collected_minor}
    if collected_minor:
        payments.collect(order, amount_minor=collected_minor, reference=shipment.public_id, actor=actor, now=now)
    fact = record(order, Kind.DELIVERED, actor=actor, now=now, shipment=shipment, details=details)
    if collected_minor:
        payments.give_back(order, actor=actor, now=now)
    promises.heed(shipment, actor=actor, now=now)
    return fact


@together()
def bring_back(shipment_id: str, *, receipts: Sequence[Receipt], actor: str, now: datetime) -> OrderTransition:
    """A parcel did not reach its customer: `receipts` say the Fate of each of its units, and all of it is cancelled.

    The sellable go on sale again where they came from, the others are written off, and what was paid for them is asked
    to be given back. Raises InvalidTransition, OrderLine.DoesNotExist.
    """
    shipment = lock_shipment(shipment_id)
    require_shipment(shipment, Shipment.State.SHIPPED)
    require(shipment.order, Kind.SHIPMENT_RETURNED)
    _require_whole(shipment, receipts)
    is_lost = all(receipt.condition == Fate.LOST for receipt in receipts)
    shipment.state = Shipment.State.RETURNED
    shipment.tracking_status = TrackingStatus.LOST if is_lost else TrackingStatus.RETURNED
    shipment.returned_at = now
    shipment.save()
    _count(shipment, packed=-1, shipped=-1, cancelled=1)
    _take_out(shipment, "packed", "quantity")
    return _tell_and_refund(
        shipment, receipts, reason="lost" if is_lost else "returned_to_sender", actor=actor, now=now
    )


def _tell_and_refund(
    shipment: Shipment, receipts: Sequence[Receipt], *, reason: str, actor: str, now: datetime
) -> OrderTransition:
    """The rest of `bring_back`: what is told of the parcel tells already what has become of the order."""
    order = shipment.order
    units = {content.line: content.quantity for content in shipment.contents}
    by_line = {line.public_id: quantity for line, quantity in units.items()}
    checkout.write_off(order, units, actor=actor, now=now)
    received = [[receipt.line_id, receipt.quantity, Fate(receipt.condition)] for receipt in receipts]
    fact = record(
        order,
        Kind.SHIPMENT_RETURNED,
        actor=actor,
        now=now,
        reason=reason,
        shipment=shipment,
        details={"received": received},
    )
    record(order, Kind.CANCELLED, actor=actor, now=now, reason=reason, details={"units": by_line})
    refunds.give_back(order, units=by_line, reason=reason, actor=actor, now=now)
    stock.restock(_sellable(shipment, receipts), reference=shipment.public_id, actor=actor, now=now)
    return fact


def _require_whole(shipment: Shipment, receipts: Sequence[Receipt]) -> None:
    """Raise InvalidTransition unless the receipts are of all that is in the parcel, and of nothing else."""
    told: Counter[OrderLine] = Counter()
    for receipt in receipts:
        told[find_line(shipment.order, receipt.line_id)] += receipt.quantity
    inside = {content.line: content.quantity for content in shipment.contents}
    for line in {**inside, **told}:
        if told[line] != inside.get(line, 0) or any(receipt.quantity < 1 for receipt in receipts):
            raise InvalidTransition(
                f"Shipment {shipment} is {shipment.state} with {inside.get(line, 0)} of {line.sku}: say of each unit "
                f"what has become of it, not of {told[line]}."
            )


def _sellable(shipment: Shipment, receipts: Sequence[Receipt]) -> list[Demand]:
    levels = {content.line.public_id: content.level_id for content in shipment.contents}
    return [
        Demand(levels[receipt.line_id], receipt.quantity) for receipt in receipts if receipt.condition == Fate.SELLABLE
    ]


def _take(order: Order, quantities: Mapping[str, int] | None, warehouse: str | None) -> dict[Warehouse, list[_Taken]]:
    """What to pack, by warehouse. Raises InvalidTransition when that is nothing, or less than `quantities`."""
    still = unpacked_units(order, quantities)
    held = Allocation.objects.filter(line__in=list(still), packed__lt=F("quantity"))
    if warehouse is not None:
        held = held.filter(level__warehouse__code=warehouse)
    parcels: dict[Warehouse, list[_Taken]] = {}
    lines = {line.pk: line for line in still}
    for allocation in held.select_related("level__warehouse").order_by("level__warehouse__priority", "pk"):
        allocation.line = lines[allocation.line_id]
        if quantity := min(still[allocation.line], allocation.unpacked):
            still[allocation.line] -= quantity
            parcels.setdefault(allocation.level.warehouse, []).append(_Taken(allocation, quantity))
    if not parcels or (quantities is not None and any(still.values())):
        where = f" in {warehouse}" if warehouse else ""
        raise InvalidTransition(
            f"Order {order} is {order.fulfilment_status}: there is not that much left to pack{where}."
        )
    return parcels


def _fill(shipment: Shipment, taken: list[_Taken]) -> None:
    """Write a new parcel with its contents, and count them on the lines and the allocations (unwritten)."""
    shipment.save(force_insert=True)
    shipment.contents = ShipmentLine.objects.bulk_create(
        ShipmentLine(shipment=shipment, line=each.allocation.line, level=each.allocation.level, quantity=each.quantity)
        for each in taken
    )
    for each in taken:
        each.allocation.packed += each.quantity
        each.allocation.line.packed += each.quantity


def _write_packed(order: Order, parcels: Mapping[Warehouse, list[_Taken]]) -> None:
    OrderLine.objects.bulk_update(order.items, ["packed"])
    Allocation.objects.bulk_update([each.allocation for taken in parcels.values() for each in taken], ["packed"])


def _take_out(shipment: Shipment, *counters: str) -> None:
    """Take a parcel's units off these counters of the allocations that they came from."""
    units = {(content.line_id, content.level_id): content.quantity for content in shipment.contents}
    allocations = list(Allocation.objects.filter(line__in=[line_id for line_id, _ in units]))
    for allocation in allocations:
        taken = units.get((allocation.line_id, allocation.level_id), 0)
        for counter in counters:
            setattr(allocation, counter, getattr(allocation, counter) - taken)
    Allocation.objects.bulk_update(allocations, counters)


def _count(shipment: Shipment, **counters: int) -> None:
    """Add a parcel's units to counters of their lines, or with -1 take them off."""
    for content in shipment.contents:
        for counter, times in counters.items():
            setattr(content.line, counter, getattr(content.line, counter) + times * content.quantity)
    OrderLine.objects.bulk_update([content.line for content in shipment.contents], list(counters))


def _to_collect(shipment: Shipment) -> int | None:
    """The cash due at the door: the parcel's own worth, and with the last parcel all that is still open. None: none."""
    order = shipment.order
    if not order.is_cash_on_delivery:
        return None
    return order.outstanding_minor if shipment.order_complete else min(shipment.value_minor, order.outstanding_minor)
