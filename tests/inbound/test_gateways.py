"""Stripe: payments and refunds, as it documents its events."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from orders import refunds
from orders.models import Order, Payment, Refund
from tests.factories import NOW, place_order
from tests.inbound.conftest import last_message, only_message, take_in
from tests.inbound.senders import Sender, load
from webhooks.models import Event

pytestmark = pytest.mark.django_db

Connect = Callable[..., Sender]
INTENT = "pi_3MtwBwLkdIwHu7ix28a3tqPa"
REFUND = "re_1Nispe2eZvKYlo2Cd31jOCgZ"


def stripe(name: str, **fields: Any) -> dict[str, Any]:
    body = load(f"stripe_{name}")
    body["data"]["object"] |= fields
    return body


def paid(order: Order, **fields: Any) -> dict[str, Any]:
    return stripe("payment_intent_succeeded", metadata={"order_id": order.public_id}, **fields)


def told(name: str) -> int:
    return Event.objects.filter(type=name).count()


@pytest.fixture
def order() -> Order:
    return place_order()


@pytest.fixture
def sender(connect: Connect) -> Sender:
    return connect("stripe")


@pytest.fixture
def paid_order(order: Order, sender: Sender) -> Order:
    sender.send(paid(order))
    take_in()
    order.refresh_from_db()
    return order


class TestPayment:
    @pytest.mark.parametrize("named", ["order_id", "order_number", "reference"])
    def test_succeeded_pays_and_confirms_the_order_it_names(self, named: str, order: Order, sender: Sender) -> None:
        Order.objects.filter(pk=order.pk).update(payment_reference=INTENT)
        names = {"order_id": order.public_id, "order_number": str(order)}
        metadata = {named: names[named]} if named in names else {}

        sender.send(stripe("payment_intent_succeeded", metadata=metadata))
        take_in()

        order.refresh_from_db()
        payment = Payment.objects.get()
        assert (order.state, order.payment_status) == ("confirmed", "paid")
        assert (payment.kind, payment.gateway, payment.gateway_reference) == ("capture", "stripe", INTENT)
        assert (payment.amount_minor, payment.currency, payment.method) == (4990, "EUR", "card")
        assert payment.actor == "stripe"
        assert (told("payment.success"), told("order.confirmed")) == (1, 1)
        assert only_message().subject == order.public_id

    def test_failed_is_an_attempt_with_its_reason_and_each_try_counts(self, order: Order, sender: Sender) -> None:
        first = stripe("payment_intent_failed", metadata={"order_id": order.public_id})
        second = deepcopy(first) | {"id": "evt_second"}
        second["data"]["object"]["last_payment_error"]["charge"] = "ch_second"

        for body in (first, second, first):
            sender.send(body)
        take_in()

        attempts = Payment.objects.order_by("pk")
        assert [(each.result, each.failure_code) for each in attempts] == [("failed", "insufficient_funds")] * 2
        assert attempts[0].failure_message == "Your card has insufficient funds."
        assert told("payment.failed") == 2

    def test_authorised_confirms_and_its_capture_pays(self, order: Order, sender: Sender) -> None:
        held = paid(order, amount_capturable=4990, amount_received=0, status="requires_capture")
        held |= {"id": "evt_held", "type": "payment_intent.amount_capturable_updated"}

        sender.send(held)
        take_in()
        order.refresh_from_db()
        assert (order.state, order.payment_status) == ("confirmed", "authorised")

        sender.send(paid(order))
        take_in()
        order.refresh_from_db()
        assert order.payment_status == "paid"

    def test_authorised_is_one_though_it_is_told_again_when_a_part_is_captured(
        self, order: Order, sender: Sender
    ) -> None:
        for number, (capturable, received) in enumerate([(4990, 0), (2990, 2000)]):
            held = paid(order, amount_capturable=capturable, amount_received=received, status="requires_capture")
            sender.send(held | {"id": f"evt_{number}", "type": "payment_intent.amount_capturable_updated"})
            take_in()
        sender.send(paid(order))
        take_in()

        order.refresh_from_db()
        assert (order.payment_status, order.authorised_minor, order.paid_minor) == ("paid", 4990, 4990)
        assert not Payment.objects.filter(result="refused").exists()

    def test_of_another_amount_than_was_told_before_is_parked_and_kept_with_the_order(
        self, paid_order: Order, sender: Sender
    ) -> None:
        sender.send(paid(paid_order, amount_received=2000) | {"id": "evt_again"})
        take_in()

        paid_order.refresh_from_db()
        assert (last_message().state, last_message().subject) == ("parked", paid_order.public_id)
        assert f"{INTENT} stands for capture of €49.90 already" in last_message().reason
        assert (paid_order.paid_minor, Payment.objects.latest("pk").result) == (4990, "refused")

    def test_told_twice_by_events_of_two_ids_pays_once(self, paid_order: Order, sender: Sender) -> None:
        sender.send(paid(paid_order) | {"id": "evt_again"})
        take_in()

        paid_order.refresh_from_db()
        assert (paid_order.paid_minor, Payment.objects.count()) == (4990, 1)

    @pytest.mark.parametrize("fields", [{"amount_received": 1}, {"currency": "usd"}])
    def test_that_does_not_match_is_parked_and_kept_with_the_order(
        self, fields: dict[str, Any], order: Order, sender: Sender
    ) -> None:
        sender.send(paid(order, **fields))
        take_in()

        order.refresh_from_db()
        assert (only_message().state, only_message().subject) == ("parked", order.public_id)
        assert f"Order {order}" in only_message().reason
        assert (order.payment_status, Payment.objects.get().result) == ("unpaid", "refused")

    def test_of_no_order_here_is_ignored(self, order: Order, sender: Sender) -> None:
        sender.send(stripe("payment_intent_succeeded", metadata={}))
        take_in()

        assert only_message().state == "ignored"

    def test_of_an_order_that_is_not_there_is_tried_again(self, sender: Sender) -> None:
        sender.send(stripe("payment_intent_succeeded", metadata={"order_id": "ord_gone"}))
        take_in()

        assert (only_message().state, only_message().reason) == ("received", "There is no order ord_gone.")


class TestRefund:
    def test_that_was_asked_for_here_is_processed(self, paid_order: Order, sender: Sender) -> None:
        refund = _ask(paid_order)

        sender.send(stripe("refund_updated", metadata={"refund_id": refund.public_id}))
        take_in()

        refund.refresh_from_db()
        paid_order.refresh_from_db()
        assert (refund.state, refund.gateway_reference) == ("processed", REFUND)
        assert paid_order.payment_status == "refunded"
        assert told("order.refund.processed") == 1
        assert last_message().effect == f"Refund {refund} processed"

    def test_is_found_by_its_amount_without_our_id(self, paid_order: Order, sender: Sender) -> None:
        refund = _ask(paid_order)

        sender.send(stripe("refund_updated"))
        take_in()

        refund.refresh_from_db()
        assert (refund.state, Refund.objects.count()) == ("processed", 1)

    def test_made_at_the_gateway_is_told_of_here(self, paid_order: Order, sender: Sender) -> None:
        sender.send(stripe("refund_updated", amount=1000))
        take_in()

        refund = Refund.objects.get()
        assert (refund.state, refund.amount_minor, refund.reason) == ("processed", 1000, "Requested by customer")
        assert told("order.refund.processed") == 1

    def test_told_by_several_events_is_one(self, paid_order: Order, sender: Sender) -> None:
        for kind in ("refund.created", "refund.updated", "charge.refund.updated"):
            sender.send(stripe("refund_updated") | {"id": f"evt_{kind}", "type": kind})
        take_in()

        assert (Refund.objects.count(), told("order.refund.processed")) == (1, 1)

    def test_that_failed_can_be_asked_for_again(self, paid_order: Order, sender: Sender) -> None:
        refund = _ask(paid_order)

        sender.send(stripe("refund_failed", metadata={"refund_id": refund.public_id}))
        take_in()

        refund.refresh_from_db()
        assert (refund.state, refund.failure_code) == ("failed", "expired_or_canceled_card")
        assert told("order.refund.failed") == 1

    def test_that_was_processed_and_then_failed_can_be_asked_for_again(self, paid_order: Order, sender: Sender) -> None:
        refund = _ask(paid_order)
        sender.send(stripe("refund_updated", metadata={"refund_id": refund.public_id}))
        take_in()

        sender.send(stripe("refund_failed", id=REFUND))
        take_in()

        refund.refresh_from_db()
        paid_order.refresh_from_db()
        assert (last_message().state, last_message().effect) == ("processed", f"Refund {refund} failed")
        assert (refund.state, refund.failure_code) == ("failed", "expired_or_canceled_card")
        assert (paid_order.payment_status, paid_order.refundable_minor) == ("paid", 4990)
        assert (told("order.refund.processed"), told("order.refund.failed")) == (1, 1)

    def test_that_failed_unasked_is_ignored(self, paid_order: Order, sender: Sender) -> None:
        sender.send(stripe("refund_failed"))
        take_in()

        assert (last_message().state, Refund.objects.count()) == ("ignored", 0)

    def test_that_is_pending_is_ignored(self, paid_order: Order, sender: Sender) -> None:
        sender.send(stripe("refund_updated", status="pending"))
        take_in()

        assert (last_message().state, Refund.objects.count()) == ("ignored", 0)

    def test_of_more_than_was_paid_is_refused_in_words(self, paid_order: Order, sender: Sender) -> None:
        sender.send(stripe("refund_updated", amount=9990))
        take_in()

        assert last_message().state == "received"
        assert "can be refunded" in last_message().reason
        assert not Refund.objects.exists()

    def test_of_a_payment_that_is_not_told_yet_waits_for_it(self, order: Order, sender: Sender) -> None:
        sender.send(stripe("refund_updated"))
        take_in()

        assert (only_message().state, only_message().reason) == (
            "received",
            f"There is no payment {INTENT} or ch_3MtwBwLkdIwHu7ix.",
        )


def _ask(order: Order) -> Refund:
    return refunds.request(order.public_id, amount_minor=4990, currency="EUR", reason="Sorry", actor="ann", now=NOW)


class TestWrongTypes:
    @pytest.mark.parametrize(
        ("name", "field", "value"),
        [
            ("payment_intent_succeeded", "id", None),
            ("payment_intent_succeeded", "id", {"a": 1}),
            ("payment_intent_succeeded", "amount_received", -1),
            ("payment_intent_succeeded", "amount_received", "a lot"),
            ("payment_intent_succeeded", "amount_received", 10**40),
            ("payment_intent_succeeded", "currency", "euros"),
            ("payment_intent_succeeded", "currency", 978.5),
            ("payment_intent_succeeded", "metadata", "ord_1"),
            ("payment_intent_succeeded", "payment_method_types", "card"),
            ("payment_intent_failed", "last_payment_error", []),
            ("refund_updated", "amount", None),
            ("refund_updated", "status", ["succeeded"]),
            ("refund_updated", "payment_intent", {"id": "pi"}),
        ],
    )
    def test_are_kept_with_a_reason(self, name: str, field: str, value: object, order: Order, sender: Sender) -> None:
        assert sender.send(stripe(name, **{field: value})).status_code == 202
        take_in()

        assert only_message().state == "parked"
        assert field in only_message().reason
        assert not Payment.objects.exists()

    @pytest.mark.parametrize("data", [None, [], "x", {}, {"object": None}, {"object": [1]}])
    def test_of_the_envelope_are_kept_with_a_reason(self, data: object, sender: Sender) -> None:
        sender.send({"id": "evt_1", "type": "payment_intent.succeeded", "data": data})
        take_in()

        assert (only_message().state, only_message().reason) == ("parked", "The event holds no object.")
