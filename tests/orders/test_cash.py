from datetime import datetime
from typing import Any

import pytest

from orders import checkout, fulfilment, payments
from orders.models import Order, Payment, Refund
from orders.payments import PaymentMismatch
from tests.factories import (
    confirm_order,
    deliver_order,
    pay_for,
    place_order,
    send_back,
    ship_order,
    take_back,
)
from tests.told import DataOf, Told

pytestmark = pytest.mark.django_db


class TestCollectCash:
    def test_completes_a_delivered_order_once(self, told: Told, now: datetime) -> None:
        shipment = ship_order(method="cod")
        fulfilment.deliver(shipment.public_id, delivered_at=now, actor="ben", now=now)
        order = Order.objects.get()
        cash: dict[str, Any] = {
            "amount_minor": 4990,
            "currency": "EUR",
            "reference": "till-7",
            "actor": "ann",
            "now": now,
        }

        for _ in range(2):
            payments.collect_cash(order.public_id, **cash)

        order.refresh_from_db()
        assert (order.state, order.payment_status, order.paid_minor) == ("completed", "paid", 4990)
        assert told(order.public_id)[-1] == "payment.success"
        assert Payment.objects.count() == 1

    def test_refuses_more_than_is_open(self, now: datetime) -> None:
        order = ship_order(method="cod").order

        with pytest.raises(PaymentMismatch, match=r"owes €49\.90, which a payment of €50\.00 does not match"):
            payments.collect_cash(
                order.public_id, amount_minor=5000, currency="EUR", reference="x", actor="ann", now=now
            )

        order.refresh_from_db()
        assert (order.payment_status, order.paid_minor) == ("cod_pending", 0)


class TestSentBackUnpaid:
    def test_in_full_no_cash_is_awaited(self, now: datetime) -> None:
        order = deliver_order(method="cod")

        take_back(send_back(order, 2))

        order.refresh_from_db()
        assert (order.state, order.status, order.outstanding_minor) == ("completed", "returned", 0)
        assert order.payment_status == "unpaid"

    def test_in_part_the_cash_for_the_rest_is_awaited(self, now: datetime) -> None:
        order = deliver_order(method="cod")

        take_back(send_back(order, 1))

        order.refresh_from_db()
        assert (order.state, order.outstanding_minor, order.payment_status) == ("confirmed", 2495, "cod_pending")

    @pytest.mark.parametrize(
        ("units", "status", "void"), [(2, "unpaid", "49.90"), (1, "authorised", "24.95")], ids=["in full", "in part"]
    )
    def test_what_is_authorised_for_it_is_to_be_voided(
        self, units: int, status: str, void: str, data_of: DataOf, now: datetime
    ) -> None:
        order = place_order()
        pay_for(order, kind="authorisation")
        for parcel in fulfilment.pack(order.public_id, actor="ben", now=now):
            fulfilment.ship(parcel.public_id, carrier="DHL", tracking_number="JD01", actor="ben", now=now)
            fulfilment.deliver(parcel.public_id, delivered_at=now, actor="ben", now=now)

        take_back(send_back(order, units))

        order.refresh_from_db()
        assert order.payment_status == status
        data = data_of("order.return.received")
        assert (data["payment_status"], data["void_expected_amount"]) == (status, void)


class TestCashThatIsNotOwedAnyMore:
    def test_is_kept_and_given_back_with_the_return_that_came_before_it(self, told: Told, now: datetime) -> None:
        order = deliver_order(method="cod")
        goods_return = take_back(send_back(order, 1))

        pay_for(order, kind="cod_collection", gateway="dhl")

        order.refresh_from_db()
        assert (order.state, order.payment_status) == ("completed", "paid")
        assert (order.paid_minor, order.refund_pending_minor, order.overpaid_minor) == (4990, 2495, 0)
        refund = Refund.objects.get()
        assert (refund.amount_minor, refund.goods_return, refund.units) == (
            2495,
            goods_return,
            {order.items[0].public_id: 1},
        )
        assert refund.reason == "Paid after it was sent back"
        assert told(order.public_id)[-2:] == ["payment.success", "order.refund.requested"]

    def test_of_an_order_that_came_back_in_full_is_given_back_in_full(self, now: datetime) -> None:
        order = deliver_order(method="cod")
        take_back(send_back(order, 2))

        pay_for(order, kind="cod_collection", gateway="dhl")

        order.refresh_from_db()
        assert (order.payment_status, order.paid_minor, order.refund_pending_minor) == ("paid", 4990, 4990)

    def test_of_several_returns_is_given_back_without_their_units(self, now: datetime) -> None:
        order = deliver_order(method="cod")
        for _ in range(2):
            take_back(send_back(order, 1))

        pay_for(order, kind="cod_collection", gateway="dhl")

        refund = Refund.objects.get()
        assert (refund.amount_minor, refund.goods_return, refund.units) == (4990, None, {})

    def test_at_the_door_is_given_back_once_the_parcel_is_delivered(self, told: Told, now: datetime) -> None:
        order = confirm_order(method="cod")
        line_id = order.items[0].public_id
        checkout.cancel(order.public_id, reason="", actor="ann", now=now, quantities={line_id: 1})
        (parcel,) = fulfilment.pack(order.public_id, actor="ben", now=now)
        fulfilment.ship(parcel.public_id, carrier="DHL", tracking_number="JD01", actor="ben", now=now)

        fulfilment.deliver(parcel.public_id, delivered_at=now, actor="ben", now=now, collected_minor=4990)

        order.refresh_from_db()
        assert (order.status, order.payment_status, order.refund_pending_minor) == ("delivered", "paid", 2495)
        assert told(order.public_id)[-3:] == ["payment.success", "order.delivered", "order.refund.requested"]

    def test_is_refused_beyond_what_the_order_was_worth(self, now: datetime) -> None:
        order = deliver_order(method="cod")
        take_back(send_back(order, 1))

        with pytest.raises(PaymentMismatch, match=r"owes €24\.95, which a payment of €49\.91 does not match"):
            pay_for(order, kind="cod_collection", gateway="dhl", amount_minor=4991)

        order.refresh_from_db()
        assert (order.paid_minor, order.refund_pending_minor) == (0, 0)
