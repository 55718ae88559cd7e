import re
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connections

from orders import checkout, fulfilment, payments
from orders.models import Order, Payment, Refund
from orders.payments import PaymentMismatch
from tests.factories import (
    confirm_order,
    make_product,
    pay_for,
    place_order,
    ship_order,
)
from tests.told import DataOf, Told
from webhooks.models import Event

pytestmark = pytest.mark.django_db


class TestRecord:
    @pytest.mark.parametrize(("kind", "status"), [("authorisation", "authorised"), ("capture", "paid")])
    def test_confirms_an_order_that_it_covers(self, kind: str, status: str, told: Told) -> None:
        order = place_order()

        pay_for(order, kind=kind)

        order.refresh_from_db()
        assert (order.status, order.payment_status, order.hold_expires_at) == ("confirmed", status, None)
        assert told(order.public_id) == ["order.created", "payment.success", "order.confirmed"]

    def test_tells_the_attempt(self, data_of: DataOf) -> None:
        order = place_order()

        payment = pay_for(order, reference="ch_9")

        data = data_of("payment.success")
        assert (data["payment_id"], data["order_id"]) == (payment.public_id, order.public_id)
        assert (data["amount"], data["currency"], data["kind"]) == ("49.90", "EUR", "capture")
        assert (data["gateway_reference"], data["attempt_number"]) == ("ch_9", 1)

    def test_keeps_a_failure_and_leaves_the_order_pending(self, told: Told, data_of: DataOf) -> None:
        order = place_order()

        pay_for(order, result="failed", failure_code="insufficient_funds", failure_message="No money.")

        order.refresh_from_db()
        assert (order.status, order.payment_status, order.paid_minor) == ("pending", "failed", 0)
        assert told(order.public_id) == ["order.created", "payment.failed"]
        data = data_of("payment.failed")
        assert (data["failure_code"], data["is_retryable"], data["order_on_hold"]) == (
            "insufficient_funds",
            True,
            False,
        )

    def test_counts_attempts_of_the_last_day(self, now: datetime) -> None:
        order = place_order(method="cod")
        pay_for(order, reference="ch_1", result="failed", now=now - timedelta(hours=25))
        pay_for(order, reference="ch_2", result="failed", now=now - timedelta(hours=1))

        payment = pay_for(order, reference="ch_3", result="failed", now=now)

        assert (payment.attempt_number, payment.attempts_24h) == (3, 2)

    def test_has_one_effect_however_often_it_is_told(self) -> None:
        order = place_order()
        first = pay_for(order, reference="ch_1")

        again = pay_for(order, reference="ch_1")

        order.refresh_from_db()
        assert again == first
        assert order.paid_minor == 4990
        assert Event.objects.filter(type="payment.success").count() == 1

    @pytest.mark.parametrize(
        ("differing", "fault"),
        [
            ({"amount_minor": 2990}, "stands for capture of €20.00 already: capture of €29.90 needs a reference of"),
            ({"amount_minor": 2000, "currency": "USD"}, "capture of €20.00 already: capture of $20.00 needs"),
        ],
    )
    def test_refuses_other_money_under_a_reference_that_was_told(
        self, differing: dict[str, Any], fault: str, told: Told, data_of: DataOf
    ) -> None:
        order = place_order()
        pay_for(order, kind="authorisation", reference="pi_1")
        pay_for(order, amount_minor=2000, reference="pi_1")

        for _ in range(2):
            with pytest.raises(PaymentMismatch, match=re.escape(fault)):
                pay_for(order, reference="pi_1", **differing)

        order.refresh_from_db()
        assert (order.payment_status, order.authorised_minor, order.paid_minor) == ("authorised", 4990, 2000)
        assert [payment.result for payment in Payment.objects.order_by("pk")] == ["success", "success", "refused"]
        assert told(order.public_id)[-1] == "payment.failed"
        assert fault in data_of("payment.failed")["failure_message"]

    def test_refuses_a_decline_of_another_amount_under_its_reference(self) -> None:
        order = place_order()
        pay_for(order, reference="pi_1", result="failed")

        with pytest.raises(PaymentMismatch, match=r"stands for capture of €49\.90 already"):
            pay_for(order, reference="pi_1", result="failed", amount_minor=1)

    def test_takes_in_no_money_twice_under_one_reference(self) -> None:
        order = place_order(method="cod")
        pay_for(order, kind="cod_collection", reference="till-7")

        with pytest.raises(PaymentMismatch, match="stands for cash collected on delivery of"):
            pay_for(order, reference="till-7")

        order.refresh_from_db()
        assert (order.paid_minor, order.refund_pending_minor) == (4990, 0)

    def test_takes_a_late_authorisation_under_the_reference_of_its_capture(self) -> None:
        order = place_order()
        pay_for(order, reference="pi_1")

        pay_for(order, kind="authorisation", reference="pi_1")

        order.refresh_from_db()
        assert (order.payment_status, order.authorised_minor, order.paid_minor) == ("paid", 4990, 4990)

    def test_takes_a_success_under_the_reference_of_its_failures(self) -> None:
        order = place_order()
        pay_for(order, reference="pi_1", result="failed")

        pay_for(order, reference="pi_1")

        order.refresh_from_db()
        assert (order.status, order.payment_status) == ("confirmed", "paid")

    def test_captures_an_authorisation_in_parts(self) -> None:
        order = place_order()
        pay_for(order, kind="authorisation", reference="au_1")

        pay_for(order, amount_minor=2000, reference="ch_1")
        pay_for(order, amount_minor=2990, reference="ch_2")

        order.refresh_from_db()
        assert (order.payment_status, order.paid_minor) == ("paid", 4990)

    @pytest.mark.parametrize(
        ("differing", "fault"),
        [
            ({"currency": "USD"}, "is in EUR, not USD"),
            ({"amount_minor": 4989}, "owes €49.90, which a payment of €49.89 does not match"),
            ({"amount_minor": 4991}, "owes €49.90, which a payment of €49.91"),
            ({"amount_minor": 0}, "owes €49.90, which a payment of €0.00"),
            ({"kind": "cod_collection"}, "is paid by card, not in cash"),
        ],
    )
    def test_refuses_what_is_not_owed_and_keeps_that_for_staff_to_see(
        self, differing: dict[str, Any], fault: str, told: Told, data_of: DataOf
    ) -> None:
        order = place_order()

        with pytest.raises(PaymentMismatch, match=fault):
            pay_for(order, **differing)

        order.refresh_from_db()
        assert (order.status, order.payment_status, order.paid_minor) == ("pending", "unpaid", 0)
        refused = Payment.objects.get()
        assert (refused.result, refused.failure_code, refused.is_retryable) == ("refused", "payment_mismatch", False)
        assert told(order.public_id) == ["order.created", "payment.failed"]
        assert fault in data_of("payment.failed")["failure_message"]

    def test_keeps_a_refused_attempt_once_however_often_it_is_told(self, told: Told) -> None:
        order = place_order()

        for _ in range(2):
            with pytest.raises(PaymentMismatch):
                pay_for(order, amount_minor=1)

        assert Payment.objects.count() == 1
        assert told(order.public_id) == ["order.created", "payment.failed"]

    def test_takes_the_right_amount_under_the_reference_of_a_refused_one(self) -> None:
        order = place_order()
        with pytest.raises(PaymentMismatch):
            pay_for(order, amount_minor=1, reference="ch_1")

        pay_for(order, reference="ch_1")

        order.refresh_from_db()
        assert (order.status, order.paid_minor) == ("confirmed", 4990)

    def test_refuses_a_reference_that_paid_for_another_order(self) -> None:
        make_product("MUG")
        pay_for(place_order(("MUG", 1)), reference="ch_1")
        other = place_order(("MUG", 1))

        with pytest.raises(PaymentMismatch, match="has already paid for order"):
            pay_for(other, reference="ch_1")

    def test_refuses_in_words_where_the_other_order_s_payment_shows_too_late(
        self, told: Told, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        make_product("MUG")
        pay_for(place_order(("MUG", 1)), reference="ch_1")
        other = place_order(("MUG", 1))
        find_told, unseen = payments._find_told, iter([True])

        def look(payment: Payment) -> Payment | None:
            return None if next(unseen, False) else find_told(payment)

        monkeypatch.setattr(payments, "_find_told", look)
        with pytest.raises(PaymentMismatch, match="ch_1 has already paid for order"):
            pay_for(other, reference="ch_1")

        other.refresh_from_db()
        assert (other.status, other.paid_minor) == ("pending", 0)
        assert told(other.public_id) == ["order.created", "payment.failed"]

    def test_refuses_to_capture_what_was_authorised_for_another_order(self) -> None:
        make_product("MUG")
        pay_for(place_order(("MUG", 1)), kind="authorisation", reference="pi_1")
        other = place_order(("MUG", 1))

        with pytest.raises(PaymentMismatch, match="pi_1 has already paid for order"):
            pay_for(other, reference="pi_1")

        other.refresh_from_db()
        assert (other.status, other.paid_minor) == ("pending", 0)

    def test_refunds_what_is_captured_though_it_was_to_be_voided(self, now: datetime) -> None:
        order = place_order()
        pay_for(order, kind="authorisation")
        checkout.cancel(order.public_id, reason="", actor="ann", now=now)

        pay_for(order, amount_minor=2000, reference="part")

        order.refresh_from_db()
        assert (order.payment_status, order.refund_pending_minor, order.void_expected_minor) == ("paid", 2000, 2990)

    def test_keeps_late_money_of_a_cancelled_order_and_requests_its_refund_at_once(
        self, told: Told, now: datetime
    ) -> None:
        order = place_order()
        checkout.cancel(order.public_id, reason="", actor="ann", now=now)

        pay_for(order)

        order.refresh_from_db()
        assert (order.status, order.payment_status, order.refund_expected_minor) == ("cancelled", "paid", 4990)
        assert (order.refund_pending_minor, order.overpaid_minor) == (4990, 0)
        assert told(order.public_id)[2:] == ["payment.success", "order.refund.requested"]
        refund = Refund.objects.get()
        assert (refund.amount_minor, refund.reason) == (4990, "Paid after it was cancelled")

    def test_tells_whom_it_concerns_to_void_a_late_authorisation_of_a_cancelled_order(
        self, told: Told, data_of: DataOf, now: datetime
    ) -> None:
        order = place_order()
        checkout.cancel(order.public_id, reason="", actor="ann", now=now)

        pay_for(order, kind="authorisation")

        order.refresh_from_db()
        assert (order.status, order.payment_status) == ("cancelled", "unpaid")
        assert told(order.public_id)[-1] == "payment.success"
        data = data_of("payment.success")
        assert (data["kind"], data["amount"], data["void_expected_amount"]) == ("authorisation", "49.90", "49.90")

    def test_asks_for_no_void_of_what_is_to_be_captured(self, data_of: DataOf) -> None:
        pay_for(place_order(), kind="authorisation")

        assert data_of("payment.success")["void_expected_amount"] == "0.00"

    def test_requests_the_refund_of_what_was_paid_twice(self, told: Told) -> None:
        order = place_order()
        pay_for(order, reference="ch_1")

        second = pay_for(order, reference="ch_2")

        order.refresh_from_db()
        assert (order.status, order.paid_minor, order.refund_pending_minor) == ("confirmed", 9980, 4990)
        assert Refund.objects.get().payment == second
        assert told(order.public_id)[-2:] == ["payment.success", "order.refund.requested"]

    def test_requests_the_refund_of_what_is_captured_beyond_a_cancelled_unit(self, now: datetime) -> None:
        order = place_order()
        pay_for(order, kind="authorisation", reference="au_1")
        checkout.cancel(order.public_id, reason="", actor="ann", now=now, quantities={order.items[0].public_id: 1})

        pay_for(order, reference="ch_1")

        assert Refund.objects.get().amount_minor == 2495

    def test_leaves_a_failed_late_attempt_unpaid(self, now: datetime) -> None:
        order = place_order()
        checkout.cancel(order.public_id, reason="", actor="ann", now=now)

        pay_for(order, result="failed")

        order.refresh_from_db()
        assert (order.payment_status, order.refund_expected_minor) == ("failed", 0)

    def test_does_not_confirm_an_order_on_hold_but_keeps_its_stock(self) -> None:
        order = place_order()
        Order.objects.filter(pk=order.pk).update(on_hold=True)

        pay_for(order)

        order.refresh_from_db()
        assert (order.state, order.payment_status, order.hold_expires_at) == ("pending", "paid", None)

    def test_completes_a_delivered_order_when_its_cash_comes_in(self, now: datetime) -> None:
        shipment = ship_order(method="cod")
        fulfilment.deliver(shipment.public_id, delivered_at=now, actor="ben", now=now)
        order = Order.objects.get()
        assert order.state == "confirmed"

        pay_for(order, kind="cod_collection", gateway="dhl")

        order.refresh_from_db()
        assert (order.state, order.payment_status) == ("completed", "paid")


@pytest.mark.django_db(transaction=True)
class TestRaces:
    def test_one_reference_of_two_orders_at_once_pays_for_the_first(self) -> None:
        make_product("MUG")
        orders = [place_order(("MUG", 1)) for _ in range(2)]
        together = threading.Barrier(2)

        def tell(order: Order) -> str:
            together.wait()
            try:
                return pay_for(order, reference="pi_1").result
            except PaymentMismatch as mismatch:
                return mismatch.code
            finally:
                connections.close_all()

        with ThreadPoolExecutor(2) as pool:
            assert sorted(pool.map(tell, orders)) == ["payment_mismatch", "success"]

        assert sorted(Order.objects.values_list("status", "paid_minor")) == [("confirmed", 2495), ("pending", 0)]
        assert sorted(Payment.objects.values_list("result", flat=True)) == ["refused", "success"]
        assert Event.objects.filter(type="payment.success").count() == 1


class TestPayment:
    def test_is_never_changed(self) -> None:
        payment = pay_for(confirm_order(method="cod"), kind="cod_collection")

        with pytest.raises(TypeError, match="is a fact"):
            payment.save()

    @pytest.mark.parametrize(
        ("code", "is_retryable"), [("stolen_card", False), ("insufficient_funds", True), ("", True)]
    )
    def test_says_whether_another_try_may_help(self, code: str, is_retryable: bool) -> None:
        assert Payment(failure_code=code).is_retryable is is_retryable
