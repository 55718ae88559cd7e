"""Cuts the connection of an attempt when its time is up, whatever it is waiting for."""

import os
import socket
import threading
import time
from collections import deque

_running = threading.local()


class Deadline:
    """Cuts the connection of the attempt this thread is making when its time is up.

    A time-out bounds each read only: a receiver that drips a byte now and then would hold the thread for ever.
    """

    def __init__(self, at: float) -> None:
        self.at = at
        self.wire: socket.socket | None = None
        self.expired = self.done = False

    def __enter__(self) -> "Deadline":
        _running.deadline = self
        _watchdog.add(self)
        return self

    def __exit__(self, *_: object) -> None:
        self.done = True
        _running.deadline = None

    def expire(self) -> None:
        self.expired = True
        if self.wire is not None:
            try:
                self.wire.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # It has ended by itself.


def watch(wire: socket.socket | None) -> None:
    """Cut this one at the deadline of the attempt that this thread is making, if there is one; now, if that is past."""
    deadline: Deadline | None = getattr(_running, "deadline", None)
    if deadline is not None:
        deadline.wire = wire
        if deadline.expired:
            deadline.expire()


class Watchdog:
    """One thread, while there are attempts. All have the same time, so the first to begin is the first to end."""

    TICK_S = 0.2
    # Starting a thread costs more than an attempt: it outlives the pauses between them.
    IDLE_S = 5.0

    def __init__(self) -> None:
        self.waiting: deque[Deadline] = deque()
        self.turning = threading.Lock()
        self.pid = 0

    def add(self, deadline: Deadline) -> None:
        self.waiting.append(deadline)
        if self.pid != os.getpid():
            self._start()

    def _start(self) -> None:
        with self.turning:
            if self.pid != os.getpid():
                self.pid = os.getpid()
                threading.Thread(target=self._watch, name="deadlines", daemon=True).start()

    def _watch(self) -> None:
        idle_since = time.monotonic()
        while True:
            time.sleep(self.TICK_S)
            now = time.monotonic()
            if self._cut(now):
                idle_since = now
            elif now - idle_since > self.IDLE_S and self._ends():
                return

    def _ends(self) -> bool:
        """Not if an attempt began that saw this thread and started none."""
        with self.turning:
            self.pid = 0
            if self.waiting:
                self.pid = os.getpid()
            return not self.pid

    def _cut(self, now: float) -> bool:
        """Whether there was anything to watch."""
        watched = bool(self.waiting)
        while self.waiting and (self.waiting[0].done or self.waiting[0].at <= now):
            deadline = self.waiting.popleft()
            if not deadline.done:
                deadline.expire()
        return watched


_watchdog = Watchdog()
