from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, cast

import pytest
import time_machine
from django.db import IntegrityError, transaction
from django.utils import timezone

from inventory import allocation
from inventory.models import Product, StockLevel
from inventory.stock import InsufficientStock
from orders import checkout, holds
from orders.models import Allocation, Customer, HoldRule, Order
from orders.transitions import InvalidTransition
from tests.chaos.processes import running_cluster, wait_until
from tests.factories import add_stock, confirm_order, make_cart, make_product, pay_for, place_order, reserved
from tests.told import DataOf, Told
from webhooks.models import Event

pytestmark = pytest.mark.django_db


class TestPlace:
    def test_makes_an_order_and_holds_its_stock(self, told: Told, now: datetime) -> None:
        make_product("MUG", on_hand=10)

        order = checkout.place(make_cart(("MUG", 2)), actor="storefront", now=now)

        order.refresh_from_db()
        assert (order.status, order.payment_status, order.total_minor) == ("pending", "unpaid", 4990)
        assert order.number == str(1000 + order.pk)
        assert order.hold_expires_at == now + timedelta(minutes=15)
        assert reserved() == 2
        assert told(order.public_id) == ["order.created"]
        assert told(order.customer.public_id) == ["customer.created"]

    def test_tells_what_who_where_from_and_how_paid(self, data_of: DataOf) -> None:
        order = place_order()

        data = data_of("order.created")

        assert data["order_id"] == order.public_id
        assert data["customer_email"] == "ann@example.com"
        assert data["warehouse_code"] == "BER"
        assert (data["payment_method"], data["payment_gateway"], data["payment_id"]) == ("card", "stripe", None)
        assert (data["total_amount"], data["currency"]) == ("49.90", "EUR")
        assert (data["refunded_amount"], data["on_hold"]) == ("0.00", False)
        assert [(line["sku"], line["quantity"], line["warehouse_code"]) for line in data["lines"]] == [
            ("MUG", 2, "BER")
        ]
        assert data["shipping_address"]["city"] == "Berlin"
        assert data["shipping_address"]["line2"] is None

    def test_takes_a_known_customer_26_statements(self, django_assert_max_num_queries: Any, now: datetime) -> None:
        make_product("MUG")
        place_order(("MUG", 1))

        with django_assert_max_num_queries(26):
            checkout.place(make_cart(("MUG", 1)), actor="storefront", now=now)

    def test_holds_cash_on_delivery_without_an_end(self) -> None:
        order = place_order(method="cod")

        assert order.hold_expires_at is None
        assert order.payment_status == "cod_pending"

    @pytest.mark.parametrize("method", ["card", "cod"])
    def test_confirms_an_order_that_costs_nothing(self, method: str, told: Told) -> None:
        make_product("MUG", price_minor=0)

        placed = place_order(("MUG", 1), method=method)

        order = Order.objects.get()
        assert (order.status, order.payment_status, order.hold_expires_at) == ("confirmed", "paid", None)
        assert (placed.status, placed.version) == (order.status, order.version)
        assert told(order.public_id) == ["order.created", "order.confirmed"]
        assert (reserved(), Allocation.objects.get().expires_at) == (1, None)

    def test_confirms_an_order_that_costs_nothing_once_it_is_released(self, told: Told, now: datetime) -> None:
        HoldRule.objects.create(kind="fraud", test="ships_to", countries=["DE"])
        make_product("MUG", price_minor=0)
        order = place_order(("MUG", 1))
        assert (order.state, order.status) == ("pending", "on_hold")

        holds.release(order.public_id, actor="ann", now=now)

        assert told(order.public_id) == ["order.created", "order.held", "order.released", "order.confirmed"]

    def test_takes_a_sku_named_twice_as_one_line(self, now: datetime) -> None:
        make_product("MUG")

        order = checkout.place(make_cart(("MUG", 1), ("MUG", 2)), actor="storefront", now=now)

        assert list(order.lines.values_list("quantity", flat=True)) == [3]

    def test_names_no_warehouse_for_an_order_that_several_share(self, data_of: DataOf) -> None:
        make_product("MUG", warehouse="BER")
        make_product("PAN", warehouse="MUC")

        order = place_order(("MUG", 1), ("PAN", 1))

        assert data_of("order.created")["warehouse_code"] is None
        assert [line.warehouse_code for line in order.items] == ["BER", "MUC"]

    def test_knows_a_returning_customer_by_the_address(self, now: datetime) -> None:
        make_product("MUG")
        first = checkout.place(make_cart(("MUG", 1), email="ann@example.com"), actor="storefront", now=now)

        second = checkout.place(make_cart(("MUG", 1), email="Ann@Example.com"), actor="storefront", now=now)

        assert second.customer == first.customer
        assert Event.objects.filter(type="customer.created").count() == 1

    def test_gives_up_where_the_database_refuses_a_customer_nobody_has_made(self, now: datetime) -> None:
        make_product("MUG")
        cart = replace(
            make_cart(("MUG", 1)), customer=checkout.Contact(email="ada@example.com", phone=cast("str", None))
        )

        with pytest.raises(IntegrityError):
            checkout.place(cart, actor="storefront", now=now)

        assert (Order.objects.count(), reserved()) == (0, 0)

    def test_refuses_what_is_not_in_stock_and_keeps_nothing(self, now: datetime) -> None:
        make_product("MUG", on_hand=10)
        make_product("PAN", on_hand=1)
        before = Event.objects.count()

        with pytest.raises(InsufficientStock) as refusal:
            checkout.place(make_cart(("MUG", 1), ("PAN", 2)), actor="storefront", now=now)

        assert refusal.value.errors == [{"sku": "PAN", "requested": 2, "available": 1}]
        assert (Order.objects.count(), Customer.objects.count(), reserved()) == (0, 0, 0)
        assert Event.objects.count() == before

    def test_looks_elsewhere_when_another_buyer_was_quicker(
        self, monkeypatch: pytest.MonkeyPatch, now: datetime
    ) -> None:
        product = make_product("MUG", on_hand=1, warehouse="BER")
        add_stock(product, on_hand=1, warehouse="MUC")
        plan, quicker = allocation.plan, [("MUG", 1)]

        def plan_and_lose(lines: list[tuple[Product, int]], *, country: str, now: datetime) -> Any:
            picks = plan(lines, country=country, now=now)
            if quicker:
                checkout.place(make_cart(quicker.pop(), email="bob@example.com"), actor="storefront", now=now)
            return picks

        monkeypatch.setattr(allocation, "plan", plan_and_lose)

        order = checkout.place(make_cart(("MUG", 1)), actor="storefront", now=now)

        assert order.warehouse_code == "MUC"
        assert Order.objects.count() == 2

    def test_places_both_first_orders_of_a_customer_who_makes_them_at_once(
        self, monkeypatch: pytest.MonkeyPatch, now: datetime
    ) -> None:
        make_product("MUG", on_hand=2)
        checkout.place(make_cart(("MUG", 1)), actor="storefront", now=now)
        known, unseen = checkout._known_by, [True]
        monkeypatch.setattr(checkout, "_known_by", lambda email: [] if unseen and unseen.pop() else known(email))

        checkout.place(make_cart(("MUG", 1)), actor="storefront", now=now)

        assert (Order.objects.count(), Customer.objects.count(), reserved()) == (2, 1, 2)
        assert Event.objects.filter(type="customer.created").count() == 1

    @pytest.mark.parametrize(
        ("lines", "fault"),
        [
            ([], "at least one product"),
            ([("NOPE", 1)], "NOPE: There is no such product"),
            ([("OLD", 1)], "OLD: There is no such product"),
            ([("MUG", 0)], "MUG: The quantity must be at least 1"),
            ([("MUG", 1), ("TEE", 1)], "priced in one currency"),
        ],
    )
    def test_refuses_a_cart_that_cannot_be_sold(self, lines: list[tuple[str, int]], fault: str, now: datetime) -> None:
        make_product("MUG")
        make_product("OLD", is_active=False)
        make_product("TEE", currency="USD")

        with pytest.raises(checkout.InvalidCart, match=fault):
            checkout.place(make_cart(*lines), actor="storefront", now=now)

        assert Order.objects.count() == 0

    def test_leaves_no_event_when_the_callers_transaction_fails(self, now: datetime) -> None:
        make_product("MUG")
        before = Event.objects.count()

        @transaction.atomic
        def place_and_fail() -> None:
            checkout.place(make_cart(("MUG", 1)), actor="storefront", now=now)
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            place_and_fail()

        assert Event.objects.count() == before


class TestConfirm:
    def test_accepts_cash_on_delivery(self, told: Told, data_of: DataOf, now: datetime) -> None:
        order = place_order(method="cod")

        checkout.confirm(order.public_id, actor="ann", now=now)

        order.refresh_from_db()
        assert order.status == "confirmed"
        assert told(order.public_id) == ["order.created", "order.confirmed"]
        assert data_of("order.confirmed")["confirmed_by"] == "ann"

    def test_refuses_an_unpaid_order(self, told: Told, now: datetime) -> None:
        order = place_order()

        with pytest.raises(InvalidTransition, match="is unpaid"):
            checkout.confirm(order.public_id, actor="ann", now=now)

        order.refresh_from_db()
        assert order.status == "pending"
        assert told(order.public_id) == ["order.created"]

    def test_refuses_an_order_on_hold(self, now: datetime) -> None:
        order = place_order(method="cod")
        Order.objects.filter(pk=order.pk).update(on_hold=True)

        with pytest.raises(InvalidTransition, match="is on hold"):
            checkout.confirm(order.public_id, actor="ann", now=now)

    def test_refuses_a_second_time_and_names_the_state(self, now: datetime) -> None:
        order = confirm_order()

        with pytest.raises(InvalidTransition, match="is confirmed, not pending"):
            checkout.confirm(order.public_id, actor="ann", now=now)

    def test_knows_no_such_order(self, now: datetime) -> None:
        with pytest.raises(Order.DoesNotExist):
            checkout.confirm("ord_none", actor="ann", now=now)


class TestExpire:
    def test_gives_up_what_nobody_paid_for(self, told: Told, data_of: DataOf, now: datetime) -> None:
        order = place_order()

        with time_machine.travel(now + timedelta(minutes=15), tick=False):
            checkout.expire_due()

        order.refresh_from_db()
        assert (order.status, order.payment_status, reserved()) == ("cancelled", "unpaid", 0)
        assert told(order.public_id) == ["order.created", "order.cancelled"]
        assert data_of("order.cancelled")["cancel_reason"] == "payment_expired"

    def test_leaves_alone_what_has_time_or_is_paid_or_pays_in_cash(self, now: datetime) -> None:
        make_product("MUG")
        early = place_order(("MUG", 1), now=now + timedelta(minutes=1))
        paid = place_order(("MUG", 1))
        pay_for(paid)
        cash = place_order(("MUG", 1), method="cod")

        with time_machine.travel(now + timedelta(minutes=15), tick=False):
            checkout.expire_due()

        states = [Order.objects.get(pk=order.pk).state for order in (early, paid, cash)]
        assert states == ["pending", "confirmed", "pending"]

    def test_goes_on_after_an_order_that_cannot_be_given_up(
        self, now: datetime, caplog: pytest.LogCaptureFixture
    ) -> None:
        make_product("MUG")
        make_product("PAN")
        broken, other = place_order(("MUG", 1)), place_order(("PAN", 1), now=now + timedelta(seconds=1))
        # As no verb leaves it: what the order holds cannot be released.
        StockLevel.objects.filter(product__sku="MUG").update(reserved=0)

        with time_machine.travel(now + timedelta(minutes=16), tick=False):
            checkout.expire_due()

        states = [Order.objects.get(pk=order.pk).state for order in (broken, other)]
        assert states == ["pending", "cancelled"]
        assert f"The order {broken.public_id} could not be expired" in caplog.text
        assert "MUG (1 asked for, 0 reserved)" in caplog.text

    def test_refuses_an_order_that_was_paid_meanwhile(self, now: datetime) -> None:
        order = confirm_order()

        with pytest.raises(InvalidTransition, match="is confirmed"):
            checkout.expire(order.public_id, now=now + timedelta(hours=1))


@pytest.mark.processes
@pytest.mark.django_db(transaction=True)
class TestRunningCluster:
    def test_gives_up_an_unpaid_order_within_seconds(self, told: Told) -> None:
        make_product("MUG")
        with running_cluster():
            order = place_order(("MUG", 2), now=timezone.now() - checkout.UNPAID_HOLD + timedelta(seconds=1))
            assert (order.state, reserved()) == ("pending", 2)

            # One to its time, five between two looks, and a busy machine.
            wait_until(lambda: not reserved(), what="release of its units", timeout_s=12)

        order.refresh_from_db()
        assert (order.status, order.payment_status) == ("cancelled", "unpaid")
        assert told(order.public_id) == ["order.created", "order.cancelled"]
