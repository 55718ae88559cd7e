"""Everybody who can make something happen, and what they begin with: `test_ways_in` takes each way there is."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone

from commerce import tokens
from orders import fulfilment, holds, refunds, returns
from orders.models import Order, Refund, Shipment
from orders.returns import Wish
from tests.factories import confirm_order, make_product, pack_order, place_order, ship_order
from tests.inbound.conftest import make_source, take_in
from tests.inbound.senders import Sender, load
from tests.journeys.bad_calls import PAYMENT

IN_A_MONTH = timedelta(days=30)


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
