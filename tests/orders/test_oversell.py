"""Fifty units, hundreds of buyers at once, from several processes: nobody is sold what is not there."""

import multiprocessing
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import timedelta
from functools import partial

import pytest
from django.db import connections
from django.test import Client
from django.utils import timezone

from commerce import tokens
from commerce.audit import audit
from inventory.models import StockLevel, StockMovement
from inventory.stock import InsufficientStock
from orders import checkout
from orders.models import Allocation, Customer, Order
from tests.bodies import FULL_CART
from tests.factories import NOW, add_stock, make_cart, make_product
from webhooks.models import Event

PROCESSES, THREADS, BUYERS, UNITS = 4, 5, 200, 50
CHECKOUTS = 500
CHANNELS = ("web", "marketplace", "erp", "pos")
REFUSED = "refused: MUG, 1 asked for, 0 left"


def buy(buyer: int) -> str:
    cart = make_cart(("MUG", 1), email=f"buyer{buyer % 40}@example.com")
    try:
        checkout.place(cart, actor="storefront", now=NOW)
    except InsufficientStock as refusal:
        return "refused: {sku}, {requested} asked for, {available} left".format(**refusal.errors[0])
    finally:
        connections.close_all()
    return "sold"


def in_threads(take: Callable[[int], str], turns: range) -> Counter[str]:
    with ThreadPoolExecutor(THREADS) as pool:
        return Counter(pool.map(take, turns))


def in_processes(take: Callable[[int], str], turns: int) -> Counter[str]:
    # A connection must not be shared with the processes that are forked.
    connections.close_all()
    shares = [range(first, turns, PROCESSES) for first in range(PROCESSES)]
    with ProcessPoolExecutor(PROCESSES, mp_context=multiprocessing.get_context("fork")) as pool:
        return sum(pool.map(partial(in_threads, take), shares), Counter())


class Checkout:
    """Sells over HTTP, turn by turn on another channel: two SKUs in either order, one of them named several times."""

    # Who wants many is short of them while others still find what they want.
    CARTS = (("MUG", "PAN"), ("PAN", "MUG"), ("MUG", "PAN", "MUG"), ("PAN", *["MUG"] * 9))

    def __init__(self) -> None:
        scopes = ["storefront", "inventory"]
        self.tokens = {name: tokens.issue(name, scopes=scopes, channel=name) for name in CHANNELS}

    def __call__(self, turn: int) -> str:
        """`201 web 2`: the answer, the channel and how many mugs were asked for."""
        channel = CHANNELS[turn % len(CHANNELS)]
        skus = self.CARTS[turn // len(CHANNELS) % len(self.CARTS)]
        lines = [{"sku": sku, "quantity": 1} for sku in skus]
        path, body = ("orders", FULL_CART | {"lines": lines})
        if channel == "pos":
            path, body = "inventory/sales", {"warehouse": "BER", "reference": f"T{turn}", "lines": lines}
        try:
            answer = Client(raise_request_exception=False).post(
                f"/api/v1/{path}/",
                body,
                "application/json",
                headers={"Authorization": f"Bearer {self.tokens[channel]}", "Idempotency-Key": f"turn-{turn}"},
            )
        finally:
            connections.close_all()
        return f"{answer.status_code} {channel} {skus.count('MUG')}"


@pytest.mark.processes
@pytest.mark.django_db(transaction=True)
class TestOversell:
    def test_sells_exactly_what_one_warehouse_has(self) -> None:
        make_product("MUG", on_hand=UNITS)

        assert in_processes(buy, BUYERS) == {"sold": 50, REFUSED: 150}

        level = StockLevel.objects.get()
        assert (level.on_hand, level.reserved, level.available) == (50, 50, 0)
        assert (Order.objects.count(), Allocation.objects.count()) == (50, 50)
        assert Event.objects.filter(type="order.created").count() == 50
        assert StockMovement.objects.filter(reason="reserved").count() == 50
        assert Event.objects.filter(type="customer.created").count() == Customer.objects.count()

    def test_finds_the_units_wherever_they_are(self) -> None:
        product = make_product("MUG", on_hand=20, warehouse="BER")
        add_stock(product, on_hand=30, warehouse="MUC")

        assert in_processes(buy, BUYERS) == {"sold": 50, REFUSED: 150}

        assert [level.available for level in StockLevel.objects.all()] == [0, 0]
        assert Order.objects.count() == 50

    # The one that sells out is the first to be locked, or the last.
    @pytest.mark.parametrize("skus", [("MUG", "PAN"), ("PAN", "MUG")], ids="-".join)
    def test_sells_exactly_what_there_is_on_four_channels_at_once(self, skus: tuple[str, str]) -> None:
        for sku in skus:
            make_product(sku, on_hand={"MUG": UNITS, "PAN": 2 * UNITS}[sku])

        answers = in_processes(Checkout(), CHECKOUTS)

        assert answers.total() == CHECKOUTS
        assert {answer.split()[0] for answer in answers} == {"201", "409"}
        sold = {answer: count for answer, count in answers.items() if answer.startswith("201")}
        assert sum(int(answer.split()[2]) * count for answer, count in sold.items()) == UNITS
        assert StockLevel.objects.get(product__sku="MUG").available == 0
        at_the_till = sum(count for answer, count in sold.items() if " pos " in answer)
        assert Order.objects.count() == sum(sold.values()) - at_the_till
        assert audit(now=timezone.now() + timedelta(hours=1)).findings == []
