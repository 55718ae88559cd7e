"""Some units of an order: packed, or given up, while the rest goes its own way."""

from datetime import datetime

import pytest
from django.test import Client

from orders import checkout, fulfilment, holds
from orders.models import Order
from tests.factories import confirm_order, deliver_order, make_product, place_order, send_back, take_back
from tests.orders.admin.conftest import ORDERS, everything, fresh, log_in_with, said
from tests.told import Told

pytestmark = pytest.mark.django_db


@pytest.fixture
def order(now: datetime) -> Order:
    """Three mugs and a pan, confirmed."""
    make_product("MUG")
    make_product("PAN")
    return confirm_order(("MUG", 3), ("PAN", 1), now=now)


def form(order: Order, *quantities: int, **answers: str) -> dict[str, str]:
    counted = {f"{line.public_id}-quantity": str(units) for line, units in zip(order.items, quantities, strict=True)}
    return counted | answers


class TestSomeUnits:
    def test_are_packed_into_a_parcel_of_their_own(self, staff: Client, order: Order, told: Told) -> None:
        answers = form(order, 2, 0, package_count="2", weight_grams="700")

        page = staff.post(f"{ORDERS}pack/units/?order={order.pk}", answers, follow=True)

        assert said(page) == [f"Packed: {order}."]
        (parcel,) = order.shipments.all()
        assert [(content.quantity, content.line.sku) for content in parcel.contents] == [(2, "MUG")]
        assert (parcel.package_count, parcel.weight_grams, parcel.packed_by) == (2, 700, "ann")
        assert fresh(order).fulfilment_status == "partially_packed"
        assert told(order.public_id)[-1] == "order.packed"

    def test_are_given_up_though_others_are_packed(self, staff: Client, order: Order, told: Told) -> None:
        fulfilment.pack(order.public_id, quantities={order.items[0].public_id: 2}, actor="ben", now=order.placed_at)

        page = staff.post(f"{ORDERS}cancel/units/?order={order.pk}", form(order, 1, 1, reason="Gone"), follow=True)

        assert said(page) == [f"Cancelled: {order}."]
        assert [(line.packed, line.cancelled) for line in fresh(order).items] == [(2, 1), (0, 1)]
        assert (fresh(order).status, fresh(order).refund_pending_minor) == ("packed", 4990)
        assert told(order.public_id)[-2:] == ["order.cancelled", "order.refund.requested"]

    @pytest.mark.parametrize("quantities", [(4, 0), (0, 2)])
    @pytest.mark.parametrize("verb", ["pack", "cancel"])
    def test_more_than_are_left_are_refused(
        self, staff: Client, order: Order, verb: str, quantities: tuple[int, int]
    ) -> None:
        before = everything()

        answers = form(order, *quantities, package_count="1", reason="Gone")
        page = staff.post(f"{ORDERS}{verb}/units/?order={order.pk}", answers, follow=True)

        (refused,) = said(page)
        assert "are left, not" in refused
        assert everything() == before

    def test_none_at_all_says_so(self, staff: Client, order: Order) -> None:
        before = everything()

        page = staff.post(f"{ORDERS}pack/units/?order={order.pk}", form(order, 0, 0, package_count="1"))

        assert said(page) == ["Nothing was done: say of at least one product how many units."]
        assert everything() == before

    def test_on_hold_are_not_packed(self, staff: Client, order: Order, now: datetime) -> None:
        holds.place(order.public_id, kind="fraud", reason="Odd", actor="ann", now=now)

        page = staff.post(f"{ORDERS}pack/units/?order={order.pk}", form(order, 1, 0, package_count="1"), follow=True)

        assert said(page) == [f"Order {order} is on hold: release it first."]
        assert not order.shipments.exists()

    def test_need_the_permission_of_their_verb(self, order: Order) -> None:
        clerk = log_in_with("view_order", "pack_order")

        assert clerk.get(f"{ORDERS}pack/units/?order={order.pk}").status_code == 200
        assert clerk.get(f"{ORDERS}cancel/units/?order={order.pk}").status_code == 403


class TestOrderPage:
    def offered(self, client: Client, order: Order) -> list[str]:
        page = client.get(f"{ORDERS}{order.pk}/change/")
        return [verb.name for verb, _ in page.context["units"]]

    def test_offers_what_can_be_done_with_some_units(self, staff: Client, order: Order, now: datetime) -> None:
        assert self.offered(staff, order) == ["pack", "cancel"]

        holds.place(order.public_id, kind="fraud", reason="Odd", actor="ann", now=now)
        assert self.offered(staff, order) == ["cancel"]

        checkout.cancel(order.public_id, reason="", actor="ann", now=now)
        assert self.offered(staff, order) == []

    def test_offers_nothing_of_the_kind_where_there_is_no_choice(self, staff: Client, now: datetime) -> None:
        make_product("MUG")

        assert self.offered(staff, place_order(("MUG", 1), now=now)) == []

    def test_says_that_a_return_that_came_is_to_be_refunded(self, staff: Client, now: datetime) -> None:
        order = deliver_order(now=now)
        goods_return = send_back(order, now=now)
        assert self.next_step(staff, order) == "–"

        take_back(goods_return, now=now)

        assert self.next_step(staff, order) == "Refund"
        assert "Refund…" in staff.get(f"/admin/orders/return/{goods_return.pk}/change/").content.decode()
        wish = {"amount": "24.95", "reason": "Came back", "return_id": goods_return.public_id}
        staff.post(f"/admin/orders/refund/ask/?order={order.pk}", wish)
        assert self.next_step(staff, order) == "Send €24.95 back"

    def next_step(self, client: Client, order: Order) -> str:
        return str(client.get(f"{ORDERS}{order.pk}/change/").context["next_step"])
