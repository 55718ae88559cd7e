"""What every verb on an order shares: take its lock, keep its history, refuse in words."""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from django.db import IntegrityError
from django.db.models import F

from orders.models import Order, OrderLine, OrderTransition, Refund, Return, Shipment
from webhooks.sources import DomainError

Kind = OrderTransition.Kind
Given = ParamSpec("Given")
Answer = TypeVar("Answer")

# The states an order may be in for each step to be taken.
ALLOWED_FROM: Mapping[Kind, frozenset[Order.State]] = {
    Kind.CONFIRMED: frozenset({Order.State.PENDING}),
    Kind.PACKED: frozenset({Order.State.CONFIRMED}),
    Kind.UNPACKED: frozenset({Order.State.CONFIRMED}),
    Kind.SHIPPED: frozenset({Order.State.CONFIRMED}),
    Kind.DELIVERED: frozenset({Order.State.CONFIRMED}),
    Kind.SHIPMENT_RETURNED: frozenset({Order.State.CONFIRMED}),
    Kind.CANCELLED: frozenset({Order.State.PENDING, Order.State.CONFIRMED}),
    Kind.RETURN_INITIATED: frozenset({Order.State.CONFIRMED, Order.State.COMPLETED}),
    Kind.RETURN_RECEIVED: frozenset({Order.State.CONFIRMED, Order.State.COMPLETED}),
    Kind.RETURN_CLOSED: frozenset({Order.State.CONFIRMED, Order.State.COMPLETED}),
    # Money may come, and go back, whatever has become of the order.
    Kind.REFUND_REQUESTED: frozenset(Order.State),
    Kind.REFUND_PROCESSED: frozenset(Order.State),
    Kind.REFUND_FAILED: frozenset(Order.State),
    Kind.HELD: frozenset({Order.State.PENDING, Order.State.CONFIRMED}),
    Kind.RELEASED: frozenset({Order.State.PENDING, Order.State.CONFIRMED, Order.State.COMPLETED}),
    Kind.WINDOW_CHANGED: frozenset({Order.State.PENDING, Order.State.CONFIRMED}),
}

# What verbs change. Everything else about an order is as it was placed.
_MUTABLE = (
    "state",
    "fulfilment_status",
    "payment_status",
    "on_hold",
    "status",
    "cancelled_minor",
    "credited_minor",
    "authorised_minor",
    "paid_minor",
    "refunded_minor",
    "refund_pending_minor",
    "hold_expires_at",
    "shipment_count",
    "ship_by_at",
    "promised_from",
    "promised_to",
    "pledged_from",
    "pledged_to",
)


class InvalidTransition(DomainError):
    """The order's present state, which the message names, does not allow the step."""

    code = "invalid_transition"


def lock(order_id: str) -> Order:
    """The order, held until the transaction ends. Raises Order.DoesNotExist.

    SQLite has no row locks: there `store` is what refuses the loser of a race.
    """
    order = Order.objects.select_for_update(of=("self",)).select_related("customer").get(public_id=order_id)
    order.status_before = order.status
    return order


def lock_shipment(shipment_id: str) -> Shipment:
    """A shipment whose order is held until the transaction ends. Raises Shipment.DoesNotExist."""
    locked = Order.objects.select_for_update(of=("self",)).select_related("customer")
    order = locked.filter(shipments__public_id=shipment_id).first()
    # Read after the lock: before it, the row may be that of a race still running.
    shipment = Shipment.objects.select_related("warehouse").get(public_id=shipment_id)
    if order is not None:
        order.status_before = order.status
        shipment.order = order
    return shipment


def look_again(verb: Callable[Given, Answer]) -> Callable[Given, Answer]:
    """Take a verb, which is a transaction of its own, once more where a constraint refuses what it writes.

    A reference may be told of two orders at the same moment. Each has a lock of its own, so that neither verb sees the
    other's row before that is committed: then it does, and says what is wrong.
    """

    @wraps(verb)
    def take(*args: Given.args, **kwargs: Given.kwargs) -> Answer:
        try:
            return verb(*args, **kwargs)
        except IntegrityError:
            return verb(*args, **kwargs)

    return take


def require(order: Order, kind: Kind) -> None:
    """Raise InvalidTransition unless the order's state allows this step."""
    allowed = ALLOWED_FROM[kind]
    if order.state not in allowed:
        words = " or ".join(sorted(allowed))
        raise InvalidTransition(f"Order {order} is {order.state}, not {words}.")


def require_shipment(shipment: Shipment, state: Shipment.State) -> None:
    if shipment.state != state:
        raise InvalidTransition(f"Shipment {shipment} is {shipment.state}, not {state}.")


def unpacked_units(order: Order, quantities: Mapping[str, int] | None) -> dict[OrderLine, int]:
    """The lines that `quantities` names by public id, with how many; None: all that is not packed yet.

    Raises OrderLine.DoesNotExist, and InvalidTransition when that is nothing, or more than is left.
    """
    if quantities is None:
        units = {line: line.unpacked for line in order.items if line.unpacked}
    else:
        units = {find_line(order, line_id): quantity for line_id, quantity in quantities.items()}
    if not units:
        raise InvalidTransition(f"Order {order} is {order.fulfilment_status}: no units are left to pack or cancel.")
    for line, quantity in units.items():
        if not 1 <= quantity <= line.unpacked:
            raise InvalidTransition(
                f"Order {order} is {order.fulfilment_status}: {line.unpacked} of {line} are left, not {quantity}."
            )
    return units


def find_line(order: Order, line_id: str) -> OrderLine:
    for line in order.items:
        if line.public_id == line_id:
            return line
    raise OrderLine.DoesNotExist(f"Order {order} has no line {line_id}.")


def store(order: Order, *, now: datetime) -> None:
    """Write what a verb changed, unless somebody else has written the order since it was locked."""
    changes = {name: getattr(order, name) for name in _MUTABLE}
    unchanged = Order.objects.filter(pk=order.pk, version=order.version)
    if not unchanged.update(**changes, version=F("version") + 1, updated_at=now):
        raise InvalidTransition(f"Order {order} was changed by somebody else just now. Look at it again.")
    order.version += 1
    order.updated_at = now


def record(
    order: Order,
    kind: Kind,
    *,
    actor: str,
    now: datetime,
    reason: str = "",
    shipment: Shipment | None = None,
    goods_return: Return | None = None,
    refund: Refund | None = None,
    details: dict[str, Any] | None = None,
) -> OrderTransition:
    """Roll the order up, write it and add the step to its history, which tells the world."""
    before = order.status if order.status_before is None else order.status_before
    order.roll_up()
    store(order, now=now)
    order.status_before = order.status
    return OrderTransition.objects.create(
        order=order,
        kind=kind,
        shipment=shipment,
        goods_return=goods_return,
        refund=refund,
        from_status=before,
        to_status=order.status,
        actor=actor,
        reason=reason,
        details=details or {},
        at=now,
    )
