"""Whatever is done with orders, in whatever order: the counters, the stock, the money and the events always agree.

Every run takes other steps, and prints the seed they were drawn from: with it as STATEFUL_SEED, and with as many
examples, it takes the same again. For more of them: `STATEFUL_EXAMPLES=200 pytest tests/orders/test_stateful.py`.
"""

import os
import random
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.db.models import Count, Model
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from inventory.models import StockMovement, Warehouse
from inventory.openings import open_or_close
from orders import checkout, couriers, fulfilment, holds, payments, refunds, returns
from orders.models import (
    Hold,
    HoldRule,
    Order,
    OrderTransition,
    Payment,
    Refund,
    Return,
    Shipment,
    TrackingUpdate,
)
from orders.models.returns import Condition
from orders.models.shipment import Fate, TrackingStatus
from orders.returns import Receipt, Wish
from tests.factories import NOW, add_stock, confirm_order, deliver_order, make_cart, make_product, ship_order
from tests.orders.invariants import (
    WORDS,
    check_answers,
    check_ledgers,
    check_money,
    check_shelves,
    check_stock,
    check_units,
    check_words,
    keep_answers,
)
from webhooks.models import Event
from webhooks.sources import DomainError

EXAMPLES = int(os.environ.get("STATEFUL_EXAMPLES", "0"))
SEED = int(os.environ.get("STATEFUL_SEED", "0")) or random.randrange(1, 1 << 32)
BOUNDED = settings(
    max_examples=EXAMPLES or 8,
    stateful_step_count=50,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    # A failure is made short only where there is time for it.
    phases=[Phase.generate, Phase.shrink] if EXAMPLES else [Phase.generate],
)
MONEY = (
    "cancelled_minor",
    "credited_minor",
    "authorised_minor",
    "paid_minor",
    "refunded_minor",
    "refund_pending_minor",
)
LEDGERS = (Order, OrderTransition, StockMovement, Shipment, TrackingUpdate, Hold, Return, Refund)
RULES = (
    {"test": "failed_payments", "count": 2, "kind": "payment"},
    {"test": "many_orders", "count": 3},
    {"test": "first_order_above", "amount_minor": 5000, "currency": "EUR", "kind": "address"},
)
UNITS = st.integers(1, 3)
# Half of the time all of it.
PART = st.sampled_from([1, 1, 2])
PICK = st.integers(0, 9_999)

# Of each order: what is written of it, and how many events tell of it.
States = Mapping[str, tuple[list[Any], int]]


def step(model: type[Model], **choices: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A rule for any row of the model, once there is one."""

    def decorate(take: Callable[..., None]) -> Callable[..., None]:
        def taken(self: "Shop", pick: int, **chosen: Any) -> None:
            rows = model._default_manager.order_by("-pk")
            take(self, rows[pick % rows.count()], **chosen)

        taken.__name__ = take.__name__
        is_there: Any = precondition(lambda _: model._default_manager.exists())
        as_rule: Any = rule(pick=PICK, **choices)
        return is_there(as_rule(taken))  # type: ignore[no-any-return]

    return decorate


class Shop(RuleBasedStateMachine):
    """Steps are taken whether or not they make sense: the verbs say which do."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.references = 0
        # Order -> the version that was checked last.
        self.checked: dict[int, int] = {}
        # Each example is rolled back.
        self.example = transaction.atomic()
        self.example.__enter__()
        mug = make_product("MUG", on_hand=8, warehouse="BER")
        add_stock(mug, on_hand=4, warehouse="MUC")
        make_product("PAN", on_hand=8, warehouse="MUC", price_minor=995)
        # Some have come far already.
        confirm_order(("MUG", 2), ("PAN", 2))
        ship_order(("MUG", 3), method="cod")
        deliver_order(("MUG", 3), ("PAN", 1))

    def teardown(self) -> None:
        try:
            check_ledgers(self.now)
            for order in Order.objects.all():
                check_answers(order)
        finally:
            transaction.set_rollback(True)
            self.example.__exit__(None, None, None)

    # Steps

    @rule(mugs=st.integers(0, 3), pans=st.integers(0, 2), method=st.sampled_from(["card", "cod"]))
    def place(self, mugs: int, pans: int, method: str) -> None:
        lines = [(sku, quantity) for sku, quantity in (("MUG", mugs), ("PAN", pans)) if quantity]
        self.attempt(checkout.place, make_cart(*lines, method=method), actor="shop")

    @step(Order, steps=st.integers(1, 4))
    def move_on(self, order: Order, steps: int) -> None:
        """Towards the customer, as orders mostly do."""
        for _ in range(steps):
            order.refresh_from_db()
            parcel = order.shipments.filter(state__in=["packed", "shipped"]).order_by("-pk").first()
            if parcel is not None and parcel.state == Shipment.State.SHIPPED:
                self.attempt(fulfilment.deliver, parcel.public_id, delivered_at=self.now, actor="ben")
            elif parcel is not None:
                self.attempt(fulfilment.ship, parcel.public_id, carrier="DHL", tracking_number="JD01", actor="ben")
            elif order.state == Order.State.CONFIRMED:
                self.attempt(fulfilment.pack, order.public_id, actor="ben")
            elif order.is_cash_on_delivery:
                self.attempt(checkout.confirm, order.public_id, actor="ann")
            else:
                self.tell_payment(order)

    @step(Order, kind=st.sampled_from(["authorisation", "capture"]), part=PART)
    def pay(self, order: Order, kind: str, part: int) -> None:
        self.tell_payment(order, kind=kind, amount_minor=order.due_minor // part)

    @step(Order)
    def capture_the_rest(self, order: Order) -> None:
        self.tell_payment(order, amount_minor=max(0, order.authorised_minor - order.paid_minor))

    @step(Order)
    def decline(self, order: Order) -> None:
        self.tell_payment(order, result="failed", failure_code="card_declined")

    @step(Payment)
    def tell_a_payment_again(self, told: Payment) -> None:
        result = "failed" if told.result == Payment.Result.FAILED else "success"
        same = {name: getattr(told, name) for name in ("kind", "amount_minor", "gateway", "gateway_reference")}
        self.tell_payment(told.order, result=result, **same)

    @step(Order, part=PART)
    def collect_cash(self, order: Order, part: int) -> None:
        cash = {"amount_minor": order.outstanding_minor // part, "currency": "EUR", "reference": self.reference()}
        self.attempt(payments.collect_cash, order.public_id, **cash, actor="ann")

    @step(Order)
    def confirm(self, order: Order) -> None:
        self.attempt(checkout.confirm, order.public_id, actor="ann")

    @step(Order, units=UNITS, whole=st.booleans())
    def pack(self, order: Order, units: int, whole: bool) -> None:
        quantities = None if whole else {order.items[-1].public_id: units}
        self.attempt(fulfilment.pack, order.public_id, quantities=quantities, actor="ben")

    @step(Shipment)
    def unpack(self, parcel: Shipment) -> None:
        self.attempt(fulfilment.unpack, parcel.public_id, actor="ben")

    @step(Shipment)
    def ship(self, parcel: Shipment) -> None:
        self.attempt(fulfilment.ship, parcel.public_id, carrier="DHL", tracking_number="JD01", actor="ben")

    @step(Shipment, status=st.sampled_from(TrackingStatus), late=st.integers(0, 90))
    def track(self, parcel: Shipment, status: str, late: int) -> None:
        occurred_at = self.now - timedelta(minutes=late)
        self.attempt(couriers.track, parcel.public_id, status=status, occurred_at=occurred_at, source="dhl")

    @step(Shipment, cash=st.sampled_from([None, 995, 2495]))
    def deliver(self, parcel: Shipment, cash: int | None) -> None:
        arrival = {"delivered_at": self.now, "collected_minor": cash}
        self.attempt(fulfilment.deliver, parcel.public_id, **arrival, actor="ben")

    @step(Shipment, fate=st.sampled_from(Fate), more=st.sampled_from([0, 0, 1]))
    def bring_back(self, parcel: Shipment, fate: str, more: int) -> None:
        receipts = [Receipt(each.line.public_id, each.quantity + more, fate) for each in parcel.contents]
        self.attempt(fulfilment.bring_back, parcel.public_id, receipts=receipts, actor="ben")

    @step(Order, units=UNITS, whole=st.booleans())
    def cancel(self, order: Order, units: int, whole: bool) -> None:
        quantities = None if whole else {order.items[0].public_id: units}
        self.attempt(checkout.cancel, order.public_id, reason="no more", quantities=quantities, actor="ann")

    @step(Order)
    def cancel_by_customer(self, order: Order) -> None:
        self.attempt(checkout.cancel_by_customer, order.tracking_token)

    @step(Order)
    def expire(self, order: Order) -> None:
        self.attempt(checkout.expire, order.public_id)

    @step(Order, kind=st.sampled_from(Hold.Kind))
    def hold(self, order: Order, kind: str) -> None:
        self.attempt(holds.place, order.public_id, kind=kind, reason="look", actor="ann")

    @step(Hold)
    def release(self, hold: Hold) -> None:
        self.attempt(holds.release, hold.order.public_id, actor="ann")

    @step(Shipment, units=UNITS)
    def open_return(self, parcel: Shipment, units: int) -> None:
        wishes = [Wish(parcel.contents[0].line.public_id, units)]
        self.attempt(returns.open_return, parcel.order.public_id, wishes=wishes, reason="broken", actor="ann")

    @step(Shipment)
    def open_return_by_customer(self, parcel: Shipment) -> None:
        wishes = [Wish(each.line.public_id, each.quantity) for each in parcel.contents]
        self.attempt(returns.open_by_customer, parcel.order.tracking_token, wishes=wishes, reason="broken")

    @step(Return, units=UNITS, condition=st.sampled_from(Condition))
    def receive_return(self, opened: Return, units: int, condition: str) -> None:
        receipts = [Receipt(each.line.public_id, units, condition) for each in opened.contents]
        self.attempt(returns.receive_return, opened.public_id, receipts=receipts, actor="ben")

    @step(Return)
    def close_return(self, opened: Return) -> None:
        self.attempt(returns.close, opened.public_id, actor="ann")

    @step(Order, part=PART)
    def request_refund(self, order: Order, part: int) -> None:
        self.ask_refund(order, order.refundable_minor // part)

    @step(Return)
    def request_refund_of_return(self, opened: Return) -> None:
        self.ask_refund(opened.order, opened.expected_refund_minor, return_id=opened.public_id)

    @step(Refund)
    def process_refund(self, refund: Refund) -> None:
        reference = refund.gateway_reference or self.reference()
        self.attempt(refunds.processed, refund.public_id, gateway_reference=reference, actor="stripe")

    @step(Refund)
    def fail_refund(self, refund: Refund) -> None:
        # By its own reference, one that was processed is taken back.
        self.attempt(refunds.failed, refund.public_id, gateway_reference=refund.gateway_reference, actor="stripe")

    @rule(minutes=st.sampled_from([1, 1, 20, 24 * 60, 31 * 24 * 60]))
    def wait(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)

    # What staff change meanwhile

    @rule(code=st.sampled_from(["BER", "MUC"]), is_active=st.sampled_from([True, True, False]))
    def open_or_close(self, code: str, is_active: bool) -> None:
        self.attempt(open_or_close, Warehouse.objects.get(code=code), is_active=is_active, actor="ann")

    @rule(of=st.sampled_from(RULES), is_active=st.booleans())
    def hold_by_rule(self, of: dict[str, Any], is_active: bool) -> None:
        HoldRule.objects.update_or_create(name=of["test"], defaults=of | {"is_active": is_active})

    # What always holds

    @invariant()
    def all_agrees(self) -> None:
        for order in Order.objects.order_by("pk"):
            if self.checked.get(order.pk) != order.version:
                self.checked[order.pk] = order.version
                check_words(order)
                keep_answers(order)
                check_money(order)
                check_units(order)
        check_stock()
        check_shelves()

    # How steps are taken

    def attempt(self, verb: Callable[..., object], *of: Any, **how: Any) -> None:
        """A step is done and told, or refused and leaves nothing: but, of a payment, that it was refused."""
        before, rows = self.states(), self.rows()
        try:
            verb(*of, **how, now=self.now)
        except DomainError:
            assert self.rows() == rows
            assert {key: words for key, (words, _) in self.states().items()} == {
                key: words for key, (words, _) in before.items()
            }
        else:
            for key, (words, told) in self.states().items():
                assert key not in before or words == before[key][0] or told > before[key][1]

    @staticmethod
    def states() -> States:
        told = dict(Event.objects.values_list("subject").annotate(count=Count("pk")))
        return {
            order.public_id: ([getattr(order, name) for name in WORDS + MONEY], told[order.public_id])
            for order in Order.objects.all()
        }

    @staticmethod
    def rows() -> list[int]:
        return [model._default_manager.count() for model in LEDGERS]

    def reference(self) -> str:
        self.references += 1
        return f"ref_{self.references}"

    def tell_payment(self, order: Order, **differing: Any) -> None:
        told = {
            "result": "success",
            "kind": "capture",
            "amount_minor": order.due_minor,
            "currency": "EUR",
            "method": order.payment_method,
            "gateway": "stripe",
            "gateway_reference": self.reference(),
            "actor": "stripe",
        }
        self.attempt(payments.record, order.public_id, **(told | differing))

    def ask_refund(self, order: Order, amount_minor: int, **of: str) -> None:
        wish = {"amount_minor": amount_minor, "currency": "EUR", "reason": "sorry", "actor": "ann"}
        self.attempt(refunds.request, order.public_id, **wish, **of)


@pytest.mark.django_db
class TestWhateverIsDone:
    def test_all_agrees(self) -> None:
        print(f"STATEFUL_SEED={SEED} STATEFUL_EXAMPLES={BOUNDED.max_examples}")
        run_state_machine_as_test(seed(SEED)(Shop), settings=BOUNDED)
