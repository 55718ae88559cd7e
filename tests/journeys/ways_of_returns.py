"""The ways in which money is paid, and money and goods come back."""

from typing import Any

from inventory.money import to_text
from orders import checkout
from orders.models import Order, Refund, Shipment
from tests.factories import make_product, ship_order
from tests.inbound.senders import load
from tests.journeys.faces import (
    RESULT,
    Faces,
    confirmed,
    delivered,
    lines,
    of,
    on,
    payment,
    placed,
    refunding,
    sent_back,
    stripe,
    units_of,
)
from tests.journeys.ways_of_orders import CANCEL


def wish(order: Order) -> dict[str, Any]:
    return {"reason": "Too small", "lines": lines(order)}


def receipt(order: Order) -> dict[str, Any]:
    return {"lines": lines(order, condition="sellable")}


WISHED = {"amount": "1.00", "currency": "EUR", "reason": "Scratched"}
on("order.return.initiated", "api", delivered, lambda f, o: f.api(f"orders/{o.public_id}/returns/", wish(o)))
on(
    "order.return.initiated",
    "shopper",
    delivered,
    lambda f, o: f.api(f"track/{o.tracking_token}/returns/", wish(o), by=f.shopper),
)
on(
    "order.return.received",
    "api",
    sent_back,
    lambda f, r: f.api(f"returns/{r.public_id}/receive/", receipt(r.order)),
)
on("order.return.closed", "api", sent_back, lambda f, r: f.api(f"returns/{r.public_id}/close/"))
on("order.return.closed", "admin", sent_back, lambda f, r: f.admin(f"orders/return/{r.pk}/close/", {}))
on("order.refund.requested", "api", confirmed, lambda f, o: f.api(f"orders/{o.public_id}/refunds/", WISHED))
on("order.refund.processed", "api", refunding, lambda f, r: f.api(f"refunds/{r.public_id}/result/", RESULT))
on("order.refund.failed", "api", refunding, lambda f, r: f.api(f"refunds/{r.public_id}/result/", {"result": "failed"}))
on("payment.success", "api", placed, lambda f, o: f.api(f"orders/{o.public_id}/payments/", payment(o)))
on("payment.success", "admin", placed, lambda f, o: f.ask("pay", o, method="cash", amount="", reference="till-7"))
on("payment.success", "inbound", placed, lambda f, o: f.message("stripe", stripe("payment_intent_succeeded", o)))
on(
    "payment.failed",
    "api",
    placed,
    lambda f, o: f.api(f"orders/{o.public_id}/payments/", payment(o, result="failed", failure_code="declined")),
)
on("payment.failed", "inbound", placed, lambda f, o: f.message("stripe", stripe("payment_intent_failed", o)))


def give_back_in_admin(faces: Faces, order: Order) -> None:
    faces.admin(f"orders/return/open/?order={order.pk}", {"reason": "Too small"} | units_of(order))


def receive_in_admin(faces: Faces, goods_return: Any) -> None:
    (content,) = goods_return.contents
    answers = {f"line-{content.pk}-sellable": "1", f"line-{content.pk}-damaged": "0"}
    faces.admin(f"orders/return/receive/?return={goods_return.pk}", answers)


def settle(faces: Faces, refund: Refund, **answers: str) -> None:
    told = {f"{refund.public_id}-{name}": value for name, value in answers.items()}
    faces.admin(f"orders/refund/settle/?refund={refund.pk}", told)


def stripe_refund(name: str, refund: Refund) -> dict[str, Any]:
    body = load(f"stripe_{name}")
    body["data"]["object"] |= {
        "amount": refund.amount_minor,
        "payment_intent": refund.payment.gateway_reference,
        "metadata": {"refund_id": refund.public_id},
    }
    return body


def cancelled(faces: Faces) -> Order:
    order = placed(faces)
    checkout.cancel(order.public_id, reason="Gone", actor="ann", now=faces.now)
    return order


def cash_at_the_door(order: Order) -> dict[str, Any]:
    return {"cod_collected_amount": to_text(order.total_minor, order.currency), "currency": order.currency}


def shipped_in_cash(faces: Faces) -> Shipment:
    make_product("MUG")
    return ship_order(("MUG", 2), method="cod", now=faces.now)


on("order.return.initiated", "admin", delivered, give_back_in_admin)
on(
    "order.return.initiated",
    "shopper (page)",
    delivered,
    lambda f, o: f.shopper.post(
        f"/track/{o.tracking_token}/return/", {"reason": "It does not fit", o.items[0].public_id: "1"}
    ),
)
on("order.return.received", "admin", sent_back, receive_in_admin)
on(
    "order.refund.requested",
    "admin",
    confirmed,
    lambda f, o: f.admin(f"orders/refund/ask/?order={o.pk}", {"amount": "1.00", "reason": "Scratched"}),
)
on("order.refund.requested", "api (cancel)", confirmed, lambda f, o: f.api(f"orders/{o.public_id}/cancel/", CANCEL))
on("order.refund.requested", "admin (cancel)", confirmed, lambda f, o: f.ask("cancel", o, **CANCEL))
on(
    "order.refund.requested",
    "shopper",
    confirmed,
    lambda f, o: f.shopper.post(f"/track/{o.tracking_token}/cancel/"),
)
on(
    "order.refund.requested",
    "inbound (late)",
    cancelled,
    lambda f, o: f.message("stripe", stripe("payment_intent_succeeded", o)),
)
on(
    "order.refund.processed",
    "admin",
    refunding,
    lambda f, r: settle(f, r, result="processed", gateway_reference="bank-17"),
)
on("order.refund.processed", "inbound", refunding, lambda f, r: f.message("stripe", stripe_refund("refund_updated", r)))
on("order.refund.failed", "admin", refunding, lambda f, r: settle(f, r, result="failed", failure_message="Closed"))
on("order.refund.failed", "inbound", refunding, lambda f, r: f.message("stripe", stripe_refund("refund_failed", r)))
on(
    "payment.success",
    "api (at the door)",
    shipped_in_cash,
    lambda f, s: f.api(f"fulfilment/shipments/{s.public_id}/deliver/", cash_at_the_door(s.order)),
)
on(
    "payment.success",
    "inbound (at the door)",
    shipped_in_cash,
    lambda f, s: f.message(
        "standard",
        of(s.order, "standard_shipment_delivered", tracking_number="JD01", **cash_at_the_door(s.order)),
    ),
)
