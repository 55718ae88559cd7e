from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import IntegrityError

from orders import checkout, holds
from orders.models import Hold, HoldRule, Order, Payment
from orders.payments import PaymentMismatch
from tests.factories import confirm_order, make_cart, make_product, pay_for, place_order
from tests.told import DataOf, Told

pytestmark = pytest.mark.django_db


def rule(test: str, **fields: Any) -> HoldRule:
    return HoldRule.objects.create(name=f"Rule {HoldRule.objects.count() + 1}", test=test, **fields)


def buy(now: datetime, **of: Any) -> Order:
    return checkout.place(make_cart(("MUG", 1), **of), actor="storefront", now=now)


def held(order: Order) -> list[str]:
    """Why the order is on hold."""
    order.refresh_from_db()
    reasons = list(order.holds.open().order_by("pk").values_list("reason", flat=True))
    assert order.on_hold is bool(reasons)
    return reasons


@pytest.fixture(autouse=True)
def mugs() -> None:
    make_product("MUG", on_hand=100)


class TestPlacing:
    def test_is_told_before_its_hold(self, told: Told, data_of: DataOf, now: datetime) -> None:
        rule("ships_to", countries=["DE"], kind="verification")

        order = buy(now)

        assert held(order) == ["Rule 1: ships to DE"]
        assert order.status == "on_hold"
        assert told(order.public_id) == ["order.created", "order.held"]
        data = data_of("order.held")
        assert (data["hold_kind"], data["held_by"]) == ("verification", "rule")

    @pytest.mark.parametrize(
        ("test", "countries", "is_held"),
        [
            ("ships_to", ["FR", "DE"], True),
            ("ships_to", ["FR"], False),
            ("ships_beyond", ["FR"], True),
            ("ships_beyond", ["FR", "DE"], False),
        ],
    )
    def test_goes_by_the_country(self, test: str, countries: list[str], is_held: bool, now: datetime) -> None:
        rule(test, countries=countries)

        assert bool(held(buy(now))) is is_held

    @pytest.mark.parametrize(
        ("amount_minor", "currency", "is_held"), [(2495, "EUR", True), (2496, "EUR", False), (1, "USD", False)]
    )
    def test_goes_by_the_amount_of_a_first_order(
        self, amount_minor: int, currency: str, is_held: bool, now: datetime
    ) -> None:
        rule("first_order_above", amount_minor=amount_minor, currency=currency)

        assert held(buy(now)) == (["Rule 1: a first order, of €24.95"] if is_held else [])

    def test_trusts_who_has_ordered_before_unless_that_was_cancelled(self, now: datetime) -> None:
        first = buy(now)
        rule("first_order_above", amount_minor=1, currency="EUR")

        assert held(buy(now)) == []

        checkout.cancel(first.public_id, reason="", actor="ann", now=now)
        Order.objects.exclude(pk=first.pk).update(state=Order.State.CANCELLED)
        assert held(buy(now)) == ["Rule 1: a first order, of €24.95"]

    def test_counts_the_orders_of_an_address_within_an_hour(self, now: datetime) -> None:
        rule("many_orders", count=3)
        buy(now - timedelta(minutes=61))
        buy(now - timedelta(minutes=59))
        buy(now, email="bob@example.com")

        assert held(buy(now)) == []
        assert held(buy(now, email="ANN@example.com")) == ["Rule 1: 3 orders from ann@example.com within an hour"]

    def test_places_one_hold_of_each_kind(self, now: datetime) -> None:
        rule("ships_to", countries=["DE"], kind="fraud")
        rule("many_orders", count=1, kind="fraud")
        rule("first_order_above", amount_minor=1, currency="EUR", kind="verification")

        assert held(buy(now)) == ["Rule 1: ships to DE", "Rule 3: a first order, of €24.95"]

    def test_passes_by_a_rule_that_is_not_active(self, now: datetime) -> None:
        rule("ships_to", countries=["DE"], is_active=False)

        assert held(buy(now)) == []

    def test_holds_cash_on_delivery_too(self, now: datetime) -> None:
        rule("ships_to", countries=["DE"])

        order = buy(now, method="cod")

        assert held(order)
        holds.release(order.public_id, actor="ann", now=now)
        order.refresh_from_db()
        assert order.status == "confirmed"


class TestFailedPayments:
    def fail(self, order: Order, *, now: datetime) -> Payment:
        return pay_for(order, result="failed", reference=f"ch_{Payment.objects.count()}", now=now)

    def test_hold_the_order_and_say_so(self, told: Told, data_of: DataOf, now: datetime) -> None:
        rule("failed_payments", count=2)
        order = place_order(("MUG", 1))
        self.fail(order, now=now)
        assert data_of("payment.failed")["order_on_hold"] is False

        self.fail(order, now=now)

        assert held(order) == ["Rule 1: 2 failed payments within 24 hours"]
        assert (order.status, order.payment_status) == ("on_hold", "failed")
        data = data_of("payment.failed")
        assert (data["attempts_24h"], data["order_on_hold"]) == (2, True)
        assert told(order.public_id) == ["order.created", "payment.failed", "payment.failed", "order.held"]

    def test_count_over_all_orders_of_the_customer_for_a_day(self, now: datetime) -> None:
        rule("failed_payments", count=2)
        first, second = place_order(("MUG", 1)), place_order(("MUG", 1))
        self.fail(first, now=now - timedelta(hours=25))

        self.fail(first, now=now - timedelta(minutes=1))
        assert held(first) == []

        self.fail(second, now=now)
        assert held(second) == ["Rule 1: 2 failed payments within 24 hours"]

    def test_are_not_held_against_what_staff_released(self, now: datetime) -> None:
        rule("failed_payments", count=1)
        order = place_order(("MUG", 1))
        self.fail(order, now=now)
        holds.release(order.public_id, actor="ann", now=now)

        self.fail(order, now=now)

        assert held(order) == []
        assert Hold.objects.count() == 1

    def test_keep_an_order_from_being_confirmed_by_a_success(self, now: datetime) -> None:
        rule("failed_payments", count=1)
        order = place_order(("MUG", 1))
        self.fail(order, now=now)

        pay_for(order, reference="ch_good")

        order.refresh_from_db()
        assert (order.state, order.payment_status) == ("pending", "paid")

    def test_of_a_cancelled_order_hold_nothing(self, now: datetime) -> None:
        rule("failed_payments", count=1)
        order = place_order(("MUG", 1))
        checkout.cancel(order.public_id, reason="", actor="ann", now=now)

        payment = self.fail(order, now=now)

        assert payment.pk
        assert held(order) == []

    def test_refused_hold_nothing(self, now: datetime) -> None:
        rule("failed_payments", count=1)
        order = confirm_order(("MUG", 1))

        with pytest.raises(PaymentMismatch):
            pay_for(order, result="failed", currency="USD", reference="x")

        assert held(order) == []


class TestHoldRule:
    @pytest.mark.parametrize(
        ("test", "fields"),
        [
            ("failed_payments", {}),
            ("failed_payments", {"count": 0}),
            ("many_orders", {"amount_minor": 5, "currency": "EUR"}),
            ("first_order_above", {"count": 3}),
            ("first_order_above", {"amount_minor": 5}),
            ("first_order_above", {"currency": "EUR"}),
        ],
    )
    def test_needs_the_threshold_of_its_test(self, test: str, fields: dict[str, Any]) -> None:
        with pytest.raises(IntegrityError):
            rule(test, **fields)
