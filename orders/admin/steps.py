"""What staff can do next with an order. A hint for the pages: whether it is done is decided by the verbs themselves."""

from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import AnonymousUser, User
from django.db.models import Exists, F, OuterRef

from inventory.money import display
from orders.admin.wording import NOTHING
from orders.models import Order, OrderLine, Shipment
from orders.models.order import OrderQuerySet

State = Order.State
ACTIVE = (Order.Status.CONFIRMED, Order.Status.PACKED, Order.Status.SHIPPED)


@dataclass(frozen=True)
class Verb:
    """`name` is also its permission, `orders.<name>_order`, and its address."""

    name: str
    label: str
    done: str

    def is_allowed(self, user: User | AnonymousUser) -> bool:
        return user.has_perm(f"orders.{self.name}_order")


CONFIRM = Verb("confirm", "Confirm", "Confirmed")
PACK = Verb("pack", "Mark packed", "Packed")
SHIP = Verb("ship", "Mark shipped", "Shipped")
DELIVER = Verb("deliver", "Mark delivered", "Delivered")
CANCEL = Verb("cancel", "Cancel", "Cancelled")


def with_work(orders: OrderQuerySet) -> OrderQuerySet:
    """Each with `to_pack`, `to_ship` and `to_deliver`: whether it has units or parcels that wait for it."""
    parcels = Shipment.objects.filter(order=OuterRef("pk"))
    unpacked = OrderLine.objects.filter(order=OuterRef("pk"), quantity__gt=F("packed") + F("cancelled"))
    return orders.annotate(
        to_pack=Exists(unpacked),
        to_ship=Exists(parcels.filter(state=Shipment.State.PACKED)),
        to_deliver=Exists(parcels.filter(state=Shipment.State.SHIPPED)),
    )


def possible(order: Any) -> list[Verb]:
    """Of an order of `with_work`: the first is what comes next, unless it is to cancel."""
    is_open = order.state in {State.PENDING, State.CONFIRMED}
    is_confirmed = order.state == State.CONFIRMED
    conditions = {
        CONFIRM: order.can_be_confirmed,
        PACK: is_confirmed and order.to_pack and not order.on_hold,
        SHIP: is_confirmed and order.to_ship,
        DELIVER: is_confirmed and order.to_deliver,
        CANCEL: is_open and order.fulfilment_status == Order.Fulfilment.UNFULFILLED,
    }
    return [verb for verb, condition in conditions.items() if condition]


def primary(order: Any) -> Verb | None:
    return next((verb for verb in possible(order) if verb is not CANCEL), None)


def next_step(order: Any) -> str:
    if verb := primary(order):
        return verb.label
    if order.state == State.PENDING:
        return "Wait for the payment"
    if order.state == State.CONFIRMED and order.outstanding_minor:
        return f"Collect {display(order.outstanding_minor, order.currency)}"
    return NOTHING
