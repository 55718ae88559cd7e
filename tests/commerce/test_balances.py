"""Counters that orders and stock keep of each other: a corrupted one is found, whole ones are not."""

from datetime import datetime

import pytest
from django.utils import timezone

from commerce.audit import audit
from commerce.balances import wrong_balances
from inventory.models import StockLevel
from orders import checkout, fulfilment, refunds
from orders.models import Allocation, Order, OrderLine, Refund
from tests.factories import (
    NOW,
    ask_refund,
    confirm_order,
    deliver_order,
    make_product,
    pack_order,
    pay_for,
    place_order,
    send_back,
    ship_order,
    take_back,
)

pytestmark = pytest.mark.django_db


def found(most: int = 21) -> list[str]:
    return [finding for check in wrong_balances(most=most) for finding in check]


@pytest.fixture
def now() -> datetime:
    return NOW


@pytest.fixture
def shop(now: datetime) -> None:
    """Orders that are reserved, packed, unpacked, shipped, sent back, cancelled, authorised and refunded."""
    make_product("MUG", on_hand=50)
    place_order(("MUG", 1))
    pay_for(place_order(("MUG", 2)), kind="authorisation")
    pack_order(("MUG", 3))
    fulfilment.unpack(pack_order(("MUG", 1)).public_id, actor="ben", now=now)
    ship_order(("MUG", 2))
    delivered = deliver_order(("MUG", 2))
    goods_return = take_back(send_back(delivered, 1))
    cancelled = confirm_order(("MUG", 2))
    checkout.cancel(cancelled.public_id, reason="", actor="ann", now=now)
    ask_refund(delivered, 2495, return_id=goods_return.public_id)
    for refund in Refund.objects.all():
        refunds.processed(refund.public_id, gateway_reference=f"re_{refund.pk}", actor="stripe", now=now)


@pytest.mark.usefixtures("shop")
class TestWrongBalances:
    def test_are_none_of_a_shop_at_work(self) -> None:
        assert found() == []
        assert StockLevel.objects.get().reserved == 7
        assert sorted(OrderLine.objects.values_list("refunded", flat=True)) == [0, 0, 0, 0, 0, 1, 2]

    def test_are_found_of_what_is_reserved(self) -> None:
        StockLevel.objects.update(reserved=8)

        assert found() == ["MUG in BER: the level says 8 reserved, open allocations hold 7."]

    def test_are_found_of_an_allocation_that_holds_nothing_real(self) -> None:
        Allocation.objects.filter(pk=Allocation.objects.earliest("pk").pk).update(quantity=5)

        assert found() == ["MUG in BER: the level says 7 reserved, open allocations hold 11."]

    def test_are_found_of_what_is_authorised(self) -> None:
        order = Order.objects.get(payment_status="authorised")
        Order.objects.filter(pk=order.pk).update(authorised_minor=1)

        assert found() == [f"Order {order}: it says 1 minor units authorised, its authorisations add up to 4990."]

    def test_are_found_of_refunded_units(self) -> None:
        line = OrderLine.objects.get(refunded=2)
        OrderLine.objects.filter(pk=line.pk).update(refunded=1)

        assert found() == [f"Order {line.order}, MUG: the line says 1 refunded, its processed refunds are of 2."]

    def test_are_found_of_a_line_that_nothing_was_refunded_of(self) -> None:
        line = OrderLine.objects.filter(delivered=2, refunded=1).get()
        Refund.objects.filter(order=line.order).update(state="requested")

        assert found() == [f"Order {line.order}, MUG: the line says 1 refunded, its processed refunds are of 0."]

    def test_are_told_by_the_audit_and_bounded(self) -> None:
        Order.objects.update(authorised_minor=1)

        findings = [finding for finding in audit(now=timezone.now()).findings if "authorised" in finding]

        assert len(findings) == Order.objects.count() == 7
        assert len(found(most=3)) == 3
