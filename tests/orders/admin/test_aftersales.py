"""Cash, returns and refunds in the admin: asked about, then done or refused with the reason."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import pytest
from django.db.models import Model
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from orders import checkout, payments, refunds
from orders.models import Order, OrderTransition, Payment, Refund, Return
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
from tests.orders.admin.conftest import ORDERS, log_in_with, said
from tests.orders.admin.test_actions import everything, fresh

pytestmark = pytest.mark.django_db

RETURNS = "/admin/orders/return/"
REFUNDS = "/admin/orders/refund/"

Told = Callable[[str], list[str]]


def page_of(client: Client, order: Order) -> str:
    return client.get(f"{ORDERS}{order.pk}/change/").content.decode()


def choose(client: Client, path: str, action: str, rows: Sequence[Model]) -> Any:
    form = {"action": action, "_selected_action": [row.pk for row in rows]}
    return client.post(path, form, follow=True)


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


class TestOpeningAReturn:
    @pytest.fixture
    def order(self, now: datetime) -> Order:
        make_product("MUG")
        make_product("PAN")
        return deliver_order(("MUG", 2), ("PAN", 1), now=now)

    def answer(self, order: Order, *quantities: object, reason: str = "Broken") -> dict[str, object]:
        lines = zip(order.items, quantities, strict=False)
        return {"reason": reason} | {f"{line.public_id}-quantity": units for line, units in lines}

    def test_asks_about_the_units_that_are_with_the_customer(self, staff: Client, order: Order) -> None:
        send_back(order, 2)

        page = staff.get(f"{RETURNS}open/?order={order.pk}")

        assert [(form.line.sku, form.left) for form in page.context["lines"]] == [("PAN", 1)]

    def test_takes_the_chosen_ones(self, staff: Client, order: Order, told: Told) -> None:
        page = staff.post(f"{RETURNS}open/?order={order.pk}", self.answer(order, 1, 0), follow=True)

        assert said(page) == [f"Return opened: {order}."]
        opened = Return.objects.get()
        assert [(each.quantity, each.line.sku) for each in opened.contents] == [(1, "MUG")]
        assert (opened.initiated_by, opened.reason) == ("ann", "Broken")
        assert told(order.public_id)[-1] == "order.return.initiated"
        assert opened.number in page_of(staff, order)

    @pytest.mark.parametrize("quantities", [(3, 0), (0, 0)])
    def test_is_refused_with_the_reason(self, staff: Client, order: Order, quantities: tuple[int, int]) -> None:
        before = everything()

        page = staff.post(f"{RETURNS}open/?order={order.pk}", self.answer(order, *quantities), follow=True)

        (refusal,) = said(page)
        assert refusal.startswith(f"Order {order} is delivered")
        assert everything() == before

    @pytest.mark.parametrize(("quantity", "reason"), [("many", "x"), (-1, "x"), (1, ""), (1, "x" * 501), (1, "a\0")])
    def test_marks_an_answer_that_makes_no_sense(
        self, staff: Client, order: Order, quantity: object, reason: str
    ) -> None:
        before = everything()

        page = staff.post(f"{RETURNS}open/?order={order.pk}", self.answer(order, quantity, reason=reason))

        assert page.context["form"].errors or page.context["lines"][0].errors
        assert everything() == before

    def test_says_when_nothing_can_be_sent_back(self, staff: Client, now: datetime) -> None:
        order = confirm_order(now=now)

        assert "No unit of order" in staff.get(f"{RETURNS}open/?order={order.pk}").content.decode()


class TestReceivingReturns:
    def test_counts_both_conditions(self, staff: Client, told: Told, now: datetime) -> None:
        order = deliver_order(now=now)
        opened = send_back(order, 2, now=now)
        (content,) = opened.contents
        form = {f"line-{content.pk}-sellable": 1, f"line-{content.pk}-damaged": 1}

        page = staff.post(f"{RETURNS}receive/?return={opened.pk}", form, follow=True)

        assert said(page) == [f"Received: {opened}."]
        content.refresh_from_db()
        assert (content.sellable, content.damaged, fresh(order).status) == (1, 1, "returned")
        assert told(order.public_id)[-1] == "order.return.received"

    def test_takes_several_and_refuses_each_by_itself(self, staff: Client, now: datetime) -> None:
        make_product("MUG")
        first, second = (send_back(deliver_order(("MUG", 1), now=now), now=now) for _ in range(2))
        asked = choose(staff, RETURNS, "receive", [first, second])
        form = {
            f"line-{first.contents[0].pk}-sellable": 1,
            f"line-{second.contents[0].pk}-damaged": 2,
        }

        page = staff.post(asked.redirect_chain[-1][0], form, follow=True)

        done, refused = said(page)
        assert done == f"Received: {first}."
        assert refused.startswith(f"Return {second} is initiated: 1 of 1 × MUG are awaited, not 2")

    def test_of_nothing_says_so(self, staff: Client, now: datetime) -> None:
        opened = send_back(deliver_order(now=now), now=now)

        page = staff.post(f"{RETURNS}receive/?return={opened.pk}", {}, follow=True)

        assert said(page) == ["Nothing was received: say how many units came."]

    def test_that_are_complete_goes_back_to_the_order(self, staff: Client, now: datetime) -> None:
        opened = take_back(send_back(deliver_order(now=now), now=now), now=now)

        page = staff.get(f"{RETURNS}receive/?return={opened.pk}", follow=True)

        assert said(page) == ["Nothing of these returns is awaited any more."]
        assert page.redirect_chain[-1][0] == f"{ORDERS}{opened.order.pk}/change/"


class TestClosingReturns:
    def test_is_offered_while_something_is_awaited(self, staff: Client, told: Told, now: datetime) -> None:
        opened = send_back(deliver_order(now=now), now=now)
        page = f"{ORDERS}{opened.order.pk}/change/"
        assert f'action="{RETURNS}{opened.pk}/close/"' in staff.get(page).content.decode()

        answer = staff.post(f"{RETURNS}{opened.pk}/close/", follow=True)

        opened.refresh_from_db()
        assert (said(answer), opened.state) == ([f"Closed: {opened}."], "closed")
        assert told(opened.order.public_id)[-1] == "order.return.closed"
        assert "/close/" not in staff.get(page).content.decode()
        assert f"Return closed: {opened}" in staff.get(page).content.decode()

    def test_of_what_has_come_is_refused_in_words(self, staff: Client, now: datetime) -> None:
        opened = take_back(send_back(deliver_order(now=now), now=now), now=now)

        answer = staff.post(f"{RETURNS}{opened.pk}/close/", follow=True)

        assert said(answer) == [f"Return {opened} is received: nothing of it is awaited."]


class TestRefunding:
    def test_is_prefilled_with_what_the_return_that_came_is_worth(self, staff: Client, now: datetime) -> None:
        order = deliver_order(now=now)
        opened = take_back(send_back(order, now=now), now=now)

        form = staff.get(f"{REFUNDS}ask/?order={order.pk}").context["form"]

        assert form.initial == {"amount": "24.95", "return_id": opened.public_id, "reason": "Not as pictured"}

    def test_is_prefilled_with_what_a_failed_refund_left(self, staff: Client, now: datetime) -> None:
        order = confirm_order(now=now)
        line = order.items[0]
        checkout.cancel(order.public_id, reason="", quantities={line.public_id: 1}, actor="ann", now=now)
        refunds.failed(Refund.objects.get().public_id, actor="stripe", now=now)

        assert staff.get(f"{REFUNDS}ask/?order={order.pk}").context["form"].initial == {"amount": "24.95"}

    def test_requests_the_amount(self, staff: Client, told: Told, now: datetime) -> None:
        order = deliver_order(now=now)

        page = staff.post(f"{REFUNDS}ask/?order={order.pk}", {"amount": "5.00", "reason": "Scratched"}, follow=True)

        assert said(page) == [f"Refund requested: {order}."]
        refund = Refund.objects.get()
        assert (refund.amount_minor, refund.reason, refund.requested_by) == (500, "Scratched", "ann")
        assert told(order.public_id)[-1] == "order.refund.requested"

    def test_is_what_comes_next_until_it_is_sent(self, staff: Client, now: datetime) -> None:
        order = confirm_order(now=now)
        checkout.cancel(order.public_id, reason="", actor="ann", now=now)
        assert "Next: Send €49.90 back." in page_of(staff, order)

        refunds.failed(Refund.objects.get().public_id, actor="stripe", now=now)

        assert "Next: Refund €49.90." in page_of(staff, order)

    def test_of_more_than_was_paid_is_refused(self, staff: Client, now: datetime) -> None:
        order = deliver_order(now=now)

        page = staff.post(f"{REFUNDS}ask/?order={order.pk}", {"amount": "50.00", "reason": "x"}, follow=True)

        assert said(page) == [f"Order {order} is paid: €49.90 can be refunded, not €50.00."]
        assert Refund.objects.count() == 0

    @pytest.mark.parametrize(
        ("answer", "field"),
        [
            ({"amount": "five"}, "amount"),
            ({"amount": "-5"}, "amount"),
            ({"amount": ""}, "amount"),
            ({"amount": "1.999"}, "amount"),
            ({"reason": ""}, "reason"),
            ({"return_id": "ret_other"}, "return_id"),
        ],
    )
    def test_marks_an_answer_that_makes_no_sense(
        self, staff: Client, now: datetime, answer: dict[str, str], field: str
    ) -> None:
        order = deliver_order(now=now)

        page = staff.post(f"{REFUNDS}ask/?order={order.pk}", {"amount": "5.00", "reason": "x"} | answer)

        assert field in page.context["form"].errors
        assert Refund.objects.count() == 0


class TestSettling:
    @pytest.mark.parametrize(
        ("answer", "state", "event"),
        [
            ({"result": "processed", "gateway_reference": "re_1"}, "processed", "order.refund.processed"),
            ({"result": "failed", "failure_message": "Account closed"}, "failed", "order.refund.failed"),
        ],
    )
    def test_by_hand(
        self, staff: Client, told: Told, now: datetime, answer: dict[str, str], state: str, event: str
    ) -> None:
        order = deliver_order(now=now)
        refund = ask_refund(order, now=now)
        asked = choose(staff, REFUNDS, "settle", [refund])

        form = {f"{refund.public_id}-{name}": value for name, value in answer.items()}
        page = staff.post(asked.redirect_chain[-1][0], form, follow=True)

        assert said(page) == [f"Recorded: {refund}."]
        refund.refresh_from_db()
        assert (refund.state, refund.settled_by) == (state, "ann")
        assert told(order.public_id)[-1] == event

    def test_needs_a_reference(self, staff: Client, now: datetime) -> None:
        refund = ask_refund(deliver_order(now=now), now=now)

        page = staff.post(f"{REFUNDS}settle/?refund={refund.pk}", {f"{refund.public_id}-result": "processed"})

        assert "gateway_reference" in page.context["forms"][0].errors
        refund.refresh_from_db()
        assert refund.state == "requested"

    def test_of_nothing_says_so(self, staff: Client, now: datetime) -> None:
        refund = ask_refund(deliver_order(now=now), now=now)

        page = staff.post(f"{REFUNDS}settle/?refund={refund.pk}", {}, follow=True)

        assert said(page) == ["Nothing was recorded: say of at least one refund what came of it."]

    def test_of_what_is_settled_is_refused(self, staff: Client, now: datetime) -> None:
        refund = ask_refund(deliver_order(now=now), now=now)
        refunds.processed(refund.public_id, gateway_reference="re_1", actor="stripe", now=now)
        form = {f"{refund.public_id}-result": "failed"}

        page = staff.post(f"{REFUNDS}settle/?refund={refund.pk}", form, follow=True)

        assert said(page) == [f"Refund {refund} is processed (re_1), not requested."]


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
