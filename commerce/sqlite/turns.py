"""Whose turn it is to write to a file of SQLite, which has one writer at a time.

Left to itself SQLite lets the others ask again after pauses that grow to a tenth of a second: much of the time nobody
writes, and whoever is unlucky waits for seconds. Here the threads of a process write in the order they came, and the
processes in turn. It is a courtesy and no more: what keeps the file whole is SQLite's own lock, and who takes no turn
only waits longer.
"""

import fcntl
import os
import threading
import time
from collections import deque
from functools import cache

# What the head of a process's queue lets pass before it asks again.
ASK_AGAIN_S = 0.0005
# Of the bytes of the file beside the database, the one that is locked by who writes, and by who writes next. Locks of
# POSIX: they end with their process, however it ends, and no fork inherits them.
_TURN, _NEXT = 0, 1


class Turns:
    """The writers of one file, as far as this process knows them: a queue of its threads."""

    def __init__(self, path: str) -> None:
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        self.leave_as_it_was()
        os.register_at_fork(after_in_child=self.leave_as_it_was)

    def leave_as_it_was(self) -> None:
        """Nobody of this process writes, or waits for it."""
        self.mutex = threading.Lock()
        self.waiting: deque[threading.Event] = deque()
        self.is_taken = False

    def take(self, timeout_s: float) -> bool:
        """Wait for one's turn; False if it has not come in that time."""
        ends = time.monotonic() + timeout_s
        if not self._queue(timeout_s):
            return False
        has_it = False
        try:
            # Whoever is to be next waits before this process can have its turn again.
            if self._lock(_NEXT, ends):
                has_it = self._lock(_TURN, ends)
        finally:
            self._unlock(_NEXT)
            if not has_it:
                self._call_next()
        return has_it

    def give_back(self) -> None:
        self._unlock(_TURN)
        self._call_next()

    def _queue(self, timeout_s: float) -> bool:
        with self.mutex:
            if not self.is_taken:
                self.is_taken = True
                return True
            called = threading.Event()
            self.waiting.append(called)
        try:
            called.wait(timeout_s)
        except BaseException:
            # A timeout of the worker, or of whoever sits before it.
            if self._leave_queue(called):
                self._call_next()
            raise
        return self._leave_queue(called)

    def _leave_queue(self, called: threading.Event) -> bool:
        """Whether it has been called, at the last moment perhaps."""
        with self.mutex:
            if called not in self.waiting:
                return True
            self.waiting.remove(called)
            return False

    def _call_next(self) -> None:
        with self.mutex:
            if self.waiting:
                self.waiting.popleft().set()
            else:
                self.is_taken = False

    def _lock(self, byte: int, ends: float) -> bool:
        while True:
            try:
                fcntl.lockf(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
            except OSError:
                if time.monotonic() > ends:
                    return False
                time.sleep(ASK_AGAIN_S)
            else:
                return True

    def _unlock(self, byte: int) -> None:
        fcntl.lockf(self.descriptor, fcntl.LOCK_UN, 1, byte)


@cache
def at(database: str) -> Turns:
    """Of the database in this file; one for the whole process, for a second descriptor would undo the locks."""
    return Turns(f"{database}-turn")
