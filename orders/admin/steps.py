"""What staff can do next with an order. A hint for the pages: whether it is done is decided by the verbs themselves."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import AnonymousUser, User
from django.db.models import Exists, F, OuterRef, Q

from inventory.money import display
from orders import returns
from orders.models import Order, OrderLine, Shipment
from orders.models.order import OrderQuerySet
from orders.models.shipment import NOT_TO_ARRIVE
from webhooks.wording import NOTHING

State = Order.State
ACTIVE = (Order.Status.CONFIRMED, Order.Status.PACKED, Order.Status.SHIPPED)
PAYABLE = (Order.PaymentStatus.PAID, Order.PaymentStatus.AUTHORISED, Order.PaymentStatus.COD_PENDING)


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
UNPACK = Verb("unpack", "Unpack", "Unpacked")
SHIP = Verb("ship", "Mark shipped", "Shipped")
DELIVER = Verb("deliver", "Mark delivered", "Delivered")
BRING_BACK = Verb("bring_back", "Bring back", "Brought back")
TRACK = Verb("deliver", "Add courier update", "Courier update added")
PAY = Verb("pay", "Record payment", "Payment recorded")
COLLECT = Verb("collect", "Record cash collected", "Cash recorded")
RETURN = Verb("return", "Open return", "Return opened")
RECEIVE = Verb("return", "Receive", "Received")
CLOSE = Verb("return", "Close", "Closed")
REFUND = Verb("refund", "Refund", "Refund requested")
SETTLE = Verb("refund", "Tell what came of it", "Recorded")
HOLD = Verb("hold", "Put on hold", "Put on hold")
RELEASE = Verb("release", "Release", "Released")
CANCEL = Verb("cancel", "Cancel", "Cancelled")
# What is possible at any time, and never what comes next.
ASIDE = (PAY, RETURN, REFUND, HOLD, CANCEL)
# Parcels whose courier still has them, as far as we know.
ON_THE_ROAD = Q(state=Shipment.State.SHIPPED) & ~Q(tracking_status__in=NOT_TO_ARRIVE)


def with_work(orders: OrderQuerySet) -> OrderQuerySet:
    """Each with `to_pack`, `to_ship`, …: whether units, parcels or returns wait for that step."""
    parcels = Shipment.objects.filter(order=OuterRef("pk"))
    unpacked = OrderLine.objects.filter(order=OuterRef("pk"), quantity__gt=F("packed") + F("cancelled"))
    return orders.annotate(
        to_pack=Exists(unpacked),
        to_ship=Exists(parcels.filter(state=Shipment.State.PACKED)),
        to_deliver=Exists(parcels.filter(ON_THE_ROAD)),
        to_bring_back=Exists(parcels.filter(state=Shipment.State.SHIPPED, tracking_status__in=NOT_TO_ARRIVE)),
        to_refund=Exists(returns.unrefunded().filter(order=OuterRef("pk"))),
    )


# By the name of the step, of orders of `with_work`: what staff have to do something about.
WAITING: Mapping[str, tuple[str, Q]] = {
    "confirm": ("To confirm", Q(status=Order.Status.PENDING, payment_status__in=PAYABLE)),
    "pack": ("To pack", Q(status__in=ACTIVE, to_pack=True, on_hold=False)),
    "ship": ("To ship", Q(status__in=ACTIVE, to_ship=True)),
    "bring_back": ("To bring back", Q(status__in=ACTIVE, to_bring_back=True)),
    "deliver": ("To deliver", Q(status__in=ACTIVE, to_deliver=True)),
}


def possible(order: Any) -> list[Verb]:
    """Of an order of `with_work`: the first is what comes next, unless it is ASIDE."""
    is_open = order.state in {State.PENDING, State.CONFIRMED}
    is_confirmed = order.state == State.CONFIRMED
    has_arrived = order.fulfilment_status in {Order.Fulfilment.PARTIALLY_DELIVERED, Order.Fulfilment.DELIVERED}
    conditions = {
        BRING_BACK: is_confirmed and order.to_bring_back,
        RELEASE: order.on_hold,
        CONFIRM: order.can_be_confirmed,
        PACK: is_confirmed and order.to_pack and not order.on_hold,
        SHIP: is_confirmed and order.to_ship,
        DELIVER: is_confirmed and order.to_deliver,
        PAY: not order.is_cash_on_delivery and order.outstanding_minor,
        COLLECT: is_confirmed and has_arrived and order.is_cash_on_delivery and order.outstanding_minor,
        RETURN: has_arrived,
        REFUND: order.refundable_minor,
        HOLD: is_open and order.to_pack,
        CANCEL: is_open and order.fulfilment_status == Order.Fulfilment.UNFULFILLED,
    }
    return [verb for verb, condition in conditions.items() if condition]


def primary(order: Any) -> Verb | None:
    steps = possible(order)
    refund = REFUND if order.to_refund and REFUND in steps else None
    return next((verb for verb in steps if verb not in ASIDE), refund)


def next_step(order: Any) -> str:
    if verb := primary(order):
        return verb.label
    if order.overpaid_minor:
        return f"Refund {display(order.overpaid_minor, order.currency)}"
    if order.refund_pending_minor:
        return f"Send {display(order.refund_pending_minor, order.currency)} back"
    if order.state == State.PENDING:
        return "Wait for the payment"
    if order.state == State.CONFIRMED and order.outstanding_minor:
        return f"Wait for {display(order.outstanding_minor, order.currency)}"
    return NOTHING
