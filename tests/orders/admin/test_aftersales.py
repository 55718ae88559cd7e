"""Cash, and what returns and refunds have in common in the admin."""

from datetime import datetime

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from orders import payments, refunds
from orders.models import Order, OrderTransition, Payment
from tests.factories import (
    ask_refund,
    confirm_order,
    deliver_order,
    make_product,
    pay_for,
    place_order,
    send_back,
    take_back,
)
from tests.orders.admin.conftest import ORDERS, REFUNDS, RETURNS, choose, everything, fresh, log_in_with, page_of, said
from tests.told import Told

pytestmark = pytest.mark.django_db


class TestCash:
    @pytest.fixture
    def order(self, now: datetime) -> Order:
        return deliver_order(method="cod", now=now)

    def test_of_a_delivered_order_is_what_comes_next(self, staff: Client, order: Order) -> None:
        assert "Record cash collected…" in page_of(staff, order)
        assert "Record cash collected" in staff.get(ORDERS).content.decode()

    def test_is_all_that_is_open_unless_an_amount_is_given(self, staff: Client, order: Order, told: Told) -> None:
        page = staff.post(f"{ORDERS}collect/?order={order.pk}", {"amount": "", "reference": "till-7"}, follow=True)

        assert said(page) == [f"Cash recorded: {order}."]
        assert (fresh(order).state, fresh(order).payment_status) == ("completed", "paid")
        assert Payment.objects.get().actor == "ann"
        assert told(order.public_id)[-1] == "payment.success"

    def test_of_one_receipt_is_counted_once(self, staff: Client, order: Order) -> None:
        for _ in range(2):
            staff.post(f"{ORDERS}collect/?order={order.pk}", {"amount": "20.00", "reference": "till-7"})

        assert (fresh(order).paid_minor, fresh(order).outstanding_minor) == (2000, 2990)

    @pytest.mark.parametrize("amount", ["50.00", "0", "-1", "a lot", "1.999"])
    def test_that_is_not_owed_is_refused(self, staff: Client, order: Order, amount: str) -> None:
        page = staff.post(f"{ORDERS}collect/?order={order.pk}", {"amount": amount, "reference": "x"}, follow=True)

        assert len(said(page)) == 1
        assert fresh(order).paid_minor == 0

    def test_is_taken_for_many_orders_at_once_and_refused_for_those_paid_by_card(
        self, staff: Client, order: Order, now: datetime
    ) -> None:
        paid = confirm_order(("MUG", 1), now=now)
        asked = choose(staff, ORDERS, "collect", [order, paid])

        page = staff.post(asked.redirect_chain[-1][0], {"amount": "", "reference": "till-7"}, follow=True)

        assert said(page) == [f"Cash recorded: {order}.", f"Order {paid} is paid: no cash is to be collected."]

    def test_needs_its_permission(self, order: Order) -> None:
        ben = log_in_with("view_order", "refund_order")

        assert ben.post(f"{ORDERS}collect/?order={order.pk}", {"reference": "x"}).status_code == 403
        assert fresh(order).paid_minor == 0


class TestPermissions:
    @pytest.mark.parametrize(
        ("path", "permission"),
        [
            (f"{RETURNS}open/?order={{order}}", "return_order"),
            (f"{RETURNS}receive/?return={{opened}}", "return_order"),
            (f"{RETURNS}{{opened}}/close/", "return_order"),
            (f"{REFUNDS}ask/?order={{order}}", "refund_order"),
            (f"{REFUNDS}settle/?refund={{refund}}", "refund_order"),
        ],
    )
    def test_each_page_needs_its_own(self, now: datetime, path: str, permission: str) -> None:
        order = deliver_order(now=now)
        opened, refund = send_back(order, now=now), ask_refund(order, now=now)
        others = {"return_order", "refund_order", "cancel_order"} - {permission}
        ben = log_in_with("view_order", "view_return", "view_refund", *others)
        before = everything()

        answer = ben.post(path.format(order=order.pk, opened=opened.pk, refund=refund.pk), {"reason": "x"})

        assert answer.status_code == 403
        assert everything() == before

    @pytest.mark.parametrize("path", [f"{RETURNS}open/", f"{RETURNS}receive/", f"{REFUNDS}ask/", f"{REFUNDS}settle/"])
    @pytest.mark.parametrize("query", ["", "?order=0&return=0&refund=0", "?order=x&return=x&refund=²"])
    def test_what_is_not_there_is_not_found(self, staff: Client, path: str, query: str) -> None:
        assert staff.get(f"{path}{query}").status_code == 404

    def test_nobody_edits_a_return_or_a_refund(self, staff: Client, now: datetime) -> None:
        order = deliver_order(now=now)
        opened, refund = send_back(order, now=now), ask_refund(order, now=now)

        for path, row in ((RETURNS, opened), (REFUNDS, refund)):
            assert staff.post(f"{path}{row.pk}/change/", {"state": "received"}).status_code == 403
            assert staff.post(f"{path}{row.pk}/delete/", {"post": "yes"}).status_code == 403
            assert staff.get(f"{path}add/").status_code == 403


class TestPages:
    def test_an_order_s_shows_returns_refunds_payments_and_who(self, staff: Client, now: datetime) -> None:
        order = deliver_order(now=now)
        opened = take_back(send_back(order, now=now), condition="damaged", now=now)
        refund = ask_refund(order, return_id=opened.public_id, now=now)
        refunds.failed(refund.public_id, failure_message="Account closed", actor="stripe", now=now)

        page = page_of(staff, order)

        for words in (
            opened.number,
            "1 damaged",
            "Refund failed: €24.95",
            "Account closed",
            "Refund requested: €24.95",
        ):
            assert words in page
        assert f"Return received: {opened}" in page

    def test_an_order_s_shows_a_payment_that_was_refused(self, staff: Client, now: datetime) -> None:
        order = place_order(now=now)
        with pytest.raises(payments.PaymentMismatch):
            pay_for(order, currency="USD", now=now)

        page = page_of(staff, order)

        assert "Capture of $49.90 refused" in page
        assert f"Order {order} is in EUR, not USD." in page

    @pytest.mark.parametrize(
        ("path", "query", "found"),
        [
            (RETURNS, "", 2),
            (RETURNS, "?state__exact=received", 1),
            (RETURNS, "?q={number}", 2),
            (RETURNS, "?q={number}-R1", 1),
            (RETURNS, "?q=nothing", 0),
            (REFUNDS, "", 2),
            (REFUNDS, "?state__exact=processed", 1),
            (REFUNDS, "?q=re_1", 1),
            (REFUNDS, "?q={number}", 2),
        ],
    )
    def test_lists_find_and_filter(self, staff: Client, now: datetime, path: str, query: str, found: int) -> None:
        order = deliver_order(now=now)
        take_back(send_back(order, now=now), now=now)
        send_back(order, now=now)
        first, _ = ask_refund(order, now=now), ask_refund(order, now=now)
        refunds.processed(first.public_id, gateway_reference="re_1", actor="stripe", now=now)

        page = staff.get(f"{path}{query.format(number=order.number)}")

        assert page.context["cl"].result_count == found

    def test_lists_cost_the_same_however_many_there_are(
        self, staff: Client, now: datetime, django_assert_max_num_queries: DjangoAssertNumQueries
    ) -> None:
        make_product("MUG", on_hand=50)
        for _ in range(5):
            order = deliver_order(("MUG", 1), now=now)
            send_back(order, now=now)
            ask_refund(order, now=now)

        for path in (RETURNS, REFUNDS):
            with django_assert_max_num_queries(7):
                assert staff.get(path).status_code == 200

    def test_of_one_row_show_it(self, staff: Client, now: datetime) -> None:
        order = deliver_order(now=now)
        opened, refund = send_back(order, now=now), ask_refund(order, now=now)

        assert "Receive…" in staff.get(f"{RETURNS}{opened.pk}/change/").content.decode()
        assert "Tell what came of it…" in staff.get(f"{REFUNDS}{refund.pk}/change/").content.decode()
        assert OrderTransition.objects.filter(actor="ann").count() == 2
