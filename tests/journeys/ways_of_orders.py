"""The ways in which something happens to an order, from its placing to its doorstep."""

from collections.abc import Callable
from typing import Any

from django.utils import timezone

from orders import checkout, holds
from orders.models import Allocation, HoldRule, Order, Shipment
from tests.bodies import CART
from tests.factories import confirm_order, make_product
from tests.journeys.faces import (
    IN_A_MONTH,
    SHIP,
    Act,
    Faces,
    confirmed,
    held,
    in_cash,
    lines,
    of,
    on,
    packed,
    payment,
    placed,
    shipped,
    stripe,
    way,
)


@way("order.created", "api")
def _place(faces: Faces) -> tuple[Act, str]:
    make_product("MUG")
    return lambda: faces.api("orders/", CART), ""


on("order.confirmed", "api", in_cash, lambda f, o: f.api(f"orders/{o.public_id}/confirm/"))
on("order.confirmed", "api (payment)", placed, lambda f, o: f.api(f"orders/{o.public_id}/payments/", payment(o)))
on("order.confirmed", "admin", in_cash, lambda f, o: f.press("confirm", o))
on("order.confirmed", "admin (payment)", placed, lambda f, o: f.ask("pay", o, method="cash", amount="", reference="7"))
on("order.confirmed", "inbound", placed, lambda f, o: f.message("stripe", stripe("payment_intent_succeeded", o)))
on("order.packed", "api", confirmed, lambda f, o: f.api(f"fulfilment/orders/{o.public_id}/pack/"))
on("order.packed", "admin", confirmed, lambda f, o: f.press("pack", o))
on("order.packed", "inbound", confirmed, lambda f, o: f.message("standard", of(o, "standard_shipment_packed")))
on("order.unpacked", "api", packed, lambda f, s: f.api(f"fulfilment/shipments/{s.public_id}/unpack/"))
on("order.unpacked", "admin", packed, lambda f, s: f.admin(f"orders/shipment/{s.pk}/unpack/", {}))
on("order.shipped", "api", packed, lambda f, s: f.api(f"fulfilment/shipments/{s.public_id}/ship/", SHIP))
on("order.shipped", "inbound", packed, lambda f, s: f.message("standard", of(s.order, "standard_shipment_shipped")))
on("order.delivered", "api", shipped, lambda f, s: f.api(f"fulfilment/shipments/{s.public_id}/deliver/"))
on("order.delivered", "admin", shipped, lambda f, s: f.press("deliver", s.order))


def brought_back(shipment: Shipment) -> dict[str, Any]:
    """One of its two units, and the other is lost."""
    conditions = [lines(shipment.order, condition=condition) for condition in ("sellable", "lost")]
    return {"lines": [line for told in conditions for line in told]}


def bring_back_in_admin(faces: Faces, shipment: Shipment) -> None:
    (content,) = shipment.contents
    answers = {f"line-{content.pk}-sellable": "1", f"line-{content.pk}-lost": "1"}
    faces.admin(f"orders/shipment/bring-back/?parcel={shipment.pk}", answers)


for told_of in ("order.shipment.returned", "order.cancelled", "order.refund.requested"):
    on(told_of, "admin (bring back)", shipped, bring_back_in_admin)
    on(
        told_of,
        "api (bring back)",
        shipped,
        lambda f, s: f.api(f"fulfilment/shipments/{s.public_id}/bring-back/", brought_back(s)),
    )


@way("order.shipped", "admin")
def _ship(faces: Faces) -> tuple[Act, str]:
    parcel = packed(faces)
    answers = {f"{parcel.public_id}-{name}": value for name, value in SHIP.items()}
    return lambda: faces.ask("ship", parcel.order, parcel=[parcel.public_id], **answers), parcel.order.public_id


def scan(shipment: Shipment, status: str, **more: Any) -> dict[str, Any]:
    return {"status": status, "occurred_at": shipment.order.placed_at.isoformat()} | more


def scanned(status: str, **more: Any) -> Callable[[Faces, Any], object]:
    return lambda f, s: f.api(f"fulfilment/shipments/{s.public_id}/tracking/", scan(s, status, **more))


def by_courier(name: str, **fields: Any) -> Callable[[Faces, Any], object]:
    return lambda f, s: f.message("standard", of(s.order, name, tracking_number="JD01", **fields))


on("order.delivered", "api (scan)", shipped, scanned("delivered"))
on("order.delivered", "inbound", shipped, by_courier("standard_shipment_delivered"))
on("order.tracking.updated", "api", shipped, scanned("in_transit"))
SCANNED = {"occurred_at": f"{timezone.now():%Y-%m-%dT%H:%M}"}


def scanned_by_staff(status: str) -> Callable[[Faces, Any], object]:
    return lambda f, s: f.admin(f"orders/shipment/scan/?parcel={s.pk}", SCANNED | {"status": status})


on("order.tracking.updated", "admin", shipped, scanned_by_staff("in_transit"))
on("order.tracking.exception", "admin", shipped, scanned_by_staff("attempt_failed"))
on("order.delivered", "admin (scan)", shipped, scanned_by_staff("delivered"))
on("order.tracking.updated", "inbound", shipped, by_courier("standard_tracking_updated"))
on("order.tracking.exception", "api", shipped, scanned("attempt_failed"))
on("order.tracking.exception", "inbound", shipped, by_courier("standard_tracking_updated", status="attempt_failed"))


def expire(faces: Faces, order: Order) -> None:
    Order.objects.filter(pk=order.pk).update(hold_expires_at=faces.now - IN_A_MONTH)
    checkout.expire_due()


CANCEL = {"reason": "Changed her mind"}
on("order.cancelled", "api", placed, lambda f, o: f.api(f"orders/{o.public_id}/cancel/", CANCEL))
on(
    "order.cancelled",
    "api (verdict)",
    held,
    lambda f, o: f.api(f"orders/{o.public_id}/verdict/", {"verdict": "reject"}),
)
on("order.cancelled", "shopper (page)", placed, lambda f, o: f.shopper.post(f"/track/{o.tracking_token}/cancel/"))
on("order.cancelled", "shopper", placed, lambda f, o: f.api(f"track/{o.tracking_token}/cancel/", by=f.shopper))
on("order.cancelled", "admin", placed, lambda f, o: f.ask("cancel", o, **CANCEL))
on("order.cancelled", "timer", placed, expire)

HOLD = {"kind": "manual", "reason": "Call first"}
on("order.held", "api", placed, lambda f, o: f.api(f"orders/{o.public_id}/hold/", HOLD))
on("order.held", "admin", placed, lambda f, o: f.ask("hold", o, **HOLD))
on("order.released", "api", held, lambda f, o: f.api(f"orders/{o.public_id}/release/"))
on("order.released", "admin", held, lambda f, o: f.press("release", o))

on("order.packed", "admin (some units)", confirmed, lambda f, o: f.count("pack", o, package_count="1"))
on("order.packed", "admin (list)", confirmed, lambda f, o: f.choose("orders/order", "mark_packed", o))
on("order.cancelled", "admin (some units)", placed, lambda f, o: f.count("cancel", o, **CANCEL))


def sold_again(faces: Faces, order: Order) -> None:
    """Nobody paid in time, and no timer runs: the next buyer needs what it holds."""
    past = faces.now - IN_A_MONTH
    Order.objects.filter(pk=order.pk).update(hold_expires_at=past)
    Allocation.objects.filter(line__order=order).update(expires_at=past)
    faces.api("orders/", CART | {"lines": [{"sku": "MUG", "quantity": 10}]})


on("order.cancelled", "api (order)", placed, sold_again)


def held_in_cash(faces: Faces) -> Order:
    order = in_cash(faces)
    holds.place(order.public_id, kind="fraud", reason="Odd", actor="ann", now=faces.now)
    return order


on("order.confirmed", "api (release)", held_in_cash, lambda f, o: f.api(f"orders/{o.public_id}/release/"))
on("order.confirmed", "admin (release)", held_in_cash, lambda f, o: f.press("release", o))
for told_of in ("order.confirmed", "order.released"):
    on(
        told_of,
        "api (verdict)",
        held_in_cash,
        lambda f, o: f.api(f"orders/{o.public_id}/verdict/", {"verdict": "accept"}),
    )


def ruled(faces: Faces) -> Order:
    HoldRule.objects.create(name="Failed once", test="failed_payments", count=1, kind="payment")
    return placed(faces)


DECLINED = {"result": "failed", "failure_code": "declined"}
on("order.held", "rule", ruled, lambda f, o: f.api(f"orders/{o.public_id}/payments/", payment(o, **DECLINED)))
on("order.held", "rule (inbound)", ruled, lambda f, o: f.message("stripe", stripe("payment_intent_failed", o)))


@way("order.held", "rule (order)")
def _hold_at_once(faces: Faces) -> tuple[Act, str]:
    make_product("MUG")
    HoldRule.objects.create(name="Here", test="ships_to", countries=[CART["shipping_address"]["country"]])
    return lambda: faces.api("orders/", CART), ""


LATE = {"estimated_delivery_at": (timezone.now() + IN_A_MONTH).isoformat()}
on(
    "order.delivery_window.changed",
    "api",
    packed,
    lambda f, s: f.api(f"fulfilment/shipments/{s.public_id}/ship/", SHIP | LATE),
)
on("order.delivery_window.changed", "api (scan)", shipped, scanned("in_transit", **LATE))
on("order.delivery_window.changed", "inbound", shipped, by_courier("standard_tracking_updated", **LATE))


def held_for_long(faces: Faces) -> Order:
    make_product("MUG")
    order = confirm_order(("MUG", 2), now=faces.now - IN_A_MONTH)
    holds.place(order.public_id, kind="address", reason="No such street", actor="ann", now=faces.now - IN_A_MONTH)
    return order


WINDOW = "order.delivery_window.changed"
on(WINDOW, "api (release)", held_for_long, lambda f, o: f.api(f"orders/{o.public_id}/release/"))
on(WINDOW, "admin (release)", held_for_long, lambda f, o: f.press("release", o))


@way(WINDOW, "admin")
def _ship_for_later(faces: Faces) -> tuple[Act, str]:
    parcel = packed(faces)
    later = SHIP | {"estimated_delivery_at": f"{faces.now + IN_A_MONTH:%Y-%m-%dT%H:%M}"}
    answers = {f"{parcel.public_id}-{name}": value for name, value in later.items()}
    return lambda: faces.ask("ship", parcel.order, parcel=[parcel.public_id], **answers), parcel.order.public_id
