from datetime import datetime, timedelta

import pytest

from orders import checkout, fulfilment
from orders.models import Allocation, Order, OrderLine
from orders.transitions import InvalidTransition
from tests.factories import confirm_order, pack_order, pay_for, place_order, reserved
from tests.told import DataOf, Told

pytestmark = pytest.mark.django_db


class TestCancel:
    def test_gives_all_stock_back(self, told: Told, data_of: DataOf, now: datetime) -> None:
        order = place_order()

        checkout.cancel(order.public_id, reason="changed her mind", actor="ann", now=now)

        order.refresh_from_db()
        assert (order.status, order.hold_expires_at, reserved()) == ("cancelled", None, 0)
        assert told(order.public_id) == ["order.created", "order.cancelled"]
        data = data_of("order.cancelled")
        assert (data["is_full"], data["cancel_reason"], data["cancelled_by"]) == (True, "changed her mind", "ann")
        assert data["refund_expected_amount"] == "0.00"
        assert [(line["sku"], line["quantity"]) for line in data["lines"]] == [("MUG", 2)]

    def test_of_a_paid_order_expects_its_refund(self, data_of: DataOf, now: datetime) -> None:
        order = confirm_order()

        checkout.cancel(order.public_id, reason="", actor="ann", now=now)

        assert data_of("order.cancelled")["refund_expected_amount"] == "49.90"

    def test_of_an_authorised_order_tells_what_is_to_be_voided(self, data_of: DataOf, now: datetime) -> None:
        order = place_order()
        pay_for(order, kind="authorisation")

        checkout.cancel(order.public_id, reason="", actor="ann", now=now)

        data = data_of("order.cancelled")
        assert (data["void_expected_amount"], data["refund_expected_amount"]) == ("49.90", "0.00")
        assert data["payment_status"] == "unpaid"

    def test_of_a_part_of_an_authorised_order_tells_what_is_not_to_be_captured(
        self, data_of: DataOf, now: datetime
    ) -> None:
        order = place_order()
        pay_for(order, kind="authorisation")
        one = {order.items[0].public_id: 1}

        checkout.cancel(order.public_id, reason="", actor="ann", now=now, quantities=one)

        data = data_of("order.cancelled")
        assert (data["void_expected_amount"], data["payment_status"]) == ("24.95", "authorised")

    def test_takes_single_units(self, data_of: DataOf, now: datetime) -> None:
        order = confirm_order()
        line = order.items[0]

        checkout.cancel(order.public_id, reason="", actor="ann", now=now, quantities={line.public_id: 1})

        order.refresh_from_db()
        assert (order.status, order.cancelled_minor, reserved()) == ("confirmed", 2495, 1)
        data = data_of("order.cancelled")
        assert (data["is_full"], data["refund_expected_amount"]) == (False, "24.95")
        assert [line["quantity"] for line in data["lines"]] == [1]
        assert Allocation.objects.get().quantity == 1

    def test_of_the_last_units_cancels_the_order(self, data_of: DataOf, now: datetime) -> None:
        order = confirm_order()
        quantities = {order.items[0].public_id: 1}

        for _ in range(2):
            checkout.cancel(order.public_id, reason="", actor="ann", now=now, quantities=quantities)

        order.refresh_from_db()
        assert (order.status, order.cancelled_minor, reserved()) == ("cancelled", 4990, 0)
        assert data_of("order.cancelled")["is_full"] is True

    def test_refuses_more_than_is_left(self, now: datetime) -> None:
        order = confirm_order()
        line = order.items[0]

        with pytest.raises(InvalidTransition, match="2 of 2 × MUG are left, not 3"):
            checkout.cancel(order.public_id, reason="", actor="ann", now=now, quantities={line.public_id: 3})

        line.refresh_from_db()
        assert (line.cancelled, reserved()) == (0, 2)

    def test_refuses_a_line_of_another_order(self, now: datetime) -> None:
        order = confirm_order()

        with pytest.raises(OrderLine.DoesNotExist):
            checkout.cancel(order.public_id, reason="", actor="ann", now=now, quantities={"lin_other": 1})

    def test_refuses_what_is_packed(self, told: Told, now: datetime) -> None:
        order = pack_order().order

        with pytest.raises(InvalidTransition, match="is packed: only lines not packed"):
            checkout.cancel(order.public_id, reason="", actor="ann", now=now)

        assert reserved() == 2
        assert "order.cancelled" not in told(order.public_id)

    def test_refuses_a_cancelled_order(self, now: datetime) -> None:
        order = place_order()
        checkout.cancel(order.public_id, reason="", actor="ann", now=now)

        with pytest.raises(InvalidTransition, match="is cancelled, not confirmed or pending"):
            checkout.cancel(order.public_id, reason="", actor="ann", now=now)

    def test_of_unpacked_lines_leaves_the_rest_packed(self, now: datetime) -> None:
        order = confirm_order()
        line = order.items[0]
        fulfilment.pack(order.public_id, quantities={line.public_id: 1}, actor="ben", now=now)

        checkout.cancel(order.public_id, reason="", actor="ann", now=now, quantities={line.public_id: 1})

        order.refresh_from_db()
        assert (order.state, order.fulfilment_status, reserved()) == ("confirmed", "packed", 1)


class TestCancelByCustomer:
    def test_works_within_the_window(self, data_of: DataOf, now: datetime) -> None:
        order = confirm_order()

        checkout.cancel_by_customer(order.tracking_token, now=now + timedelta(minutes=30))

        order.refresh_from_db()
        assert order.status == "cancelled"
        assert data_of("order.cancelled")["cancelled_by"] == "customer"

    def test_is_refused_after_it(self, now: datetime) -> None:
        order = confirm_order()

        with pytest.raises(InvalidTransition, match="could be cancelled until 10:30 UTC"):
            checkout.cancel_by_customer(order.tracking_token, now=now + timedelta(minutes=31))

        order.refresh_from_db()
        assert order.status == "confirmed"

    def test_is_refused_once_a_parcel_is_packed(self, now: datetime) -> None:
        order = pack_order().order

        with pytest.raises(InvalidTransition, match="is packed"):
            checkout.cancel_by_customer(order.tracking_token, now=now)

    def test_knows_no_such_token(self, now: datetime) -> None:
        with pytest.raises(Order.DoesNotExist):
            checkout.cancel_by_customer("guessed", now=now)
