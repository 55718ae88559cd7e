"""The other verbs of the REST API of orders, its customers and scopes."""

import pytest

from commerce import tokens
from inventory.models import StockLevel
from orders.models import Customer, Order, Payment
from tests.bodies import CAPTURE
from tests.caller import Caller
from tests.factories import place_order
from tests.told import Told

pytestmark = pytest.mark.django_db


class TestConfirmingAndCancelling:
    def test_confirms(self, erp: Caller) -> None:
        order = place_order(method="cod")

        answer = erp.post(f"orders/{order.public_id}/confirm/")

        assert (answer.status_code, answer.json()["status"]) == (200, "confirmed")

    def test_cancels_all_of_it(self, erp: Caller) -> None:
        order = place_order()

        answer = erp.post(f"orders/{order.public_id}/cancel/", {"reason": "fraud"})

        assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
        assert StockLevel.objects.get().reserved == 0
        assert order.transitions.latest("pk").reason == "fraud"

    def test_cancels_some_units(self, erp: Caller) -> None:
        order = place_order()
        lines = [{"line_id": order.items[0].public_id, "quantity": 1}]

        answer = erp.post(f"orders/{order.public_id}/cancel/", {"reason": "damaged", "lines": lines})

        assert (answer.json()["status"], answer.json()["lines"][0]["cancelled"]) == ("pending", 1)
        assert StockLevel.objects.get().reserved == 1

    def test_records_a_payment_that_confirms_the_order_once(self, erp: Caller) -> None:
        order = place_order()

        first, again = (erp.post(f"orders/{order.public_id}/payments/", CAPTURE) for _ in range(2))

        assert (first.status_code, first.json()["payment_id"]) == (201, again.json()["payment_id"])
        assert (first.json()["order_status"], first.json()["payment_status"]) == ("confirmed", "paid")
        assert Payment.objects.count() == 1

    def test_records_a_decline(self, erp: Caller) -> None:
        order = place_order()
        declined = CAPTURE | {"result": "failed", "failure_code": "card_declined"}

        answer = erp.post(f"orders/{order.public_id}/payments/", declined)

        assert (answer.status_code, answer.json()["failure_code"]) == (201, "card_declined")
        assert answer.json()["payment_status"] == "failed"


class TestCustomers:
    def test_are_made_read_found_and_changed(self, erp: Caller, told: Told) -> None:
        made = erp.post("customers/", {"email": "Ada@Example.com", "name": "Ada"})
        customer_id = made.json()["customer_id"]
        changed = erp.patch(f"customers/{customer_id}/", {"phone": "+49301", "accepts_marketing": True})

        assert (made.status_code, made.json()["email"]) == (201, "ada@example.com")
        assert (changed.status_code, changed.json()["phone"], changed.json()["version"]) == (200, "+49301", 2)
        assert erp.get(f"customers/{customer_id}/").json() == changed.json()
        assert erp.get("customers/?email=ADA@example.com").json()["results"] == [changed.json()]
        assert told(customer_id) == ["customer.created", "customer.updated"]

    @pytest.mark.parametrize("verb", ["post", "patch"])
    def test_an_address_is_one_customer_s_alone(self, erp: Caller, verb: str) -> None:
        Customer.objects.create(email="ada@example.com")
        bob = Customer.objects.create(email="bob@example.com")
        body = {"email": "ADA@example.com"}

        answer = erp.post("customers/", body) if verb == "post" else erp.patch(f"customers/{bob.public_id}/", body)

        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "email")
        assert set(Customer.objects.values_list("email", flat=True)) == {"ada@example.com", "bob@example.com"}


class TestScopes:
    CALLS = (
        ("get", "orders/", "orders"),
        ("get", "orders/{order}/", "orders"),
        ("post", "orders/{order}/confirm/", "orders"),
        ("post", "orders/{order}/cancel/", "orders"),
        ("post", "orders/{order}/payments/", "payments"),
        ("get", "fulfilment/orders/", "fulfilment"),
        ("post", "fulfilment/orders/{order}/pack/", "fulfilment"),
        ("post", "fulfilment/shipments/shp_1/ship/", "fulfilment"),
        ("post", "fulfilment/shipments/shp_1/tracking/", "fulfilment"),
        ("post", "fulfilment/shipments/shp_1/deliver/", "fulfilment"),
        ("get", "customers/", "customers"),
        ("post", "customers/", "customers"),
        ("get", "customers/cus_1/", "customers"),
    )

    @pytest.mark.parametrize(("method", "path", "scope"), CALLS)
    def test_a_call_takes_a_token_with_its_scope(self, anybody: Caller, method: str, path: str, scope: str) -> None:
        order = place_order()
        others = [name for name in tokens.SCOPES if name != scope]
        path = path.format(order=order.public_id)

        unknown, unfit = (getattr(caller, method)(path) for caller in (anybody, Caller(*others)))

        assert (unknown.status_code, unfit.status_code) == (401, 403)
        assert scope in unfit.json()["detail"]
        assert Order.objects.get().version == order.version
        assert getattr(Caller(scope), method)(path).status_code not in {401, 403}
