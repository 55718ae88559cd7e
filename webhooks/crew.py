"""The threads that send: as few as keep up, for threads that compete for the interpreter send half as much."""

import threading
from collections import deque
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

Item = TypeVar("Item")

FEWEST = 4
# Nothing was begun for so long while something waits: those at work wait for answers, and others can begin it.
STALL_S = 0.005


class Crew(Generic[Item]):
    """Does `work` for each item on at most `most` threads, in the order they were given.

    A quick receiver keeps FEWEST of them busy. Slow ones hold up no other: whoever gives the items calls `look` every
    STALL_S, and each time that nothing has been begun twice as many are at work, until there is one for each item.
    """

    def __init__(self, work: Callable[[Item], None], *, most: int) -> None:
        self.work = work
        self.most = most
        self.wanted = min(FEWEST, most)
        self.at_work = 0
        self.begun = self.seen = 0
        self.waiting: deque[Item] = deque()
        self.lock = threading.Lock()
        self.threads = ThreadPoolExecutor(most, "send")

    def give(self, items: Collection[Item]) -> None:
        with self.lock:
            self.waiting.extend(items)
            # Of more than are needed one goes each time, so that a moment's slowness is forgotten.
            self.wanted = max(self.wanted - 1, min(FEWEST, self.most))
        self._employ(self.wanted)

    def look(self) -> None:
        """Put more to work if none of those at work has begun anything since the last look."""
        begun = self.begun
        if self.waiting and begun == self.seen:
            self.wanted = min(self.wanted * 2, self.most)
            # What these begin with tells nothing of the others.
            begun += self._employ(self.wanted)
        self.seen = begun

    def leave(self) -> None:
        """Nobody will look any more: what still waits is begun now."""
        self._employ(self.at_work + len(self.waiting))

    def close(self) -> None:
        """Finish what was given."""
        self.leave()
        self.threads.shutdown()

    def _employ(self, count: int) -> int:
        """Have `count` at work, or one for each item that waits; how many that is more than before."""
        with self.lock:
            more = max(0, min(count, self.most) - self.at_work)
            more = min(more, len(self.waiting))
            self.at_work += more
        for _ in range(more):
            self.threads.submit(self._run)
        return more

    def _run(self) -> None:
        while True:
            with self.lock:
                if not self.waiting:
                    self.at_work -= 1
                    return
                item = self.waiting.popleft()
                self.begun += 1
            self.work(item)
