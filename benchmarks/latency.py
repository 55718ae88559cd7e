"""Commit to receipt: from the commit of an event to its arrival at the receiver, at a steady 30 events/s."""

import time

from benchmarks import harness

COUNT = 600
PER_SECOND = 30.0


def measure(kind: str) -> list[float]:
    """Milliseconds, one per event."""
    with harness.FastReceiver() as receiver, harness.database(kind) as environment:
        harness.in_django(environment, "subscribe", receiver.url)
        with harness.cluster(environment):
            time.sleep(3)
            committed = dict(harness.in_django(environment, "trickle", COUNT, PER_SECOND))
            arrived = dict(receiver.wait_for(COUNT))
    return [(arrived[event_id] - moment) * 1000 for event_id, moment in committed.items()]
