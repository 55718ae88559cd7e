from datetime import datetime, timedelta

import pytest

from orders import checkout, refunds
from orders.models import Refund
from orders.transitions import InvalidTransition
from tests.factories import ask_refund, captured_in_parts, confirm_order, confirm_refund, deliver_order, place_order
from tests.told import DataOf, Told

pytestmark = pytest.mark.django_db


class TestFailed:
    def test_leaves_the_money_to_be_asked_for_again(self, told: Told, data_of: DataOf, now: datetime) -> None:
        order = confirm_order()
        checkout.cancel(order.public_id, reason="", actor="ann", now=now)
        refund = Refund.objects.get()

        refunds.failed(
            refund.public_id,
            gateway_reference="re_1",
            failure_code="card_closed",
            failure_message="The account is closed.",
            actor="stripe",
            now=now,
        )

        order.refresh_from_db()
        assert (order.payment_status, order.refund_pending_minor, order.overpaid_minor) == ("paid", 0, 4990)
        assert told(order.public_id)[-1] == "order.refund.failed"
        data = data_of("order.refund.failed")
        assert (data["failure_code"], data["failure_message"]) == ("card_closed", "The account is closed.")
        assert data["remaining_refundable_amount"] == "49.90"

        confirm_refund(ask_refund(order, 4990), now, "re_2")

        order.refresh_from_db()
        assert (order.payment_status, order.lines.get().refunded) == ("refunded", 2)

    def test_has_one_effect_however_often_it_is_told(self, told: Told, now: datetime) -> None:
        refund = ask_refund(deliver_order())

        for _ in range(2):
            refunds.failed(refund.public_id, gateway_reference="re_1", actor="stripe", now=now)

        assert told(refund.order.public_id).count("order.refund.failed") == 1

    def test_takes_back_what_the_gateway_had_processed(self, told: Told, data_of: DataOf, now: datetime) -> None:
        order = confirm_order()
        checkout.cancel(order.public_id, reason="", actor="ann", now=now)
        refund = confirm_refund(Refund.objects.get(), now)
        later = now + timedelta(days=2)

        for _ in range(2):
            refunds.failed(
                refund.public_id, gateway_reference="re_1", failure_code="account_closed", actor="stripe", now=later
            )

        order.refresh_from_db()
        refund.refresh_from_db()
        assert (refund.state, refund.settled_at, refund.failure_code) == ("failed", later, "account_closed")
        assert (order.payment_status, order.refunded_minor, order.refund_pending_minor) == ("paid", 0, 0)
        assert (order.overpaid_minor, order.lines.get().refunded) == (4990, 0)
        assert told(order.public_id)[-2:] == ["order.refund.processed", "order.refund.failed"]
        data = data_of("order.refund.failed")
        assert (data["remaining_refundable_amount"], data["refunded_amount"]) == ("49.90", "0.00")

        confirm_refund(ask_refund(order, 4990), now, "re_2")

        order.refresh_from_db()
        assert (order.payment_status, order.lines.get().refunded) == ("refunded", 2)

    def test_takes_back_one_of_two(self, now: datetime) -> None:
        order = deliver_order()
        for index in range(2):
            confirm_refund(ask_refund(order, 1000), now, f"re_{index}")

        refunds.failed(Refund.objects.latest("pk").public_id, gateway_reference="re_1", actor="stripe", now=now)

        order.refresh_from_db()
        assert (order.payment_status, order.refunded_minor, order.overpaid_minor) == ("partially_refunded", 1000, 1000)

    def test_under_another_reference_is_refused_after_it_was_processed(self, now: datetime) -> None:
        refund = confirm_refund(ask_refund(deliver_order()), now)

        with pytest.raises(InvalidTransition, match=r"is processed \(re_1\), not requested"):
            refunds.failed(refund.public_id, gateway_reference="re_2", actor="stripe", now=now)

    def test_is_refused_after_it_was_processed(self, now: datetime) -> None:
        refund = confirm_refund(ask_refund(deliver_order()), now)

        with pytest.raises(InvalidTransition, match=r"is processed \(re_1\), not requested"):
            refunds.failed(refund.public_id, actor="stripe", now=now)


class TestCancelling:
    def test_a_paid_order_requests_its_refund(self, told: Told, now: datetime) -> None:
        order = confirm_order()

        checkout.cancel(order.public_id, reason="Changed her mind", actor="ann", now=now)

        refund = Refund.objects.get()
        assert (refund.amount_minor, refund.reason, refund.requested_by) == (4990, "Changed her mind", "ann")
        assert told(order.public_id)[-2:] == ["order.cancelled", "order.refund.requested"]

    def test_a_unit_requests_the_refund_of_that_unit(self, now: datetime) -> None:
        order = confirm_order()
        quantities = {order.items[0].public_id: 1}

        for index in range(2):
            checkout.cancel(order.public_id, reason="", actor="ann", now=now, quantities=quantities)
            confirm_refund(Refund.objects.latest("pk"), now, f"re_{index}")

        order.refresh_from_db()
        assert [refund.amount_minor for refund in Refund.objects.order_by("pk")] == [2495, 2495]
        assert (order.status, order.payment_status, order.lines.get().refunded) == ("cancelled", "refunded", 2)

    def test_an_order_that_was_captured_in_parts_gives_back_each_part(self, now: datetime) -> None:
        order = captured_in_parts()

        checkout.cancel(order.public_id, reason="", actor="ann", now=now)

        parts = Refund.objects.order_by("pk").values_list("payment__gateway_reference", "amount_minor", "units")
        assert list(parts) == [("ch_2", 2990, {order.items[0].public_id: 2}), ("ch_1", 2000, {})]

    def test_an_unpaid_order_requests_nothing(self, now: datetime) -> None:
        order = place_order()

        checkout.cancel(order.public_id, reason="", actor="ann", now=now)

        assert Refund.objects.count() == 0

    def test_after_goodwill_requests_the_rest(self, now: datetime) -> None:
        order = confirm_order()
        ask_refund(order, 1000)

        checkout.cancel(order.public_id, reason="", actor="ann", now=now)

        order.refresh_from_db()
        assert Refund.objects.latest("pk").amount_minor == 3990
        assert (order.refund_pending_minor, order.due_minor) == (4990, 0)
