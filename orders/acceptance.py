"""Taking an order on: it may be packed, and what it has reserved stays its own."""

from datetime import datetime

from orders.models import Allocation, Order, OrderTransition
from orders.transitions import InvalidTransition, Kind, record, require


def accept(order: Order, *, actor: str, now: datetime) -> OrderTransition:
    """Confirm an order. For a caller that has its lock."""
    require(order, Kind.CONFIRMED)
    if order.on_hold:
        raise InvalidTransition(f"Order {order} is on hold: release it first.")
    if not order.can_be_confirmed:
        raise InvalidTransition(f"Order {order} is {order.payment_status}: it can be confirmed once it is paid.")
    order.state = Order.State.CONFIRMED
    keep_stock(order)
    return record(order, Kind.CONFIRMED, actor=actor, now=now)


def keep_stock(order: Order) -> None:
    """What it has reserved expires no more. The order is left for the caller to write."""
    if order.hold_expires_at is not None:
        order.hold_expires_at = None
        Allocation.objects.filter(line__order=order).update(expires_at=None)
