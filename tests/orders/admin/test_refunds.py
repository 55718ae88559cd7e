"""Refunds in the admin: asked about, then settled, or refused with the reason."""

from datetime import datetime

import pytest
from django.test import Client

from orders import checkout, refunds
from orders.models import Refund
from tests.factories import (
    ask_refund,
    confirm_order,
    deliver_order,
    send_back,
    take_back,
)
from tests.orders.admin.conftest import REFUNDS, choose, page_of, said
from tests.told import Told

pytestmark = pytest.mark.django_db


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
