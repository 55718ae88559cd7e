"""Returns and refunds by REST: who may call what, what is answered, and what an order then shows."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from pytest_django import DjangoAssertNumQueries

from orders.models import Order, Refund, Return
from tests.caller import Caller
from tests.factories import ask_refund, confirm_order, deliver_order, send_back, take_back
from tests.told import Told

pytestmark = pytest.mark.django_db


@pytest.fixture
def erp() -> Caller:
    return Caller("orders", "payments")


@pytest.fixture
def order(now: datetime) -> Order:
    return deliver_order(now=now)


def wish(order: Order, quantity: int = 1) -> dict[str, Any]:
    lines = [{"line_id": order.items[0].public_id, "quantity": quantity, "reason": "Chipped"}]
    return {"reason": "Not as pictured", "lines": lines}


def receipt(order: Order, condition: str, quantity: int = 1) -> dict[str, Any]:
    return {"line_id": order.items[0].public_id, "quantity": quantity, "condition": condition}


class TestReturns:
    def test_are_opened_by_an_erp(self, erp: Caller, order: Order, told: Told) -> None:
        answer = erp.post(f"orders/{order.public_id}/returns/", wish(order))

        opened = answer.json()
        assert (answer.status_code, opened["state"], opened["initiated_by"]) == (201, "initiated", "ERP")
        assert (opened["return_number"], opened["order_number"]) == (f"{order}-R1", order.number)
        assert (opened["expected_refund_amount"], opened["currency"]) == ("24.95", "EUR")
        (line,) = opened["lines"]
        assert (line["sku"], line["quantity"], line["reason"], line["sellable"]) == ("MUG", 1, "Chipped", 0)
        assert told(order.public_id)[-1] == "order.return.initiated"

    def test_are_opened_by_the_shopper_who_hears_of_nobody_who_works_here(self, order: Order, told: Told) -> None:
        answer = Caller().post(f"track/{order.tracking_token}/returns/", wish(order, 2))

        assert answer.status_code == 201
        assert "initiated_by" not in answer.json()
        assert Return.objects.get().initiated_by == "customer"
        seen = Caller().get(f"track/{order.tracking_token}/").json()
        assert [each["return_id"] for each in seen["returns"]] == [answer.json()["return_id"]]
        assert seen["timeline"][-1]["status"] == "return_initiated"

    def test_are_refused_to_the_shopper_after_the_window(self, now: datetime) -> None:
        order = deliver_order(now=now - timedelta(days=31))

        answer = Caller().post(f"track/{order.tracking_token}/returns/", wish(order))

        assert (answer.status_code, answer.json()["code"]) == (409, "invalid_transition")
        assert "could be sent back until" in answer.json()["detail"]

    def test_are_received_in_parts_and_conditions(self, erp: Caller, order: Order, now: datetime) -> None:
        opened = send_back(order, 2, now=now)
        lines = [receipt(order, "sellable"), receipt(order, "damaged")]

        answer = erp.post(f"returns/{opened.public_id}/receive/", {"lines": lines})

        received = answer.json()
        assert (answer.status_code, received["state"], received["order_status"]) == (200, "received", "returned")
        assert (received["lines"][0]["sellable"], received["lines"][0]["damaged"]) == (1, 1)
        assert received["received_by"] == "ERP"


class TestRefunds:
    def test_are_requested_and_confirmed(self, erp: Caller, order: Order, told: Told, now: datetime) -> None:
        opened = take_back(send_back(order, now=now), now=now)
        body = {"amount": "24.95", "currency": "EUR", "reason": "Chipped", "return_id": opened.public_id}

        asked = erp.post(f"orders/{order.public_id}/refunds/", body)
        result = {"result": "success", "gateway_reference": "re_1"}
        first, again = (erp.post(f"refunds/{asked.json()['refund_id']}/result/", result) for _ in range(2))

        assert (asked.status_code, asked.json()["state"]) == (201, "requested")
        assert (asked.json()["return_id"], asked.json()["remaining_refundable_amount"]) == (opened.public_id, "24.95")
        assert (first.status_code, first.json()) == (200, again.json())
        assert (first.json()["state"], first.json()["payment_status"]) == ("processed", "partially_refunded")
        assert (first.json()["refunded_amount"], first.json()["gateway_reference"]) == ("24.95", "re_1")
        assert told(order.public_id)[-2:] == ["order.refund.requested", "order.refund.processed"]

    def test_fail_and_can_be_asked_for_again(self, erp: Caller, order: Order, now: datetime) -> None:
        refund = ask_refund(order, 4990, now=now)

        answer = erp.post(f"refunds/{refund.public_id}/result/", {"result": "failed", "failure_code": "card_closed"})

        assert (answer.json()["state"], answer.json()["failure_code"]) == ("failed", "card_closed")
        assert answer.json()["remaining_refundable_amount"] == "49.90"
        again = {"amount": "49.90", "currency": "EUR", "reason": "By transfer"}
        assert erp.post(f"orders/{order.public_id}/refunds/", again).status_code == 201

    def test_beyond_what_was_paid_are_refused(self, erp: Caller, order: Order) -> None:
        body = {"amount": "49.91", "currency": "EUR", "reason": "x"}

        answer = erp.post(f"orders/{order.public_id}/refunds/", body)

        assert (answer.status_code, answer.json()["code"]) == (409, "not_refundable")
        assert Refund.objects.count() == 0

    def test_follow_a_cancelled_unit(self, erp: Caller, now: datetime) -> None:
        order = confirm_order(now=now)
        lines = [{"line_id": order.items[0].public_id, "quantity": 1}]

        cancelled = erp.post(f"orders/{order.public_id}/cancel/", {"reason": "Out of stock", "lines": lines}).json()

        (refund,) = cancelled["refunds"]
        assert (refund["amount"], refund["reason"], refund["state"]) == ("24.95", "Out of stock", "requested")
        assert (cancelled["status"], cancelled["payment_status"]) == ("confirmed", "paid")


class TestScopes:
    @pytest.mark.parametrize(
        ("path", "scope"),
        [
            ("orders/{order}/returns/", "orders"),
            ("returns/{opened}/receive/", "orders"),
            ("orders/{order}/refunds/", "payments"),
            ("refunds/{refund}/result/", "payments"),
        ],
    )
    def test_each_needs_its_own(self, order: Order, now: datetime, path: str, scope: str) -> None:
        opened, refund = send_back(order, now=now), ask_refund(order, now=now)
        path = path.format(order=order.public_id, opened=opened.public_id, refund=refund.public_id)
        other = {"orders": "payments", "payments": "orders"}[scope]

        assert Caller().post(path, {}).status_code == 401
        assert Caller(other).post(path, {}).status_code == 403
        assert Caller(scope).post(path, {}).status_code == 400


class TestClosing:
    def test_lets_what_never_came_be_sent_back_again(self, erp: Caller, order: Order, now: datetime) -> None:
        opened = send_back(order, 2, now=now)

        closed = erp.post(f"returns/{opened.public_id}/close/")
        again = erp.post(f"returns/{opened.public_id}/close/")

        assert (closed.status_code, again.status_code) == (200, 409)
        assert (closed.json()["state"], closed.json()["expected_refund_amount"]) == ("closed", "0.00")
        lines = [{"line_id": order.items[0].public_id, "quantity": 2}]
        assert erp.post(f"orders/{order.public_id}/returns/", {"reason": "x", "lines": lines}).status_code == 201


class TestReading:
    def test_an_order_shows_what_came_back_and_what_was_given_back(
        self, erp: Caller, order: Order, now: datetime
    ) -> None:
        opened = take_back(send_back(order, now=now), now=now)
        refund = ask_refund(order, return_id=opened.public_id, now=now)
        erp.post(f"refunds/{refund.public_id}/result/", {"result": "success", "gateway_reference": "re_1"})

        seen = erp.get(f"orders/{order.public_id}/").json()

        assert (seen["refunded_amount"], seen["payment_status"]) == ("24.95", "partially_refunded")
        assert [(each["return_id"], each["state"]) for each in seen["returns"]] == [(opened.public_id, "received")]
        assert [(each["refund_id"], each["return_id"]) for each in seen["refunds"]] == [
            (refund.public_id, opened.public_id)
        ]
        assert [(line["returned"], line["refunded"]) for line in seen["lines"]] == [(1, 1)]

    def test_costs_the_same_queries_however_much_came_back(
        self, erp: Caller, order: Order, now: datetime, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        for _ in range(2):
            opened = send_back(order, now=now)
            ask_refund(order, 100, return_id=opened.public_id, now=now)

        # The token, version, order, lines, parcels, their lines, scans, payments, holds, returns, their lines, refunds.
        with django_assert_num_queries(12):
            assert len(erp.get(f"orders/{order.public_id}/").json()["refunds"]) == 2

    def test_the_verbs_cost_a_bounded_number_of_statements(
        self, order: Order, now: datetime, django_assert_max_num_queries: DjangoAssertNumQueries
    ) -> None:
        with django_assert_max_num_queries(16):
            opened = send_back(order, 2, now=now)
        with django_assert_max_num_queries(26):
            take_back(opened, now=now)
        with django_assert_max_num_queries(18):
            ask_refund(order, return_id=opened.public_id, now=now)
