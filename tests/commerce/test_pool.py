import asyncio
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from commerce.pool import SLOW_S, Pool

pytestmark = pytest.mark.once

MOST = 3


@pytest.fixture
def pool() -> Iterator[Pool]:
    pool = Pool(most=MOST)
    yield pool
    pool.close()


class Crowd:
    """How many are at work at once, at most."""

    def __init__(self) -> None:
        self.here = self.most = 0
        self.lock = threading.Lock()

    def work(self, for_s: float = 0.002) -> None:
        with self.lock:
            self.here += 1
            self.most = max(self.most, self.here)
        time.sleep(for_s)
        with self.lock:
            self.here -= 1


def all_of(pool: Pool, *works: Callable[[], object]) -> list[object]:
    """What came of each, all given at once; in the order they were given."""

    async def run() -> list[object]:
        return list(await asyncio.gather(*[pool.run(work) for work in works], return_exceptions=True))

    return asyncio.run(run())


class TestPool:
    def test_does_what_is_quick_one_by_one_and_in_order(self, pool: Pool) -> None:
        crowd, done = Crowd(), list[int]()

        def step(n: int) -> None:
            crowd.work()
            done.append(n)

        all_of(pool, *[lambda n=n: step(n) for n in range(20)])

        assert (crowd.most, done) == (1, list(range(20)))

    def test_lets_nothing_wait_for_what_is_slow(self, pool: Pool) -> None:
        released = threading.Event()

        async def run() -> tuple[float, bool]:
            slow = asyncio.create_task(pool.run(released.wait, 10))
            await asyncio.sleep(0)
            began = time.monotonic()
            await asyncio.gather(*[pool.run(Crowd().work) for _ in range(20)])
            took, is_slow = time.monotonic() - began, not slow.done()
            released.set()
            await slow
            return took, is_slow

        took, is_slow = asyncio.run(run())

        assert is_slow
        assert took < 5

    def test_keeps_nobody_waiting_beside_what_has_been_slow_for_long(self, pool: Pool) -> None:
        released = threading.Event()

        async def run() -> float:
            slow = asyncio.create_task(pool.run(released.wait, 10))
            await asyncio.sleep(2 * SLOW_S)
            began = time.monotonic()
            await pool.run(lambda: None)
            took = time.monotonic() - began
            released.set()
            await slow
            return took

        assert min(asyncio.run(run()) for _ in range(5)) < SLOW_S / 2

    def test_has_no_more_at_work_than_there_may_be(self, pool: Pool) -> None:
        crowd = Crowd()

        all_of(pool, *[lambda: crowd.work(4 * SLOW_S)] * (2 * MOST))

        assert crowd.most == MOST

    def test_goes_on_after_what_has_failed(self, pool: Pool) -> None:
        def fail() -> None:
            raise ZeroDivisionError

        failed, result = all_of(pool, fail, lambda: "done")

        assert isinstance(failed, ZeroDivisionError)
        assert result == "done"

    def test_does_not_begin_what_nobody_waits_for_any_more(self, pool: Pool) -> None:
        released, done = threading.Event(), list[str]()

        async def run() -> None:
            first = asyncio.create_task(pool.run(released.wait, 10))
            second = asyncio.create_task(pool.run(done.append, "second"))
            await asyncio.sleep(0)
            second.cancel()
            await asyncio.sleep(0)
            released.set()
            await first
            await pool.run(done.append, "third")

        asyncio.run(run())

        assert done == ["third"]

    def test_serves_one_event_loop_after_another(self, pool: Pool) -> None:
        assert [all_of(pool, *[lambda: "done"] * 3) for _ in range(3)] == [["done"] * 3] * 3
