"""Returns in the admin: opened, received and closed, or refused with the reason."""

from datetime import datetime

import pytest
from django.test import Client

from orders.models import Order, Return
from tests.factories import (
    confirm_order,
    deliver_order,
    make_product,
    send_back,
    take_back,
)
from tests.orders.admin.conftest import ORDERS, RETURNS, choose, everything, fresh, page_of, said
from tests.told import Told

pytestmark = pytest.mark.django_db


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
