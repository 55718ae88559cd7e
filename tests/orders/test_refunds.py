import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import pytest
from django.db import IntegrityError, connections, transaction

from orders import checkout, refunds
from orders.models import Order, OrderLine, Refund, Return
from orders.refunds import NotRefundable, RefundMismatch
from orders.transitions import InvalidTransition
from tests.factories import (
    ask_refund,
    captured_in_parts,
    confirm_order,
    confirm_refund,
    deliver_order,
    make_product,
    pay_for,
    place_order,
    send_back,
)
from tests.told import DataOf, Told
from webhooks.models import Event

pytestmark = pytest.mark.django_db


class TestRequest:
    def test_sets_the_money_aside_and_tells_who_has_to_send_it(self, told: Told, data_of: DataOf) -> None:
        order = deliver_order()

        refund = ask_refund(order, 2495)

        order.refresh_from_db()
        assert (order.refund_pending_minor, order.refundable_minor, order.refunded_minor) == (2495, 2495, 0)
        assert (order.payment_status, order.state) == ("paid", "completed")
        assert told(order.public_id)[-1] == "order.refund.requested"
        data = data_of("order.refund.requested")
        assert (data["refund_id"], data["refund_amount"], data["requested_by"]) == (refund.public_id, "24.95", "ann")
        assert (data["payment_gateway"], data["payment_reference"]) == ("stripe", f"ch_{order.number}")
        assert (data["return_id"], data["remaining_refundable_amount"]) == (None, "24.95")

    @pytest.mark.parametrize("amount_minor", [4991, 0])
    def test_refuses_more_than_was_paid(self, amount_minor: int, told: Told) -> None:
        order = deliver_order()

        with pytest.raises(NotRefundable, match=r"is paid: €49.90 can be refunded, not"):
            ask_refund(order, amount_minor)

        assert Refund.objects.count() == 0
        assert told(order.public_id)[-1] == "order.delivered"

    def test_refuses_what_another_refund_has_asked_for(self) -> None:
        order = deliver_order()
        ask_refund(order, 4000)

        with pytest.raises(NotRefundable, match=r"€9.90 can be refunded, not €9.91"):
            ask_refund(order, 991)

    def test_refuses_an_order_that_nobody_has_paid_for(self) -> None:
        with pytest.raises(NotRefundable, match=r"is unpaid: €0.00 can be refunded"):
            ask_refund(place_order())

    def test_refuses_an_authorisation_that_was_not_captured(self) -> None:
        order = place_order()
        pay_for(order, kind="authorisation")

        with pytest.raises(NotRefundable, match=r"is authorised: €0.00"):
            ask_refund(order)

    def test_refuses_another_currency_and_another_order_s_return(self) -> None:
        make_product("MUG")
        order, other = deliver_order(("MUG", 1)), deliver_order(("MUG", 1))
        elsewhere = send_back(other)

        with pytest.raises(RefundMismatch, match="is in EUR, not USD"):
            ask_refund(order, currency="USD")
        with pytest.raises(Return.DoesNotExist):
            ask_refund(order, return_id=elsewhere.public_id)

        assert Refund.objects.count() == 0

    def test_is_of_one_payment_that_has_the_amount_left(self) -> None:
        order = captured_in_parts()

        assert ask_refund(order, 2000).payment.gateway_reference == "ch_2"
        assert ask_refund(order, 1500).payment.gateway_reference == "ch_1"
        with pytest.raises(NotRefundable, match=r"€9.90 of any one payment can be refunded, not €14.90"):
            ask_refund(order, 1490)

    def test_is_of_the_payment_that_is_named(self) -> None:
        order = captured_in_parts()
        first = order.payments.get(gateway_reference="ch_1")

        assert ask_refund(order, 500, payment_id=first.public_id).payment == first

    def test_of_goodwill_is_not_owed_again(self, now: datetime) -> None:
        order = confirm_order()

        refund = ask_refund(order, 1000)
        order.refresh_from_db()
        assert (order.due_minor, order.outstanding_minor) == (3990, 0)

        refunds.failed(refund.public_id, actor="stripe", now=now)
        order.refresh_from_db()
        assert (order.due_minor, order.overpaid_minor) == (3990, 1000)


class TestProcessed:
    def test_gives_the_money_back(self, told: Told, data_of: DataOf, now: datetime) -> None:
        order = deliver_order()
        opened = send_back(order)
        refund = ask_refund(order, 2495, return_id=opened.public_id)

        confirm_refund(refund, now)

        order.refresh_from_db()
        assert (order.payment_status, order.refunded_minor, order.refund_pending_minor) == (
            "partially_refunded",
            2495,
            0,
        )
        assert order.lines.get().refunded == 1
        assert told(order.public_id)[-1] == "order.refund.processed"
        data = data_of("order.refund.processed")
        assert (data["refund_id"], data["return_id"]) == (refund.public_id, opened.public_id)
        assert (data["payment_id"], data["refund_amount"]) == (refund.payment.public_id, "24.95")
        assert (data["is_full"], data["remaining_refundable_amount"]) == (False, "24.95")
        assert (data["refunded_amount"], data["reason"]) == ("24.95", "Not as pictured")

    def test_of_all_that_was_paid_is_full(self, data_of: DataOf, now: datetime) -> None:
        order = deliver_order()

        for index in range(2):
            confirm_refund(ask_refund(order, 2495), now, f"re_{index}")

        order.refresh_from_db()
        assert (order.payment_status, order.status) == ("refunded", "delivered")
        assert (data_of("order.refund.processed")["is_full"], order.refundable_minor) == (True, 0)

    def test_has_one_effect_however_often_it_is_told(self, told: Told, now: datetime) -> None:
        order = deliver_order()
        refund = ask_refund(order)

        for _ in range(2):
            confirm_refund(refund, now)

        order.refresh_from_db()
        assert order.refunded_minor == 2495
        assert told(order.public_id).count("order.refund.processed") == 1

    def test_is_refused_under_another_reference(self, now: datetime) -> None:
        refund = confirm_refund(ask_refund(deliver_order()), now)

        with pytest.raises(InvalidTransition, match=r"is processed \(re_1\), not requested"):
            confirm_refund(refund, now, "re_2")

    def test_is_refused_under_the_reference_of_another_refund(self, now: datetime) -> None:
        order = deliver_order()
        first, second = (ask_refund(order, 100) for _ in range(2))
        confirm_refund(first, now)

        with pytest.raises(RefundMismatch, match=f"re_1 is the reference of the refund {first} already"):
            confirm_refund(second, now)

        order.refresh_from_db()
        assert (order.refunded_minor, order.refund_pending_minor) == (100, 100)

    def test_is_refused_in_words_where_the_other_one_shows_too_late(
        self, monkeypatch: pytest.MonkeyPatch, now: datetime
    ) -> None:
        order = deliver_order()
        first, second = (ask_refund(order, 100) for _ in range(2))
        confirm_refund(first, now)
        require_new, unseen = refunds._require_new, iter([True])

        def look(refund: Refund, gateway_reference: str) -> None:
            if not next(unseen, False):
                require_new(refund, gateway_reference)

        monkeypatch.setattr(refunds, "_require_new", look)
        with pytest.raises(RefundMismatch, match=f"re_1 is the reference of the refund {first} already"):
            confirm_refund(second, now)

        order.refresh_from_db()
        assert (order.refunded_minor, order.refund_pending_minor) == (100, 100)

    def test_knows_no_such_refund(self, now: datetime) -> None:
        with pytest.raises(Refund.DoesNotExist):
            refunds.processed("rfd_none", gateway_reference="re_1", actor="stripe", now=now)


class TestRefundedUnits:
    def test_of_a_return_are_counted_once_however_many_refunds_it_takes(self, now: datetime) -> None:
        order = deliver_order()
        opened = send_back(order, 2)

        for index in range(2):
            confirm_refund(ask_refund(order, 1000, return_id=opened.public_id), now, f"re_{index}")

        assert order.lines.get().refunded == 2

    def test_of_a_failed_refund_are_counted_with_the_next_one(self, now: datetime) -> None:
        order = confirm_order()
        quantities = {order.items[0].public_id: 1}
        checkout.cancel(order.public_id, reason="", actor="ann", now=now, quantities=quantities)
        refunds.failed(Refund.objects.get().public_id, actor="stripe", now=now)

        checkout.cancel(order.public_id, reason="", actor="ann", now=now, quantities=quantities)
        confirm_refund(Refund.objects.latest("pk"), now)

        order.refresh_from_db()
        assert (order.refunded_minor, order.lines.get().refunded) == (4990, 2)

    def test_of_a_failed_refund_are_counted_though_goodwill_comes_on_top(self, now: datetime) -> None:
        order = confirm_order()
        quantities = {order.items[0].public_id: 1}
        checkout.cancel(order.public_id, reason="", actor="ann", now=now, quantities=quantities)
        refunds.failed(Refund.objects.get().public_id, actor="stripe", now=now)

        confirm_refund(ask_refund(order, 3000), now)

        order.refresh_from_db()
        assert (order.refunded_minor, order.due_minor, order.lines.get().refunded) == (3000, 1990, 1)

    def test_that_were_never_paid_for_are_not_counted(self, now: datetime) -> None:
        order = place_order()
        quantities = {order.items[0].public_id: 1}
        checkout.cancel(order.public_id, reason="", actor="ann", now=now, quantities=quantities)
        pay_for(order, amount_minor=2495)
        checkout.cancel(order.public_id, reason="", actor="ann", now=now, quantities=quantities)
        refunds.failed(Refund.objects.get().public_id, actor="stripe", now=now)

        confirm_refund(ask_refund(order, 2495), now)

        order.refresh_from_db()
        assert (order.payment_status, order.lines.get().refunded) == ("refunded", 1)

    def test_are_none_of_goodwill(self, now: datetime) -> None:
        order = deliver_order()

        confirm_refund(ask_refund(order, 1000), now)

        assert order.lines.get().refunded == 0


class TestTheDatabase:
    def test_refuses_a_reference_of_two_refunds(self, now: datetime) -> None:
        order = deliver_order()
        first = ask_refund(order, 100)
        ask_refund(order, 100)
        confirm_refund(first, now)

        with pytest.raises(IntegrityError), transaction.atomic():
            Refund.objects.filter(state="requested").update(state="processed", settled_at=now, gateway_reference="re_1")

    @pytest.mark.parametrize(
        ("changes", "constraint"),
        [({"amount_minor": 0}, "refund_amount_positive"), ({"state": "failed"}, "refund_settled_at_a_moment")],
    )
    def test_refuses_what_cannot_be(self, changes: dict[str, Any], constraint: str) -> None:
        ask_refund(deliver_order())

        with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
            Refund.objects.update(**changes)


@pytest.mark.django_db(transaction=True)
class TestRaces:
    def test_all_at_once_get_no_more_than_was_paid(self) -> None:
        order = deliver_order()

        def ask(_: int) -> str:
            try:
                ask_refund(order, 1000)
            except (NotRefundable, InvalidTransition):
                return "refused"
            finally:
                connections.close_all()
            return "requested"

        with ThreadPoolExecutor(8) as pool:
            answers = Counter(pool.map(ask, range(8)))

        order.refresh_from_db()
        assert answers == {"requested": 4, "refused": 4}
        assert (order.refund_pending_minor, Refund.objects.count()) == (4000, 4)
        assert Event.objects.filter(type="order.refund.requested").count() == 4

    def test_one_reference_of_two_orders_at_once_is_of_the_first(self, now: datetime) -> None:
        make_product("MUG")
        asked = [ask_refund(deliver_order(("MUG", 1))) for _ in range(2)]
        together = threading.Barrier(2)

        def tell(refund: Refund) -> str:
            together.wait()
            try:
                return confirm_refund(refund, now).state
            except RefundMismatch as mismatch:
                return mismatch.code
            finally:
                connections.close_all()

        with ThreadPoolExecutor(2) as pool:
            assert sorted(pool.map(tell, asked)) == ["processed", "refund_mismatch"]

        assert sorted(Order.objects.values_list("refunded_minor", flat=True)) == [0, 2495]
        assert Event.objects.filter(type="order.refund.processed").count() == 1

    def test_told_twice_at_once_is_processed_once(self, now: datetime) -> None:
        refund = ask_refund(deliver_order())

        def tell(_: int) -> str:
            try:
                return confirm_refund(refund, now).state
            finally:
                connections.close_all()

        with ThreadPoolExecutor(4) as pool:
            assert set(pool.map(tell, range(4))) == {"processed"}

        assert OrderLine.objects.get().order.refunded_minor == 2495
        assert Event.objects.filter(type="order.refund.processed").count() == 1
