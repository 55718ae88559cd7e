"""Makes django-q2's cluster outlive `kill -9` of any of its workers.

multiprocessing's queues and shared values keep a lock while a process waits or writes: kill the process that holds it,
and every other one waits for ever. What a message socket and a single aligned float do needs no lock.
"""

import pickle
import select
import socket
import sys
import time
from contextlib import nullcontext
from multiprocessing.sharedctypes import RawValue
from typing import Any

MESSAGE_LIMIT = 1 << 20


class MessageQueue:
    """The part of `multiprocessing.Queue` that django-q2 uses, over a socket that keeps messages apart (unix(7)).

    With a `maxsize`, at most one message waits: further wake-ups then stay in the database, where they are coalesced.
    """

    FULL_POLL_S = 0.002

    def __init__(self, maxsize: int = 0) -> None:
        self._bounded = maxsize > 0
        self._reader, self._writer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def put(self, message: Any) -> None:
        while self._bounded and not self.empty():
            time.sleep(self.FULL_POLL_S)
        self._writer.sendall(pickle.dumps(message))

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


def install() -> None:
    if sys.platform == "linux":
        from django_q import cluster

        cluster.Queue, cluster.Value = MessageQueue, shared_timer
