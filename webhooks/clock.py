"""The clock of a cluster, in a process of its own: neither workers that are all busy nor a long timer make it late.

Once a second it looks for what a lost wake-up, a due retry or a lost worker left to do, and starts the timers whose
turn it is, each on a thread. So a timer takes no worker away from deliveries, however long it runs.
"""

import logging
import signal
import time
from threading import Thread
from typing import Any

from django.db import DatabaseError, InterfaceError, OperationalError, close_old_connections, connection, connections
from django.utils import timezone
from django.utils.module_loading import import_string

from webhooks import broker, claims, timers
from webhooks.timers import Timer

logger = logging.getLogger(__name__)

TICK_S = 1.0
# The timers of a cluster that starts begin one after the other, the quickest first.
STAGGER_S = 0.25
# The sentinel replaces a clock that has not ticked for so long.
HANGS_AFTER_S = 60.0
# What runs when the cluster is to stop may end by itself for so long.
STOP_WITHIN_S = 5.0


def run(alive: Any) -> None:
    """Until SIGTERM. `alive` is counted down by the sentinel, and set again by each tick."""
    timers.stopping.clear()
    signal.signal(signal.SIGTERM, lambda *_: timers.stopping.set())
    clock = Clock()
    while not timers.stopping.is_set():
        alive.value = HANGS_AFTER_S
        began = time.monotonic()
        clock.tick()
        timers.stopping.wait(max(TICK_S - (time.monotonic() - began), 0))
    clock.finish()


class Clock:
    def __init__(self) -> None:
        by_pace = sorted(timers.registered, key=lambda timer: timer.seconds)
        now = time.monotonic()
        self.next_at = {timer: now + place * STAGGER_S for place, timer in enumerate(by_pace)}
        self.runs: dict[Timer, Thread] = {}

    def tick(self) -> None:
        """Outlives a restart of the database."""
        try:
            close_old_connections()
            look()
        except DatabaseError as error:
            logger.warning("The clock cannot reach the database, and tries again: %s", error)
            connection.close()
        self._start_timers()

    def _start_timers(self) -> None:
        # Half a tick of grace, or one that comes a moment too early would wait for another.
        now = time.monotonic() + TICK_S / 2
        for timer, next_at in self.next_at.items():
            if next_at <= now and not self._is_at_work(timer):
                self.next_at[timer] = now + timer.seconds - TICK_S / 2
                # A daemon: it keeps nobody from ending.
                self.runs[timer] = Thread(target=_run, args=(timer,), name=timer.path, daemon=True)
                self.runs[timer].start()

    def _is_at_work(self, timer: Timer) -> bool:
        return timer in self.runs and self.runs[timer].is_alive()

    def finish(self) -> None:
        ends = time.monotonic() + STOP_WITHIN_S
        for running in self.runs.values():
            running.join(max(ends - time.monotonic(), 0))


def look() -> None:
    """What a lost wake-up, a due retry or a lost worker left to do."""
    now = timezone.now()
    claims.recover_leases(now)
    if claims.anything_due(now):
        broker.ring()


def _run(timer: Timer) -> None:
    try:
        import_string(timer.path)()
    except (OperationalError, InterfaceError) as error:
        logger.warning("The timer %s could not reach the database: %s", timer.path, error)
    except Exception:
        logger.exception("The timer %s failed", timer.path)
    finally:
        connections.close_all()
