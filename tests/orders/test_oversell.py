"""Fifty units, two hundred buyers at once, from several processes: nobody is sold what is not there."""

import multiprocessing
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import pytest
from django.db import connections

from inventory.models import StockLevel, StockMovement
from inventory.stock import InsufficientStock
from orders import checkout
from orders.models import Allocation, Customer, Order
from tests.factories import NOW, add_stock, make_cart, make_product
from webhooks.models import Event

PROCESSES, THREADS, BUYERS, UNITS = 4, 5, 200, 50
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


def buy_in_threads(buyers: range) -> Counter[str]:
    with ThreadPoolExecutor(THREADS) as pool:
        return Counter(pool.map(buy, buyers))


def buy_in_processes() -> Counter[str]:
    # A connection must not be shared with the processes that are forked.
    connections.close_all()
    shares = [range(first, BUYERS, PROCESSES) for first in range(PROCESSES)]
    with ProcessPoolExecutor(PROCESSES, mp_context=multiprocessing.get_context("fork")) as pool:
        return sum(pool.map(buy_in_threads, shares), Counter())


@pytest.mark.processes
@pytest.mark.django_db(transaction=True)
class TestOversell:
    def test_sells_exactly_what_one_warehouse_has(self) -> None:
        make_product("MUG", on_hand=UNITS)

        assert buy_in_processes() == {"sold": 50, REFUSED: 150}

        level = StockLevel.objects.get()
        assert (level.on_hand, level.reserved, level.available) == (50, 50, 0)
        assert (Order.objects.count(), Allocation.objects.count()) == (50, 50)
        assert Event.objects.filter(type="order.created").count() == 50
        assert StockMovement.objects.filter(reason="reserved").count() == 50
        assert Event.objects.filter(type="customer.created").count() == Customer.objects.count()

    def test_finds_the_units_wherever_they_are(self) -> None:
        product = make_product("MUG", on_hand=20, warehouse="BER")
        add_stock(product, on_hand=30, warehouse="MUC")

        assert buy_in_processes() == {"sold": 50, REFUSED: 150}

        assert [level.available for level in StockLevel.objects.all()] == [0, 0]
        assert Order.objects.count() == 50
