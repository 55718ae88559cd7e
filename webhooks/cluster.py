"""django-q2's cluster, with a clock beside its workers, made to outlive `kill -9` of any of its processes.

multiprocessing's queues and shared values keep a lock while a process waits or writes: kill the process that holds it,
and every other one waits for ever. What a message socket and a single aligned float do needs no lock.
"""

import logging
import pickle
import select
import socket
import sys
import time
from contextlib import nullcontext
from multiprocessing.sharedctypes import RawValue
from typing import Any

from django import db
from django_q import cluster as django_q
from django_q.signals import post_spawn

from webhooks import clock
from webhooks.garbage import collect_seldom

logger = logging.getLogger(__name__)

MESSAGE_LIMIT = 1 << 20


class MessageQueue:
    """The part of `multiprocessing.Queue` that django-q2 uses, over a socket that keeps messages apart (unix(7)).

    With a `maxsize`, at most one message waits until that limit is lifted: further wake-ups stay in the database, where
    they are coalesced.
    """

    FULL_POLL_S = 0.002

    def __init__(self, maxsize: int = 0) -> None:
        # Shared by all the processes that the queue is handed to.
        self._is_limited = RawValue("b", maxsize > 0)
        self._reader, self._writer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def put(self, message: Any) -> None:
        while self._is_limited.value and not self.empty():
            time.sleep(self.FULL_POLL_S)
        self._writer.sendall(pickle.dumps(message))

    def lift_limit(self) -> None:
        """Nobody waits for room any more, nor goes on waiting."""
        self._is_limited.value = False

    def get(self) -> Any:
        return pickle.loads(self._reader.recv(MESSAGE_LIMIT))  # noqa: S301 (from our own processes)

    def empty(self) -> bool:
        return not select.select([self._reader], [], [], 0)[0]

    def qsize(self) -> int:
        return 0 if self.empty() else 1

    def close(self) -> None:
        """Messages are with the kernel already: nothing is left to flush, here or in `join_thread`."""

    join_thread = close


def shared_timer(kind: str, initial: float) -> Any:
    """A worker's timer, shared with the sentinel: an aligned float, written whole."""
    timer = RawValue(kind, initial)
    timer.get_lock = nullcontext
    return timer


class Sentinel(django_q.Sentinel):  # type: ignore[misc]
    """Starts and replaces the processes of a cluster; one of them is the clock."""

    def spawn_cluster(self) -> None:
        super().spawn_cluster()
        self._spawn_clock()

    def _spawn_clock(self) -> None:
        alive = django_q.Value("f", clock.HANGS_AFTER_S)
        self.clock = django_q.get_mp_context().Process(target=clock.run, args=(alive,), daemon=True)
        # The guard counts it down, and asks for another clock when it comes to nothing.
        self.clock.timer = alive
        self.pool.append(self.clock)
        self.clock.start()

    def reincarnate(self, process: Any) -> None:
        if process is not self.clock:
            super().reincarnate(process)
            return
        logger.error("The clock of the cluster has %s: starting another.", "hung" if process.is_alive() else "ended")
        db.connections.close_all()
        process.kill()
        process.join(1)
        self.pool.remove(process)
        self._spawn_clock()
        self.reincarnations += 1

    def stop(self) -> None:
        # Out of the pool first: each that is in it is sent the word to stop by the queue of the workers.
        self.pool.remove(self.clock)
        self.clock.terminate()
        # When all workers have just died, there is nobody who would make room for that word.
        if isinstance(self.task_queue, MessageQueue):
            self.task_queue.lift_limit()
        super().stop()
        self.clock.join(clock.STOP_WITHIN_S + clock.TICK_S)


def install() -> None:
    django_q.Sentinel = Sentinel
    post_spawn.connect(collect_seldom, dispatch_uid="webhooks.collect_seldom")
    if sys.platform == "linux":
        django_q.Queue, django_q.Value = MessageQueue, shared_timer
