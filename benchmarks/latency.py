"""Commit to receipt: from the commit of an event to its arrival at the receiver, at a steady 30 events/s."""

import time
from dataclasses import dataclass
from typing import Self

from benchmarks import harness
from benchmarks.pulse import Pulse

# The first find no connections open and no statement prepared.
WARM_UP, COUNT = 60, 600
PER_SECOND = 30.0


@dataclass(frozen=True)
class Latency:
    """In milliseconds."""

    p50: float
    p99: float

    @classmethod
    def of(cls, taken: list[float]) -> Self:
        return cls(p50=harness.percentile(taken, 0.5), p99=harness.percentile(taken, 0.99))


@dataclass(frozen=True)
class Measured:
    """`steady` is of those events, `share` of all, during which the machine itself was not slow."""

    overall: Latency
    steady: Latency
    share: float


def measure(kind: str) -> Measured:
    with harness.FastReceiver() as receiver, harness.database(kind) as environment:
        harness.in_django(environment, "subscribe", receiver.url)
        with harness.cluster(environment), Pulse() as pulse:
            time.sleep(3)
            committed = harness.in_django(environment, "trickle", WARM_UP + COUNT, PER_SECOND)
            arrived = dict(receiver.wait_for(len(committed)))
    spans = [(moment, arrived[event_id]) for event_id, moment in committed[WARM_UP:]]
    taken = [(ended - began) * 1000 for began, ended in spans]
    steady = [(ended - began) * 1000 for began, ended in spans if pulse.was_steady(began, ended)]
    return Measured(Latency.of(taken), Latency.of(steady), len(steady) / len(taken))
