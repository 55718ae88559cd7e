"""Whichever way something happens (API, admin, inbound message, timer), the same event tells of it, once."""

import json
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.utils import timezone
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from commerce import tokens
from inventory.models import Product
from inventory.money import to_text
from orders import checkout, fulfilment, holds, refunds, returns
from orders.models import Allocation, Customer, HoldRule, Order, Refund, Shipment
from orders.returns import Wish
from tests.factories import confirm_order, make_cart, make_product, pack_order, place_order, ship_order
from tests.inbound.conftest import make_source, take_in
from tests.inbound.senders import Sender, load
from tests.journeys.test_bad_input import CART, PAYMENT
from webhooks import catalogue
from webhooks.models import Event
from webhooks.schema import body_schema

pytestmark = pytest.mark.django_db

IN_A_MONTH = timedelta(days=30)
# They tell of the engine itself.
OF_THE_ENGINE = {"webhook.test", "subscription.failing", "subscription.recovered", "subscription.disabled"}


class Faces:
    """Everybody who can make something happen, each through the face they have."""

    def __init__(self) -> None:
        self.now = timezone.now()
        self.program = Client(headers={"Authorization": f"Bearer {tokens.issue('ERP', scopes=list(tokens.SCOPES))}"})
        self.staff = Client()
        self.staff.force_login(User.objects.create_superuser("ann"))
        self.shopper = Client()

    def api(self, path: str, body: Any = None, *, method: str = "post", by: Client | None = None) -> Any:
        answer = getattr(by or self.program, method)(f"/api/v1/{path}", body or {}, content_type="application/json")
        assert answer.status_code in (200, 201), answer.content
        return answer.json()

    def admin(self, path: str, form: Any) -> None:
        answer = self.staff.post(f"/admin/{path}", form, follow=True)
        assert answer.status_code == 200
        assert "errors" not in (answer.context or {}) or not answer.context["errors"]

    def press(self, verb: str, order: Order) -> None:
        self.admin(f"orders/order/{order.pk}/{verb}/", {})

    def ask(self, verb: str, order: Order, **answers: Any) -> None:
        self.admin(f"orders/order/{verb}/?order={order.pk}", answers)

    def choose(self, page: str, action: str, order: Order) -> None:
        self.admin(f"{page}/", {"action": action, "_selected_action": [order.pk]})

    def count(self, verb: str, order: Order, **answers: str) -> None:
        """One unit of its line."""
        self.admin(f"orders/order/{verb}/units/?order={order.pk}", units_of(order) | answers)

    def message(self, scheme: str, body: dict[str, Any]) -> None:
        make_source(scheme)
        assert Sender(Client(), scheme, int(self.now.timestamp())).send(body).status_code == 202
        take_in()

    def table(self, model: str, *rows: str) -> None:
        file = SimpleUploadedFile("table.csv", "\r\n".join(rows).encode())
        page = f"/admin/inventory/{model}/"
        shown = self.staff.post(f"{page}import/", {"import_file": file, "format": "0", "resource": "0"})
        self.staff.post(f"{page}process_import/", shown.context["confirm_form"].initial)


Act = Callable[[], object]
# Makes what is needed, and gives what is then done, and the subject that the event must be about.
Way = Callable[[Faces], tuple[Act, str]]
WAYS: dict[tuple[str, str], Way] = {}


def way(event: str, face: str) -> Callable[[Way], Way]:
    def add(prepare: Way) -> Way:
        assert (event, face) not in WAYS
        WAYS[event, face] = prepare
        return prepare

    return add


def on(event: str, face: str, make: Callable[[Faces], Any], act: Callable[[Faces, Any], object]) -> None:
    """A way whose event is about the order of what `make` gives: an order, a parcel, a return or a refund."""

    def prepare(faces: Faces) -> tuple[Act, str]:
        thing = make(faces)
        order = thing if isinstance(thing, Order) else thing.order
        return lambda: act(faces, thing), order.public_id

    way(event, face)(prepare)


def placed(faces: Faces) -> Order:
    return place_order(now=faces.now)


def in_cash(faces: Faces) -> Order:
    make_product("MUG")
    return place_order(("MUG", 2), method="cod", now=faces.now)


def confirmed(faces: Faces) -> Order:
    make_product("MUG")
    return confirm_order(("MUG", 2), now=faces.now)


def packed(faces: Faces) -> Shipment:
    make_product("MUG")
    return pack_order(("MUG", 2), now=faces.now)


def shipped(faces: Faces) -> Shipment:
    make_product("MUG")
    return ship_order(("MUG", 2), now=faces.now)


def delivered(faces: Faces) -> Order:
    shipment = shipped(faces)
    fulfilment.deliver(shipment.public_id, delivered_at=faces.now, source="staff", actor="ben", now=faces.now)
    return Order.objects.get(pk=shipment.order_id)


def held(faces: Faces) -> Order:
    order = placed(faces)
    holds.place(order.public_id, kind="manual", reason="Call first", actor="ann", now=faces.now)
    return Order.objects.get(pk=order.pk)


def sent_back(faces: Faces) -> Any:
    order = delivered(faces)
    wishes = [Wish(order.items[0].public_id, 1)]
    return returns.open_return(order.public_id, wishes=wishes, reason="Too small", actor="ann", now=faces.now)


def refunding(faces: Faces) -> Refund:
    order = confirmed(faces)
    return refunds.request(
        order.public_id, amount_minor=100, currency="EUR", reason="Scratched", actor="ann", now=faces.now
    )


def payment(order: Order, **differing: Any) -> dict[str, Any]:
    return PAYMENT | {"gateway_reference": f"ch_{order.number}"} | differing


def of(order: Order, name: str, **fields: Any) -> dict[str, Any]:
    """A message of a 3PL."""
    body = load(name)
    body["data"] |= {"order_number": str(order)} | fields
    return body


def stripe(name: str, order: Order) -> dict[str, Any]:
    body = load(f"stripe_{name}")
    body["data"]["object"]["metadata"] = {"order_id": order.public_id}
    return body


def units_of(order: Order) -> dict[str, str]:
    """One unit of its line, as the admin's forms have it."""
    return {f"{order.items[0].public_id}-quantity": "1"}


def lines(order: Order, **more: Any) -> list[dict[str, Any]]:
    return [{"line_id": order.items[0].public_id, "quantity": 1} | more]


SHIP = {"carrier": "DHL", "tracking_number": "JD02"}
RESULT = {"result": "success", "gateway_reference": "re_1"}


# Orders


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


# Money and goods that come back


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

# Customers, products and stock

BOB = {"email": "bob@example.com", "name": "Bob", "phone": "", "locale": "en"}


@way("customer.created", "api")
def _register(faces: Faces) -> tuple[Act, str]:
    return lambda: faces.api("customers/", BOB), ""


@way("customer.created", "api (order)")
def _order_as_guest(faces: Faces) -> tuple[Act, str]:
    make_product("MUG")
    return lambda: faces.api("orders/", CART), ""


@way("customer.created", "admin")
def _add_customer(faces: Faces) -> tuple[Act, str]:
    return lambda: faces.admin("orders/customer/add/", BOB), ""


@way("customer.updated", "api")
def _change_customer(faces: Faces) -> tuple[Act, str]:
    customer = Customer.objects.create(**BOB)
    return lambda: faces.api(f"customers/{customer.public_id}/", {"name": "Robert"}, method="patch"), customer.public_id


@way("customer.updated", "admin")
def _edit_customer(faces: Faces) -> tuple[Act, str]:
    customer = Customer.objects.create(**BOB)
    form = BOB | {"name": "Robert"}
    return lambda: faces.admin(f"orders/customer/{customer.pk}/change/", form), customer.public_id


CUP = {"sku": "CUP", "name": "Cup", "price_amount": "5.00", "currency": "EUR"}
CUP_FORM = {"sku": "CUP", "name": "Big cup", "price": "5.00", "currency": "EUR", "is_active": "on"}
COLUMNS = "sku,name,price_amount,currency"


def cup() -> Product:
    return make_product("CUP", name="Cup", price_minor=500)


@way("product.created", "api")
def _post_product(faces: Faces) -> tuple[Act, str]:
    return lambda: faces.api("products/", CUP), ""


@way("product.created", "admin")
def _add_product(faces: Faces) -> tuple[Act, str]:
    return lambda: faces.admin("inventory/product/add/", CUP_FORM), ""


@way("product.created", "import")
def _import_new_product(faces: Faces) -> tuple[Act, str]:
    return lambda: faces.table("product", COLUMNS, "CUP,Cup,5.00,EUR"), ""


@way("product.updated", "api")
def _patch_product(faces: Faces) -> tuple[Act, str]:
    product = cup()
    return lambda: faces.api("products/CUP/", {"name": "Big cup"}, method="patch"), product.public_id


@way("product.updated", "admin")
def _edit_product(faces: Faces) -> tuple[Act, str]:
    product = cup()
    return lambda: faces.admin(f"inventory/product/{product.pk}/change/", CUP_FORM), product.public_id


@way("product.updated", "import")
def _import_product(faces: Faces) -> tuple[Act, str]:
    product = cup()
    return lambda: faces.table("product", COLUMNS, "CUP,Big cup,5.00,EUR"), product.public_id


def moved(face: str, act: Callable[[Faces, Any], object]) -> None:
    def prepare(faces: Faces) -> tuple[Act, str]:
        level = make_product("MUG", on_hand=10).levels.get()
        return lambda: act(faces, level), f"{level.product.public_id}:BER"

    way("inventory.updated", face)(prepare)


ADJUSTMENT = {"sku": "MUG", "warehouse": "BER", "reason": "recounted"}
SALE = {"warehouse": "BER", "reference": "T1", "lines": [{"sku": "MUG", "quantity": 1}]}


def adjust_in_admin(faces: Faces, level: Any) -> None:
    form = {"action": "adjust", "_selected_action": [level.pk], "apply": "1", "reason": "damaged"}
    faces.admin("inventory/stocklevel/", form | {f"delta_{level.pk}": "-1"})


moved("api", lambda f, _: f.api("inventory/adjustments/", ADJUSTMENT | {"delta": -1}))
moved("api (count)", lambda f, _: f.api("inventory/adjustments/", ADJUSTMENT | {"on_hand": 9, "expected_on_hand": 10}))
moved("api (sale)", lambda f, _: f.api("inventory/sales/", SALE))
moved("api (order)", lambda f, _: f.api("orders/", CART))
moved("admin", adjust_in_admin)
moved("import", lambda f, _: f.table("stocklevel", "sku,warehouse,on_hand,expected_on_hand", "MUG,BER,9,10"))
moved("inbound", lambda f, _: f.message("standard", load("standard_stock_counted")))


def crossed(event: str, face: str, act: Callable[[Faces, Any], object], *, on_hand: int) -> None:
    """Of a product with so many units, in one warehouse where one unit is few."""

    def prepare(faces: Faces) -> tuple[Act, str]:
        level = make_product("MUG", on_hand=on_hand).levels.get()
        level.low_stock_threshold = 1
        level.save(update_fields=["low_stock_threshold"])
        place = "BER" if event == "inventory.low" else "*"
        return lambda: act(faces, level), f"{level.product.public_id}:{place}"

    way(event, face)(prepare)


COUNT_COLUMNS = "sku,warehouse,on_hand,expected_on_hand"
for event, units in (("inventory.low", 2), ("inventory.out_of_stock", 1)):
    crossed(event, "api (order)", lambda f, _: f.api("orders/", CART), on_hand=units)
    crossed(event, "api (sale)", lambda f, _: f.api("inventory/sales/", SALE), on_hand=units)
    crossed(event, "import", lambda f, _: f.table("stocklevel", COUNT_COLUMNS, "MUG,BER,0,2"), on_hand=2)
crossed(
    "inventory.low",
    "admin",
    lambda f, level: f.admin(
        f"inventory/stocklevel/{level.pk}/change/", {"safety_stock": "1", "low_stock_threshold": "1"}
    ),
    on_hand=2,
)
crossed("inventory.out_of_stock", "admin", adjust_in_admin, on_hand=1)
crossed(
    "inventory.back_in_stock", "api", lambda f, _: f.api("inventory/adjustments/", ADJUSTMENT | {"delta": 4}), on_hand=0
)
crossed(
    "inventory.back_in_stock", "import", lambda f, _: f.table("stocklevel", COUNT_COLUMNS, "MUG,BER,4,0"), on_hand=0
)


@way("inventory.back_in_stock", "timer")
def _give_back_the_last(faces: Faces) -> tuple[Act, str]:
    product = make_product("MUG", on_hand=2)
    order = checkout.place(make_cart(("MUG", 2)), actor="storefront", now=faces.now)
    return lambda: expire(faces, order), f"{product.public_id}:*"


@way("inventory.updated", "timer")
def _give_back(faces: Faces) -> tuple[Act, str]:
    level = make_product("MUG", on_hand=10).levels.get()
    order = checkout.place(make_cart(("MUG", 2)), actor="storefront", now=faces.now)
    return lambda: expire(faces, order), f"{level.product.public_id}:BER"


def read(event: Event) -> Any:
    return json.loads(event.body)


@pytest.mark.parametrize(("event", "face"), WAYS)
def test_tells_the_same_once(event: str, face: str) -> None:
    faces = Faces()
    act, subject = WAYS[event, face](faces)
    before = set(Event.objects.values_list("pk", flat=True))
    # As if what was prepared had been committed: it is not undone, but followed.
    connection.run_on_commit.clear()

    act()

    [told] = Event.objects.filter(type=event).exclude(pk__in=before)
    assert subject in ("", told.subject)
    schema = body_schema(catalogue.get(event))
    Draft202012Validator(schema).validate(read(told))
    assert set(read(told)["data"]) == set(catalogue.get(event).example)


@pytest.mark.parametrize("face", [face for event, face in WAYS if event == "order.packed"])
def test_a_hold_stops_packing_whichever_way_it_is_tried(face: str) -> None:
    faces = Faces()
    act, order_id = WAYS["order.packed", face](faces)
    holds.place(order_id, kind="fraud", reason="Odd", actor="ann", now=faces.now)

    # The API refuses with a status that its face does not expect; the others take it, and say why not.
    with suppress(AssertionError):
        act()

    assert not Shipment.objects.exists()
    assert not Event.objects.filter(type="order.packed").exists()


def test_every_event_has_its_ways_in() -> None:
    declared = {event_type.name for event_type in catalogue.all_types()} - OF_THE_ENGINE

    assert {event for event, _ in WAYS} == declared


@pytest.mark.parametrize(("event", "face"), [key for key in WAYS if key[0] in ("product.updated", "customer.updated")])
def test_a_change_names_what_has_changed(event: str, face: str) -> None:
    act, _ = WAYS[event, face](Faces())

    act()

    assert read(Event.objects.get(type=event))["data"]["changed_fields"] == ["name"]
