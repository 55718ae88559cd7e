"""Delivered units that come back: opened by the customer or by staff, received by the warehouse, or closed."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain, islice, repeat

from django.db.models import Exists, F, Max, OuterRef, Q, QuerySet, Sum

from inventory import stock
from inventory.stock import Demand
from orders.models import Order, OrderLine, Refund, Return, ReturnLine, Shipment, ShipmentLine
from orders.models.returns import Condition
from orders.transitions import InvalidTransition, Kind, find_line, lock, record, require
from webhooks.sources import together

RETURN_WINDOW = timedelta(days=30)


@dataclass(frozen=True)
class Wish:
    """Units that somebody wants to send back."""

    line_id: str
    quantity: int
    reason: str = ""


@dataclass(frozen=True)
class Receipt:
    """Units that came back, in one condition."""

    line_id: str
    quantity: int
    condition: str


@together()
def open_return(order_id: str, *, wishes: Sequence[Wish], reason: str, actor: str, now: datetime) -> Return:
    """Expect delivered units back. Raises InvalidTransition, OrderLine.DoesNotExist."""
    return _open(lock(order_id), wishes=wishes, reason=reason, actor=actor, now=now)


@together()
def open_by_customer(token: str, *, wishes: Sequence[Wish], reason: str, now: datetime) -> Return:
    """`open_return`, by the order's tracking token: within RETURN_WINDOW of the last parcel's delivery."""
    order = lock(Order.objects.values_list("public_id", flat=True).get(tracking_token=token))
    delivered_at = order.shipments.aggregate(latest=Max("delivered_at"))["latest"]
    if delivered_at is not None and now > delivered_at + RETURN_WINDOW:
        until = delivered_at + RETURN_WINDOW
        raise InvalidTransition(f"Order {order} is {order.status}, and could be sent back until {until:%-d %B %Y}.")
    return _open(order, wishes=wishes, reason=reason, actor="customer", now=now)


@together()
def receive_return(return_id: str, *, receipts: Sequence[Receipt], actor: str, now: datetime) -> Return:
    """Count units that came back: the sellable ones go on sale again where they came from, the damaged are lost.

    Raises InvalidTransition, OrderLine.DoesNotExist.
    """
    goods_return = _lock(return_id)
    order = goods_return.order
    require(order, Kind.RETURN_RECEIVED)
    restocked = [demand for receipt in receipts for demand in _take_in(goods_return, receipt)]
    ReturnLine.objects.bulk_update(goods_return.contents, [*Condition])
    OrderLine.objects.bulk_update([content.line for content in goods_return.contents], ["returned"])
    is_complete = not any(content.awaited for content in goods_return.contents)
    goods_return.state = Return.State.RECEIVED if is_complete else Return.State.PARTIALLY_RECEIVED
    goods_return.received_at = now
    goods_return.received_by = actor
    goods_return.save()
    # What was never paid for, and is back, is not owed any more. What was paid is for a refund.
    order.credited_minor += min(_worth(order, receipts), order.outstanding_minor)
    received = [[receipt.line_id, receipt.quantity, receipt.condition] for receipt in receipts]
    record(order, Kind.RETURN_RECEIVED, actor=actor, now=now, goods_return=goods_return, details={"received": received})
    stock.restock(restocked, reference=goods_return.public_id, actor=actor, now=now)
    return goods_return


@together()
def close(return_id: str, *, actor: str, now: datetime) -> Return:
    """Await no more of a return. What never came, and was not paid back, can be sent back in another one.

    Raises InvalidTransition, also while a refund of it is under way: its units may yet be paid back.
    """
    goods_return = _lock(return_id)
    order = goods_return.order
    require(order, Kind.RETURN_CLOSED)
    if goods_return.is_complete:
        raise InvalidTransition(f"Return {goods_return} is {goods_return.state}: nothing of it is awaited.")
    paid_back = _paid_back(goods_return)
    never_came = {content.line.public_id: content.awaited for content in goods_return.contents if content.awaited}
    for content in goods_return.contents:
        content.let_go = content.quantity - max(content.received, paid_back[content.line.public_id])
    ReturnLine.objects.bulk_update(goods_return.contents, ["let_go"])
    goods_return.state = Return.State.CLOSED
    kept_minor = sum(content.line.unit_minor * content.kept for content in goods_return.contents)
    goods_return.expected_refund_minor = min(goods_return.expected_refund_minor, kept_minor)
    goods_return.save()
    record(order, Kind.RETURN_CLOSED, actor=actor, now=now, goods_return=goods_return, details={"units": never_came})
    return goods_return


def unrefunded() -> QuerySet[Return]:
    """Those that came and are worth money, since when none of it was given back or asked for."""
    refunds = Refund.objects.filter(order=OuterRef("order")).exclude(state=Refund.State.FAILED)
    since = refunds.filter(Q(goods_return=OuterRef("pk")) | Q(requested_at__gte=OuterRef("received_at")))
    return Return.objects.filter(~Exists(since), received_at__isnull=False, expected_refund_minor__gt=0)


def returnable(order: Order) -> dict[OrderLine, int]:
    """How many units of each line are with the customer, and in no return yet. One query."""
    of_lines = ReturnLine.objects.filter(line__in=order.items).order_by().values_list("line")
    announced: dict[int, int] = dict(of_lines.annotate(total=Sum(F("quantity") - F("let_go"))))
    return {line: line.delivered - announced.get(line.pk, 0) for line in order.items}


def _open(order: Order, *, wishes: Sequence[Wish], reason: str, actor: str, now: datetime) -> Return:
    require(order, Kind.RETURN_INITIATED)
    wanted = {find_line(order, wish.line_id): wish for wish in wishes}
    _require_delivered(order, {line: wish.quantity for line, wish in wanted.items()})
    goods_return = Return.objects.create(
        order=order,
        number=f"{order}-R{order.returns.count() + 1}",
        reason=reason,
        expected_refund_minor=min(_worth(order, wishes), order.refundable_minor),
        initiated_at=now,
        initiated_by=actor,
    )
    goods_return.contents = ReturnLine.objects.bulk_create(
        ReturnLine(goods_return=goods_return, line=line, quantity=wish.quantity, reason=wish.reason)
        for line, wish in wanted.items()
    )
    record(order, Kind.RETURN_INITIATED, actor=actor, now=now, reason=reason, goods_return=goods_return)
    return goods_return


def _paid_back(goods_return: Return) -> Counter[str]:
    """The units of a return that were paid back, by line public id. Raises InvalidTransition while some may yet be."""
    units: Counter[str] = Counter()
    for refund in goods_return.order.refunds.filter(goods_return=goods_return).exclude(state=Refund.State.FAILED):
        if refund.state == Refund.State.REQUESTED:
            raise InvalidTransition(f"Return {goods_return} has a refund under way: say first what came of {refund}.")
        units.update(refund.units)
    return units


def _require_delivered(order: Order, units: dict[OrderLine, int]) -> None:
    """Raise InvalidTransition unless so many are with the customer, and in no other return."""
    if not units:
        raise InvalidTransition(f"Order {order} is {order.status}: say which units are sent back.")
    left = returnable(order)
    for line, quantity in units.items():
        if not 1 <= quantity <= left[line]:
            raise InvalidTransition(
                f"Order {order} is {order.status}: {left[line]} of {line} can be sent back, not {quantity}."
            )


def _lock(return_id: str) -> Return:
    """A return whose order is held until the transaction ends. Raises Return.DoesNotExist."""
    order = lock(Return.objects.values_list("order__public_id", flat=True).get(public_id=return_id))
    goods_return = order.returns.get(public_id=return_id)
    goods_return.order = order
    return goods_return


def _take_in(goods_return: Return, receipt: Receipt) -> list[Demand]:
    """Count a receipt on the return and its line (unwritten), and say what of it goes on sale again, and where."""
    line = find_line(goods_return.order, receipt.line_id)
    content = next((each for each in goods_return.contents if each.line == line), None)
    awaited = content.awaited if content else 0
    if content is None or not 1 <= receipt.quantity <= awaited:
        raise InvalidTransition(
            f"Return {goods_return} is {goods_return.state}: {awaited} of {line} are awaited, not {receipt.quantity}."
        )
    origins = _origins(line, receipt.quantity)
    condition = Condition(receipt.condition)
    setattr(content, condition, getattr(content, condition) + receipt.quantity)
    line.returned += receipt.quantity
    return origins if condition == Condition.SELLABLE else []


def _origins(line: OrderLine, quantity: int) -> list[Demand]:
    """The stock levels that the next units to come back had left: of several, those of the first parcel first."""
    delivered = ShipmentLine.objects.filter(line=line, shipment__state=Shipment.State.DELIVERED).order_by("pk")
    levels = chain.from_iterable(repeat(content.level_id, content.quantity) for content in delivered)
    counted = Counter(islice(levels, line.returned, line.returned + quantity))
    return [Demand(level_id, units) for level_id, units in counted.items()]


def _worth(order: Order, units: Sequence[Wish] | Sequence[Receipt]) -> int:
    return sum(find_line(order, each.line_id).unit_minor * each.quantity for each in units)
