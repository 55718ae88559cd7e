"""Deliveries per second, logged and durable, against a bare loop of `requests.Session().post`."""

import os
import subprocess
import sys

from benchmarks import harness

COUNT = 6_000
PROCESSES, THREADS = 2, 64
# As long as the body of a webhook.test event with its envelope.
BODY = '{"id":"evt_01jdcq9v8k3x5w2m7r4t6y8z0a","type":"webhook.test","data":{"padding":"' + "x" * 300 + '"}}'
BARE = """
import sys, django
django.setup()
from benchmarks.work import bare_loop
bare_loop(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
"""


def rate(arrivals: list[tuple[str, float]]) -> float:
    """Per second, without the first and the last tenth: starting and stopping are not what is measured."""
    moments = sorted(moment for _, moment in arrivals)
    edge = len(moments) // 10
    return (len(moments) - 2 * edge) / (moments[-1 - edge] - moments[edge])


def engine(kind: str) -> float:
    """A backlog for one subscriber, drained by a cluster of two workers."""
    with harness.FastReceiver() as receiver, harness.database(kind) as environment:
        harness.in_django(environment, "subscribe", receiver.url, 100)
        harness.in_django(environment, "backlog", COUNT)
        with harness.cluster(environment):
            return rate(receiver.wait_for(COUNT))


def bare() -> float:
    """The same number of processes and threads, and no database."""
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "commerce.settings", "DEBUG": "true"}
    with harness.FastReceiver() as receiver:
        command = [sys.executable, "-c", BARE, receiver.url, str(COUNT // PROCESSES), str(THREADS), BODY]
        running = [subprocess.Popen(command, cwd=harness.ROOT, env=environment) for _ in range(PROCESSES)]
        for process in running:
            process.wait()
        return rate(receiver.arrivals())


def compare(kind: str, *, rounds: int = 3) -> tuple[float, float, float]:
    """Medians of deliveries per second, the engine's and the bare loop's, taken in turn; and of their ratios."""
    pairs = [(engine(kind), bare()) for _ in range(rounds)]
    middle = rounds // 2
    engines, bares = zip(*pairs, strict=True)
    ratios = sorted(ours / theirs for ours, theirs in pairs)
    return sorted(engines)[middle], sorted(bares)[middle], ratios[middle]
