"""Who must be told what on the demo's walk, and what has arrived."""

import json
import queue
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

from commerce.processes import Child
from webhooks import catalogue

ORDER_EVENTS = ("order.*", "payment.*")
RECEIVERS = {
    "OMS": ORDER_EVENTS,
    "ERP": (*ORDER_EVENTS, "inventory.updated"),
    "Shipping app": ORDER_EVENTS,
    "Notifier": ORDER_EVENTS,
}


@dataclass(frozen=True)
class Arrival:
    """One delivery as a receiver reported it."""

    receiver: str
    type: str
    subject: str
    label: str
    sequence: int
    verified: bool
    is_duplicate: bool
    in_order: bool
    latency_ms: int


# What a receiver prints and an Arrival keeps, in the order of its fields.
REPORTED = [field.name for field in fields(Arrival)][1:]


class Ledger:
    """Which deliveries are owed to whom, and which have arrived."""

    def __init__(self) -> None:
        self.arrivals: list[Arrival] = []
        self._incoming: queue.SimpleQueue[Arrival] = queue.SimpleQueue()
        self._owed: Counter[tuple[str, str]] = Counter()

    def follow(self, child: Child) -> None:
        threading.Thread(target=self._read, args=(child,), daemon=True).start()

    def _read(self, child: Child) -> None:
        assert child.process.stdout is not None, "a receiver that is followed has a pipe"
        with child.process.stdout as lines:
            for line in lines:
                receipt = json.loads(line)
                self._incoming.put(Arrival(child.name, *(receipt[name] for name in REPORTED)))

    def expect(self, event_types: Sequence[str]) -> None:
        for event_type in event_types:
            for receiver, patterns in RECEIVERS.items():
                if catalogue.matches(patterns, event_type):
                    self._owed[receiver, event_type] += 1

    def wait(self, *, timeout_s: float) -> Iterator[Arrival]:
        """Each arrival as it comes, until everything owed is there or the time is over."""
        deadline = time.monotonic() + timeout_s
        while self.missing() and (arrival := self._next(timeout_s=deadline - time.monotonic())):
            yield arrival

    def linger(self, *, quiet_s: float) -> Iterator[Arrival]:
        """What comes although nothing is owed any more, until nothing has come for `quiet_s`."""
        while arrival := self._next(timeout_s=quiet_s):
            yield arrival

    def _next(self, *, timeout_s: float) -> Arrival | None:
        try:
            arrival = self._incoming.get(timeout=max(timeout_s, 0))
        except queue.Empty:
            return None
        self.arrivals.append(arrival)
        return arrival

    def _arrived(self) -> Counter[tuple[str, str]]:
        return Counter((arrival.receiver, arrival.type) for arrival in self.arrivals)

    def missing(self) -> Counter[tuple[str, str]]:
        return self._owed - self._arrived()

    def faults(self) -> list[str]:
        """A sentence for everything that is not as it must be."""
        found = [f"{receiver} was not told of {name} ({n} missing)." for (receiver, name), n in self.missing().items()]
        unowed = self._arrived() - self._owed
        found += [f"{receiver} was told of {name} {n} times too often." for (receiver, name), n in unowed.items()]
        for arrival in self.arrivals:
            what = f"{arrival.receiver}: {arrival.type}, sequence {arrival.sequence},"
            found += [f"{what} has a signature that does not verify."] if not arrival.verified else []
            found += [f"{what} arrived twice."] if arrival.is_duplicate else []
            found += [f"{what} arrived out of sequence."] if not arrival.in_order else []
        return found + self._gaps()

    def _gaps(self) -> list[str]:
        """Each receiver is told everything about the order, so its numbers must be 1, 2, 3, …"""
        numbers: dict[str, set[int]] = {}
        for arrival in self.arrivals:
            if arrival.subject.startswith("ord_"):
                numbers.setdefault(arrival.receiver, set()).add(arrival.sequence)
        return [
            f"{receiver} has a gap in the order's sequence: {sorted(known)}."
            for receiver, known in numbers.items()
            if known != set(range(1, len(known) + 1))
        ]
