"""Threads that answer requests: one at a time while they are quick, more only beside those that are slow."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from threading import Lock
from typing import Any

# As long as hardly any request takes: what takes longer holds up nobody any more.
SLOW_S = 0.05


@dataclass(eq=False, slots=True)
class _Job:
    work: Callable[..., Any]
    arguments: tuple[Any, ...]
    future: Future[Any] = field(default_factory=Future)
    is_waiting: bool = True

    def run(self) -> None:
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            result = self.work(*self.arguments)
        except BaseException as error:
            self.future.set_exception(error)
        else:
            self.future.set_result(result)


class Pool:
    """Does what it is given in that order, on at most `most` threads.

    Threads that are all at work wait for the interpreter after every statement they ask the database, and keep what
    they have locked there meanwhile: of eight orders at once for the same product the slowest take twice as long as one
    by one. So there is one thread, and another only beside those that have been at the same thing for SLOW_S.
    """

    def __init__(self, *, most: int) -> None:
        self.most = most
        self.threads = ThreadPoolExecutor(most, "page")
        self._waiting: deque[_Job] = deque()
        # When each of those at work began what it is at (monotonic, in seconds).
        self._began: dict[int, float] = {}
        self._names = count()
        self._lock = Lock()

    async def run(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """What `work` returns or raises."""
        job = _Job(work, arguments)
        with self._lock:
            self._waiting.append(job)
        self._employ()
        if job.is_waiting:
            self._look_after(job, asyncio.get_running_loop())
        return await asyncio.wrap_future(job.future)

    def close(self) -> None:
        """Once nothing is under way."""
        self.threads.shutdown()

    def _look_after(self, job: _Job, loop: asyncio.AbstractEventLoop) -> None:
        """Come back until it has been begun: what is at work may turn out to be slow."""

        def look() -> None:
            if job.is_waiting:
                self._employ()
                self._look_after(job, loop)

        loop.call_later(SLOW_S, look)

    def _employ(self) -> None:
        """Put one more to work unless one is that is not slow, or all are."""
        with self._lock:
            now = time.monotonic()
            is_one_quick = any(now - began < SLOW_S for began in self._began.values())
            if not self._waiting or is_one_quick or len(self._began) == self.most:
                return
            name = next(self._names)
            self._began[name] = now
        self.threads.submit(self._work, name)

    def _work(self, name: int) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    del self._began[name]
                    return
                job = self._waiting.popleft()
                self._began[name] = time.monotonic()
            job.is_waiting = False
            job.run()
