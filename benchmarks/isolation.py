"""Commit to receipt at 19 healthy subscribers, with and without a twentieth that hangs to its deadline."""

import socket
import sys
import time
from statistics import median

from benchmarks import harness

HEALTHY = 19
PER_SECOND = 4.0
# Shorter than the deadline: nobody has learned yet that the twentieth does not answer.
COUNT = 48
# One slow moment of the machine is the p99 of a round.
ROUNDS = 5
WARM_UP = 20
WITHIN_S = 60.0


def measure(kind: str) -> tuple[list[float], list[float]]:
    """The p99 of each round in milliseconds: without and beside the one that hangs, in turns."""
    slowest: dict[bool, list[float]] = {False: [], True: []}
    with (
        socket.create_server(("127.0.0.1", 0), backlog=512) as silent,
        harness.FastReceiver() as receiver,
        harness.database(kind) as environment,
    ):
        urls = [*[receiver.url] * HEALTHY, f"http://127.0.0.1:{silent.getsockname()[1]}/"]
        *_, hanging = harness.in_django(environment, "subscribe_all", urls)
        with harness.cluster(environment):
            harness.in_django(environment, "take_part", hanging, False)
            _latencies(environment, receiver, WARM_UP)
            for _ in range(ROUNDS):
                for hangs in (False, True):
                    harness.in_django(environment, "take_part", hanging, hangs)
                    slowest[hangs].append(harness.percentile(_latencies(environment, receiver, COUNT), 0.99))
    return slowest[False], slowest[True]


def _latencies(environment: dict[str, str], receiver: harness.FastReceiver, count: int) -> list[float]:
    committed = dict(harness.in_django(environment, "trickle", count, PER_SECOND))
    # Not only these: of one that fails the healthy ones are told too.
    arrived: list[tuple[str, float]] = []
    ends = time.monotonic() + WITHIN_S
    while len(arrived) < count * HEALTHY:
        if time.monotonic() > ends:
            raise TimeoutError(f"{len(arrived)} of {count * HEALTHY} deliveries came in {WITHIN_S:.0f} s.")
        time.sleep(0.2)
        arrived = [(event_id, moment) for event_id, moment in receiver.arrivals() if event_id in committed]
    return [(moment - committed[event_id]) * 1000 for event_id, moment in arrived]


def compare(kind: str) -> tuple[float, float, float]:
    """Medians of the rounds' p99, without and beside; and of their ratios."""
    without, beside = measure(kind)
    ratios = [theirs / alone for alone, theirs in zip(without, beside, strict=True)]
    return median(without), median(beside), median(ratios)


if __name__ == "__main__":
    for kind in sys.argv[1:] or ["postgres", "sqlite"]:
        started = time.monotonic()
        without, beside, ratio = compare(kind)
        print(f"{kind}: p99 {without:.1f} ms; beside one that hangs {beside:.1f} ms; ratio {ratio:.2f}")
        print(f"({time.monotonic() - started:.0f} s)")
