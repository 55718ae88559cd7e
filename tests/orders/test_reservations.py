"""The timer never runs here: what nobody paid for in time is shown as available, and sold to the next buyer."""

import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext

from inventory import allocation, stock
from inventory.models import Product, StockLevel, Warehouse
from inventory.stock import InsufficientStock
from orders import checkout
from orders.models import Allocation, Order
from orders.transitions import InvalidTransition
from tests.caller import Caller
from tests.factories import NOW, add_stock, make_cart, make_product, pay_for, place_order
from tests.told import Told

IN_TIME = NOW + timedelta(minutes=14)
TOO_LATE = NOW + timedelta(minutes=15)


def shown(now: datetime) -> tuple[int, int]:
    """The units of the mug that are available, as a product and as a stock level."""
    product: Any = Product.objects.with_available(now).get(sku="MUG")
    level = StockLevel.objects.with_lapsed(now).get(product=product)
    return product.available, level.available


def buy(units: int, now: datetime, email: str = "bob@example.com") -> Order:
    return checkout.place(make_cart(("MUG", units), email=email), actor="storefront", now=now)


def assert_sound() -> None:
    """What is reserved is what the orders hold."""
    held: dict[int, int] = {}
    for level_id, quantity in Allocation.objects.values_list("level", "quantity"):
        held[level_id] = held.get(level_id, 0) + quantity
    assert held == dict(StockLevel.objects.values_list("pk", "reserved"))


@pytest.mark.django_db
class TestShownAvailability:
    def test_counts_reserved_units_in_until_their_time_is_over(self) -> None:
        make_product("MUG", on_hand=10)
        place_order(("MUG", 3))

        assert shown(IN_TIME) == (7, 7)
        assert shown(TOO_LATE) == (10, 10)

    def test_leaves_paid_and_cash_orders_their_units(self) -> None:
        make_product("MUG", on_hand=10)
        pay_for(place_order(("MUG", 1)), now=IN_TIME)
        pay_for(place_order(("MUG", 1)), kind="authorisation", reference="au", now=IN_TIME)
        place_order(("MUG", 1), method="cod")

        assert shown(TOO_LATE) == (7, 7)

    def test_counts_units_once_when_the_order_is_cancelled(self, now: datetime) -> None:
        make_product("MUG", on_hand=10)
        order = place_order(("MUG", 3))
        line = order.items[0].public_id
        checkout.cancel(order.public_id, reason="", actor="ann", now=now, quantities={line: 1})

        assert shown(TOO_LATE) == (10, 10)
        checkout.cancel(order.public_id, reason="", actor="ann", now=now)
        assert shown(TOO_LATE) == (10, 10)

    def test_never_offers_the_safety_stock(self, now: datetime) -> None:
        make_product("MUG", on_hand=10)
        stock.keep_back(StockLevel.objects.get(), safety_stock=9, actor="ann", now=now)
        place_order(("MUG", 1))

        assert shown(IN_TIME) == (0, 0)
        assert shown(TOO_LATE) == (1, 1)

    def test_is_what_the_api_shows(self) -> None:
        make_product("MUG", on_hand=2)
        place_order(("MUG", 2))
        storefront = Caller("inventory")

        with time_machine.travel(IN_TIME, tick=False):
            before = storefront.get("products/MUG/").json()
        with time_machine.travel(TOO_LATE, tick=False):
            after = storefront.get("products/MUG/").json()
            (level,) = storefront.get("inventory/").json()["results"]

        assert (before["available"], before["is_in_stock"]) == (0, False)
        assert (after["available"], after["is_in_stock"], level["available"]) == (2, True, 2)

    def test_reads_no_allocation_that_does_not_expire(self) -> None:
        make_product("MUG", on_hand=10)

        with CaptureQueriesContext(connection) as queries:
            StockLevel.objects.with_lapsed(NOW).get()

        assert len(queries) == 1
        assert "allocation_expiring" in StockLevel.objects.with_lapsed(NOW).explain() or connection.vendor != "sqlite"


@pytest.mark.django_db
class TestNextBuyer:
    def test_gets_the_units_and_the_late_order_is_given_up(self, told: Told) -> None:
        make_product("MUG", on_hand=2)
        late = place_order(("MUG", 2))

        order = buy(2, TOO_LATE)

        late.refresh_from_db()
        assert (late.status, order.status) == ("cancelled", "pending")
        assert told(late.public_id) == ["order.created", "order.cancelled"]
        assert late.transitions.latest("pk").reason == "payment_expired"
        assert_sound()

    def test_is_refused_a_moment_earlier(self, told: Told) -> None:
        make_product("MUG", on_hand=2)
        order = place_order(("MUG", 2))

        with pytest.raises(InsufficientStock):
            buy(1, IN_TIME)

        assert told(order.public_id) == ["order.created"]

    def test_takes_from_those_that_are_late_the_longest_and_no_more_than_needed(self) -> None:
        make_product("MUG", on_hand=3)
        orders = [place_order(("MUG", 1), now=NOW - timedelta(minutes=minutes)) for minutes in (0, 2, 1)]

        buy(2, TOO_LATE)

        states = [Order.objects.get(pk=order.pk).state for order in orders]
        assert states == ["pending", "cancelled", "cancelled"]
        assert_sound()

    @pytest.mark.parametrize(("units", "states"), [(2, ["cancelled", "pending"]), (5, ["cancelled", "cancelled"])])
    def test_makes_up_for_the_safety_stock_first(self, units: int, states: list[str], now: datetime) -> None:
        make_product("MUG", on_hand=10)
        orders = [place_order(("MUG", 3)) for _ in range(2)]
        # Five are kept back, and but four are not reserved: one is missing before anything can be sold.
        stock.keep_back(StockLevel.objects.get(), safety_stock=5, actor="ann", now=now)

        buy(units, TOO_LATE)

        assert [Order.objects.get(pk=order.pk).state for order in orders] == states
        assert_sound()

    def test_leaves_late_orders_alone_while_there_is_enough(self) -> None:
        make_product("MUG", on_hand=3)
        late = place_order(("MUG", 1))

        buy(2, TOO_LATE)

        late.refresh_from_db()
        assert late.state == "pending"

    def test_at_the_till_gets_them_too(self, now: datetime) -> None:
        product = make_product("MUG", on_hand=2)
        place_order(("MUG", 2))
        warehouse = Warehouse.objects.get()

        stock.sell(warehouse=warehouse, lines=[(product, 2)], reference="T1", actor="till", now=TOO_LATE)

        level = StockLevel.objects.get()
        assert (level.on_hand, level.reserved) == (0, 0)
        assert Order.objects.get().state == "cancelled"

    def test_who_wants_more_than_there_is_leaves_all_as_it_was(self, told: Told) -> None:
        make_product("MUG", on_hand=2)
        late = place_order(("MUG", 2))

        with pytest.raises(InsufficientStock) as refusal:
            buy(3, TOO_LATE)

        assert refusal.value.errors == [{"sku": "MUG", "requested": 3, "available": 2}]
        assert told(late.public_id) == ["order.created"]

    def test_who_loses_the_rest_of_the_cart_leaves_all_as_it_was(self, monkeypatch: pytest.MonkeyPatch) -> None:
        make_product("MUG", on_hand=1)
        late = place_order(("MUG", 1))
        pan = make_product("PAN", on_hand=1)
        plan = allocation.plan

        def plan_and_lose(*args: Any, **kwargs: Any) -> Any:
            monkeypatch.setattr(allocation, "plan", plan)
            picks = plan(*args, **kwargs)
            stock.reserve([stock.Demand(pan.levels.get().pk, 1)], reference="x", actor="x", now=NOW)
            return picks

        monkeypatch.setattr(allocation, "plan", plan_and_lose)
        with pytest.raises(InsufficientStock):
            checkout.place(make_cart(("MUG", 1), ("PAN", 1)), actor="storefront", now=TOO_LATE)

        late.refresh_from_db()
        assert late.state == "pending"


@pytest.mark.django_db
class TestLatePayment:
    def test_keeps_what_nobody_has_taken(self, told: Told) -> None:
        make_product("MUG", on_hand=2)
        late = place_order(("MUG", 2))

        pay_for(late, now=TOO_LATE + timedelta(hours=1))

        late.refresh_from_db()
        assert (late.status, late.hold_expires_at) == ("confirmed", None)
        assert Allocation.objects.get().expires_at is None
        with pytest.raises(InsufficientStock):
            buy(1, TOO_LATE + timedelta(hours=2))
        with pytest.raises(InvalidTransition, match="is confirmed"):
            checkout.expire(late.public_id, now=TOO_LATE + timedelta(hours=2))

    def test_of_what_was_sold_to_another_is_to_be_given_back(self) -> None:
        make_product("MUG", on_hand=2)
        late = place_order(("MUG", 2))
        buy(2, TOO_LATE)

        pay_for(late, now=TOO_LATE)

        late.refresh_from_db()
        assert (late.status, late.paid_minor) == ("cancelled", 4990)
        assert late.refund_expected_minor == 4990
        assert_sound()


@pytest.mark.django_db(transaction=True)
class TestAtOnce:
    def run(self, *calls: Callable[[], object]) -> list[str]:
        """What came of calls that begin together."""
        outcomes = [""] * len(calls)
        start = threading.Barrier(len(calls))

        def take(place: int, call: Callable[[], object]) -> None:
            start.wait()
            try:
                call()
                outcomes[place] = "done"
            except (InsufficientStock, InvalidTransition) as refusal:
                outcomes[place] = refusal.code
            finally:
                connections.close_all()

        threads = [threading.Thread(target=take, args=each) for each in enumerate(calls)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return outcomes

    def test_buyers_share_the_late_units_without_overselling(self) -> None:
        mug = make_product("MUG", on_hand=4, warehouse="BER")
        add_stock(mug, on_hand=4, warehouse="MUC")
        late = [place_order(("MUG", 2)) for _ in range(4)]

        outcomes = self.run(*(lambda n=n: buy(1, TOO_LATE, f"b{n}@example.com") for n in range(12)))

        assert sorted(outcomes) == ["done"] * 8 + ["insufficient_stock"] * 4
        assert {Order.objects.get(pk=order.pk).state for order in late} == {"cancelled"}
        assert_sound()

    def test_buyers_of_two_things_never_wait_in_a_circle(self) -> None:
        for sku in ("MUG", "PAN"):
            make_product(sku, on_hand=8)
        carts = [[("MUG", 2), ("PAN", 2)], [("PAN", 2), ("MUG", 2)]]
        late = [place_order(*carts[n % 2]) for n in range(4)]

        def take(n: int) -> Callable[[], object]:
            # In a transaction of the caller's, as under an Idempotency-Key.
            place = transaction.atomic(checkout.place)
            cart = make_cart(*((sku, 1) for sku, _ in carts[n % 2]), email=f"b{n}@example.com")
            return lambda: place(cart, actor="storefront", now=TOO_LATE)

        outcomes = self.run(*(take(n) for n in range(12)))

        assert sorted(outcomes) == ["done"] * 8 + ["insufficient_stock"] * 4
        assert {Order.objects.get(pk=order.pk).state for order in late} == {"cancelled"}
        assert_sound()

    def test_a_buyer_who_takes_units_back_has_all_of_the_cart_first(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for sku in ("PAN", "MUG"):
            make_product(sku, on_hand=9)
        place_order(("MUG", 8))
        lapse, comes = checkout.lapse, threading.Event()

        def lapse_in_company(order: Order, *, now: datetime) -> object:
            """Once the mugs are locked, somebody comes for whom the one that is left is enough."""
            comes.set()
            time.sleep(0.5)
            return lapse(order, now=now)

        def take(mugs: int, email: str) -> object:
            cart = make_cart(("PAN", 1), ("MUG", mugs), email=email)
            return checkout.place(cart, actor="storefront", now=TOO_LATE)

        monkeypatch.setattr(checkout, "lapse", lapse_in_company)
        outcomes = self.run(lambda: take(2, "bob@example.com"), lambda: comes.wait(10) and take(1, "eve@example.com"))

        assert outcomes == ["done", "done"]
        assert_sound()

    @pytest.mark.parametrize("_", range(5))
    def test_payer_and_next_buyer_never_both_get_the_unit(self, _: int) -> None:
        make_product("MUG", on_hand=1)
        late = place_order(("MUG", 1))

        outcomes = self.run(lambda: pay_for(late, now=TOO_LATE), lambda: buy(1, TOO_LATE))

        late.refresh_from_db()
        assert (late.state, outcomes) in [
            ("confirmed", ["done", "insufficient_stock"]),
            ("cancelled", ["done", "done"]),
        ]
        assert_sound()
