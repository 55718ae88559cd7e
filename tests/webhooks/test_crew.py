"""The threads that send: few for a quick receiver, one for each item where receivers are slow."""

import threading
import time
from collections.abc import Iterator

import pytest

from webhooks.crew import FEWEST, Crew

pytestmark = pytest.mark.once

MOST = 16


class Shop:
    """Work that can be made to wait, and how many were at it at once."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.lock = threading.Lock()
        self.at_it = self.most_at_it = 0
        self.done: list[int] = []

    def work(self, item: int) -> None:
        with self.lock:
            self.at_it += 1
            self.most_at_it = max(self.most_at_it, self.at_it)
        self.opened.wait(10)
        with self.lock:
            self.at_it -= 1
            self.done.append(item)

    def wait_for(self, count: int) -> None:
        ends = time.monotonic() + 5
        while len(self.done) < count:
            assert time.monotonic() < ends, f"{len(self.done)} of {count} are done"
            time.sleep(0.001)


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture
def crew(shop: Shop) -> Iterator[Crew[int]]:
    crew = Crew(shop.work, most=MOST)
    yield crew
    shop.opened.set()
    crew.close()


def settle() -> None:
    time.sleep(0.05)


class TestCrew:
    def test_does_everything_once(self, crew: Crew[int], shop: Shop) -> None:
        shop.opened.set()

        for start in range(0, 1_000, 10):
            crew.give(range(start, start + 10))
        shop.wait_for(1_000)

        assert sorted(shop.done) == list(range(1_000))
        assert shop.most_at_it <= FEWEST

    def test_begins_with_a_few(self, crew: Crew[int], shop: Shop) -> None:
        crew.give(range(40))
        settle()

        assert shop.at_it == FEWEST

    def test_doubles_those_at_work_each_time_nothing_has_been_begun(self, crew: Crew[int], shop: Shop) -> None:
        crew.give(range(40))
        settle()
        grown = []

        for _ in range(4):
            crew.look()
            settle()
            grown.append(shop.at_it)

        # The first look only sees that something has been begun since the last one.
        assert grown == [FEWEST, 2 * FEWEST, MOST, MOST]

    def test_stays_as_it_is_while_something_is_begun(self, crew: Crew[int], shop: Shop) -> None:
        shop.opened.set()
        crew.give(range(200))

        while len(shop.done) < 200:
            crew.look()
            time.sleep(0.002)

        assert crew.wanted == FEWEST

    def test_forgets_a_moment_of_slowness(self, crew: Crew[int], shop: Shop) -> None:
        crew.give(range(40))
        for _ in range(4):
            settle()
            crew.look()
        shop.opened.set()
        shop.wait_for(40)

        for _ in range(MOST):
            crew.give([0])

        assert crew.wanted == FEWEST

    def test_that_nobody_looks_at_any_more_begins_all_it_can(self, crew: Crew[int], shop: Shop) -> None:
        crew.give(range(MOST))

        crew.leave()
        settle()

        assert shop.at_it == MOST

    def test_that_is_closed_finishes_what_it_was_given(self, shop: Shop) -> None:
        crew = Crew(shop.work, most=MOST)
        shop.opened.set()
        crew.give(range(100))

        crew.close()

        assert len(shop.done) == 100
