from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier
from typing import Any

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inventory import stock
from inventory.models import StockLevel, StockMovement
from inventory.stock import Demand, InsufficientStock, StaleCount
from tests.factories import NOW
from tests.inventory.test_stock import CAUSE
from webhooks.errors import DomainError
from webhooks.models import Event

pytestmark = pytest.mark.django_db

Balance = Callable[[StockLevel], tuple[int, int, int]]


@pytest.mark.django_db(transaction=True)
class TestAtTheSameTime:
    """Each in a thread, and so a connection, of its own."""

    def at_once(self, *calls: Callable[[], object]) -> list[object]:
        """What each call gave, or the refusal it met."""
        barrier = Barrier(len(calls))

        def run(call: Callable[[], object]) -> object:
            barrier.wait()
            try:
                return call()
            except DomainError as refusal:
                return refusal
            finally:
                connection.close()

        with ThreadPoolExecutor(len(calls)) as threads:
            return list(threads.map(run, calls))

    def test_no_unit_is_held_twice(self, level: StockLevel, balance: Balance) -> None:
        buyers = [partial(stock.reserve, [Demand(level.pk, 3)], **CAUSE | {"reference": f"o{n}"}) for n in range(8)]

        outcomes = self.at_once(*buyers)

        refusals = [outcome for outcome in outcomes if isinstance(outcome, InsufficientStock)]
        assert (len(refusals), balance(level)) == (5, (10, 9, 4))
        assert {error["available"] for refusal in refusals for error in refusal.errors} <= {1, 4, 7}

    def test_levels_asked_for_in_opposite_orders_do_not_lock_each_other_out(
        self, level: StockLevel, lamps: StockLevel, balance: Balance
    ) -> None:
        there = [Demand(level.pk, 1), Demand(lamps.pk, 1)]
        calls = [partial(stock.reserve, there[:: 1 if n % 2 else -1], **CAUSE) for n in range(8)]

        outcomes = self.at_once(*calls)

        assert sum(isinstance(outcome, InsufficientStock) for outcome in outcomes) == 4
        assert (balance(level)[:2], balance(lamps)[:2]) == ((10, 4), (4, 4))

    def test_one_sale_that_is_told_many_times_is_one_sale(self, level: StockLevel, balance: Balance) -> None:
        sale = partial(stock.sell, warehouse=level.warehouse, lines=[(level.product, 10)], **CAUSE)

        outcomes = self.at_once(*[sale] * 6)

        assert len({str(outcome) for outcome in outcomes}) == 1
        assert balance(level) == (0, 0, 2)

    def test_of_two_counts_that_began_together_one_is_stale(self, level: StockLevel, balance: Balance) -> None:
        counted = partial(
            stock.count,
            product=level.product,
            warehouse=level.warehouse,
            expected_on_hand=10,
            reason="recounted",
            actor="ben",
            now=NOW,
        )

        outcomes = self.at_once(*[partial(counted, on_hand=on_hand) for on_hand in (4, 5, 6, 7)])

        assert sum(isinstance(outcome, StaleCount) for outcome in outcomes) == 3
        assert balance(level)[2] == 2


moves = st.lists(
    st.tuples(
        st.sampled_from(["reserve", "release", "issue", "adjust", "count", "sell", "keep_back"]),
        st.integers(min_value=0, max_value=1),
        st.integers(min_value=1, max_value=12),
    ),
    max_size=25,
)


class TestLedger:
    @given(moves)
    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_the_sum_of_movements_is_the_level_whatever_happens(
        self, level: StockLevel, lamps: StockLevel, history: list[tuple[str, int, int]]
    ) -> None:
        with transaction.atomic():
            for number, (verb, which, n) in enumerate(history):
                attempt(verb, (level, lamps)[which], n, reference=f"T{number}")

            for found in StockLevel.objects.all():
                assert_ledger_adds_up(found)
            transaction.set_rollback(True)


def attempt(verb: str, level: StockLevel, n: int, *, reference: str) -> None:
    """One move; a refusal is as good an outcome as any, and must leave no trace."""
    level.refresh_from_db()
    place: dict[str, Any] = {"product": level.product, "warehouse": level.warehouse}
    by: dict[str, Any] = {"actor": "ann", "now": NOW}
    demands = [Demand(level.pk, n)]
    try:
        match verb:
            case "adjust":
                stock.adjust(**place, delta=n if n % 2 else -n, reason="adjusted", **by)
            case "count":
                stock.count(**place, on_hand=n, expected_on_hand=level.on_hand, reason="recounted", **by)
            case "sell":
                stock.sell(warehouse=level.warehouse, lines=[(level.product, n)], reference=reference, **by)
            case "keep_back":
                stock.keep_back(level, safety_stock=n % 4, **by)
            case _:
                getattr(stock, verb)(demands, reference=reference, **by)
    except InsufficientStock:
        pass


def assert_ledger_adds_up(level: StockLevel) -> None:
    movements = list(StockMovement.objects.filter(level=level).order_by("version"))

    assert [movement.version for movement in movements] == list(range(1, level.version + 1))
    assert sum(movement.on_hand_delta for movement in movements) == level.on_hand
    assert sum(movement.reserved_delta for movement in movements) == level.reserved
    assert sum(movement.safety_stock_delta for movement in movements) == level.safety_stock
    assert sum(movement.available_delta for movement in movements) == level.available
    last = movements[-1]
    assert (last.on_hand_after, last.reserved_after) == (level.on_hand, level.reserved)
    assert Event.objects.filter(type="inventory.updated", label=level.product.sku).count() == level.version
