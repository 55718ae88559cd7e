"""Payments that staff record by hand: told of, and refused, as those that a gateway tells of."""

from datetime import datetime

import pytest
from django.test import Client

from orders import checkout
from orders.models import Order, Payment
from tests.factories import confirm_order, make_product, place_order
from tests.orders.admin.conftest import ORDERS, everything, fresh, log_in_with, said
from tests.told import Told
from webhooks.models import Event

pytestmark = pytest.mark.django_db

TRANSFER = {"method": "bank_transfer", "amount": "", "reference": "TRX-88"}


@pytest.fixture
def order(now: datetime) -> Order:
    make_product("MUG", on_hand=100)
    return place_order(("MUG", 2), now=now)


def address(*orders: Order) -> str:
    return f"{ORDERS}pay/?{'&'.join(f'order={order.pk}' for order in orders)}"


class TestRecordingAPayment:
    def test_is_offered_for_an_order_that_waits_for_its_payment(self, staff: Client, order: Order) -> None:
        page = staff.get(f"{ORDERS}{order.pk}/change/").content.decode()

        assert f'href="{address(order)}">Record payment…' in page
        assert "Next: Wait for the payment" in page

    def test_pays_confirms_and_tells_as_a_gateway_would(self, staff: Client, order: Order, told: Told) -> None:
        page = staff.post(address(order), TRANSFER, follow=True)

        assert said(page) == [f"Payment recorded: {order}."]
        assert (fresh(order).state, fresh(order).payment_status) == ("confirmed", "paid")
        assert told(order.public_id)[-2:] == ["payment.success", "order.confirmed"]
        payment = Payment.objects.get()
        assert (payment.actor, payment.method, payment.gateway) == ("ann", "bank_transfer", "manual")
        assert (payment.kind, payment.amount_minor, payment.gateway_reference) == ("capture", 4990, f"TRX-88-{order}")
        assert "Record payment…" not in page.content.decode()

    def test_of_one_reference_is_counted_once(self, staff: Client, order: Order) -> None:
        staff.post(address(order), TRANSFER, follow=True)
        before = everything()

        page = staff.post(address(order), TRANSFER | {"amount": "49.90"}, follow=True)

        assert said(page) == [f"Order {order} is paid: no payment is due."]
        assert everything() == before

    def test_that_does_not_match_is_refused_in_words_and_kept_for_all_to_see(self, staff: Client, order: Order) -> None:
        page = staff.post(address(order), TRANSFER | {"amount": "20.00"}, follow=True)

        assert said(page) == [f"Order {order} owes €49.90, which a payment of €20.00 does not match."]
        assert (fresh(order).paid_minor, fresh(order).state) == (0, "pending")
        assert Payment.objects.get().result == "refused"
        assert Event.objects.filter(type="payment.failed").count() == 1

    @pytest.mark.parametrize("amount", ["a lot", "1.999", "-1"])
    def test_of_no_amount_that_could_be_paid_leaves_nothing_behind(
        self, staff: Client, order: Order, amount: str
    ) -> None:
        page = staff.post(address(order), TRANSFER | {"amount": amount}, follow=True)

        assert len(said(page)) == 1
        assert fresh(order).paid_minor == 0

    def test_needs_a_reference(self, staff: Client, order: Order) -> None:
        before = everything()

        page = staff.post(address(order), TRANSFER | {"reference": " "})

        assert page.context["form"].errors == {"reference": ["This field is required."]}
        assert everything() == before

    def test_is_taken_for_each_of_many_or_refused_with_the_reason(
        self, staff: Client, order: Order, now: datetime
    ) -> None:
        cash = place_order(("MUG", 1), method="cod", now=now)
        paid = confirm_order(("MUG", 1), now=now)
        given_up = place_order(("MUG", 1), now=now)
        checkout.cancel(given_up.public_id, reason="Changed their mind", actor="ann", now=now)

        page = staff.post(address(order, cash, paid, given_up), TRANSFER, follow=True)

        assert said(page) == [
            f"Payment recorded: {order}.",
            f"Order {cash} is paid in cash on delivery: record the cash that is collected.",
            f"Order {paid} is paid: no payment is due.",
            f"Order {given_up} is unpaid: no payment is due.",
        ]

    def test_needs_its_permission(self, order: Order) -> None:
        ben = log_in_with("view_order", "collect_order")

        assert ben.post(address(order), TRANSFER).status_code == 403
        assert "Record payment" not in ben.get(f"{ORDERS}{order.pk}/change/").content.decode()
        assert fresh(order).paid_minor == 0
