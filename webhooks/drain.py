"""The sender each worker process of the cluster runs: threads that send, and one that records."""

import logging
import os
import secrets
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from django.db import DatabaseError, DataError, IntegrityError, connection, connections
from django.utils import timezone

from webhooks import broker, claims, delivery
from webhooks.claims import Claimed
from webhooks.crew import STALL_S, Crew
from webhooks.delivery import Sent
from webhooks.models import Delivery

logger = logging.getLogger(__name__)

THREADS = 64
# A drain ends well within django-q2's `timeout` and rings for the next one.
DRAIN_S = 4.0
# How long a drain waits for a slow answer before it leaves it to the recorder and ends.
PATIENCE_S = 0.05
# Enough outcomes for the next record to be worth its statements.
REFILL = THREADS // 2
GATHER_S = 0.01
RECORD_RETRY_S = 0.5


class Sender:
    """Sends what drains claim, on threads that outlive the drain, so that one slow receiver holds up no other.

    Outcomes are recorded by one thread, as many at once as have come in.
    """

    def __init__(self) -> None:
        self.owner = f"{socket.gethostname()[:30]}:{os.getpid()}:{secrets.token_hex(4)}"
        self.in_flight = 0
        # Of these, those that were waited for in vain.
        self.slow = 0
        self.progress = threading.Condition()
        self.draining = 0
        self.recorded = 0
        self.recording = False
        self.outcomes: deque[Sent] = deque()
        self.enough = threading.Event()
        self.crew = Crew(self._send, most=THREADS)
        self.recorder = ThreadPoolExecutor(1, "record")

    @property
    def free(self) -> int:
        return THREADS - self.in_flight

    def submit(self, claimed: list[Claimed]) -> None:
        with self.progress:
            self.in_flight += len(claimed)
        self.crew.give(claimed)

    def wait(self) -> bool:
        """Until half of what is under way has been recorded, or PATIENCE_S; whether anything was.

        Half, so that the next claim is worth its statements. What PATIENCE_S was too short for is not waited for again:
        a receiver that hangs does not hold up the claims for the others.
        """
        with self.progress:
            before = self.in_flight
            enough = before - max((before - self.slow) // 2, 1)
            is_enough = self._wait_until(lambda: self.in_flight <= max(enough, 0))
            self.slow = min(self.slow, self.in_flight) if is_enough else self.in_flight
            return self.in_flight < before

    def _wait_until(self, is_enough: Callable[[], bool]) -> bool:
        """Whether it was, within PATIENCE_S; the crew is looked after meanwhile."""
        ends = time.monotonic() + PATIENCE_S
        while not self.progress.wait_for(is_enough, STALL_S):
            if time.monotonic() > ends:
                return False
            self.crew.look()
        return True

    def close(self) -> None:
        """Finish what is under way, and give the connections back."""
        self.crew.close()
        self.recorder.submit(connections.close_all)
        self.recorder.shutdown()

    def _send(self, claimed: Claimed) -> None:
        try:
            sent = delivery.send(claimed, now=timezone.now())
        except Exception:
            # A bug: the lease runs out, and the log will say `worker_lost`.
            logger.exception("Sending %s failed", claimed.event_id)
            self._finished(1)
            return
        self.outcomes.append(sent)
        if not self.recording:
            self._start_recording()
        elif len(self.outcomes) >= min(REFILL, self.in_flight):
            self.enough.set()

    def _start_recording(self) -> None:
        """Two at once may both start it: the second finds nothing left to do."""
        self.recording = True
        try:
            self.recorder.submit(self._record_waiting)
        except RuntimeError:
            # The process is ending: nobody else will write this one down.
            self._record_waiting()
            connection.close()

    def _record_waiting(self) -> None:
        while self.recording:
            while batch := self._gather():
                self._record_all(batch)
            self.recording = False
            if self.outcomes:
                # It came in when nobody seemed to be needed for it.
                self.recording = True

    def _record_all(self, batch: list[Sent]) -> None:
        try:
            self._record(batch)
        except Exception:
            # A bug, as in `_send`: it must not keep the threads of these busy for ever.
            logger.exception("Recording %d outcomes failed", len(batch))
        self._finished(len(batch))

    def _gather(self) -> list[Sent]:
        """What has come in, once that is REFILL of them or all that is under way; or after GATHER_S."""
        self.enough.clear()
        if len(self.outcomes) < min(REFILL, self.in_flight):
            # Not woken by each: a thread that wakes takes the interpreter from those that send.
            self.enough.wait(GATHER_S)
        return [self.outcomes.popleft() for _ in range(len(self.outcomes))]

    def _record(self, batch: list[Sent]) -> None:
        """Kept up while the database is away, for as long as the lease is ours."""
        gives_up = time.monotonic() + claims.LEASE.total_seconds()
        while time.monotonic() < gives_up:
            try:
                delivery.record(batch, owner=self.owner, now=timezone.now())
                self.recorded += 1
                if not self.draining:
                    # Something may have waited for these: the next event of the subject, room in the subscription.
                    broker.ring()
            except (DataError, IntegrityError):
                self._record_apart(batch)
                return
            except DatabaseError:
                logger.exception("Recording %d outcomes failed; trying again", len(batch))
                connection.close()
                time.sleep(RECORD_RETRY_S)
            else:
                return

    def _record_apart(self, batch: list[Sent]) -> None:
        """One of them cannot be written, which is a bug: the others can."""
        if len(batch) == 1:
            logger.exception("Recording the outcome of %s failed", batch[0].claimed.event_id)
            return
        for sent in batch:
            self._record([sent])

    def _finished(self, count: int) -> None:
        with self.progress:
            self.in_flight -= count
            self.progress.notify_all()


@cache
def _sender_of(pid: int) -> Sender:
    return Sender()


def sender() -> Sender:
    """This process's own: threads do not survive a fork."""
    return _sender_of(os.getpid())


def drain() -> None:
    """Claim and send until nothing is due, or for DRAIN_S; slow answers are recorded after it has ended."""
    mine = sender()
    mine.draining += 1
    try:
        recorded = _drain(mine, ends=time.monotonic() + DRAIN_S)
    finally:
        mine.draining -= 1
        mine.crew.leave()
    if recorded != mine.recorded:
        # Since the last look room was made, or an earlier event of a subject settled.
        broker.ring()


def _drain(mine: Sender, *, ends: float) -> int:
    """How many batches had been recorded when it looked last; -1 if it ran out of time."""
    rang = False
    while time.monotonic() < ends:
        recorded, room = mine.recorded, mine.free
        claimed = claims.claim(room, owner=mine.owner, now=timezone.now(), threads=THREADS) if room else []
        mine.submit(claimed)
        if claimed and len(claimed) == room and not rang:
            # More than one worker can chew: wake another.
            broker.ring()
            rang = True
        if not mine.wait() and not claimed:
            return recorded
    return -1


def send_now(row: Delivery) -> None:
    """Send this delivery here and now, or wait for the worker that was quicker; its attempt tells how it went."""
    owner = f"web:{os.getpid()}:{secrets.token_hex(4)}"
    for claimed in claims.claim_one(row, owner=owner, now=timezone.now()):
        sent = delivery.send(claimed, now=timezone.now())
        delivery.record([sent], owner=owner, now=timezone.now())
        return
    ends = time.monotonic() + claims.LEASE.total_seconds()
    while time.monotonic() < ends:
        row.refresh_from_db()
        if row.attempt_count:
            return
        time.sleep(0.05)
