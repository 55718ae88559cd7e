"""Deliveries per second, logged and durable, against a bare loop of `requests.Session().post`."""

import subprocess
import sys
import time

from benchmarks import harness

COUNT = 6_000
PROCESSES, THREADS = 2, 32
BODY = '{"id":"evt_01jdcq9v8k3x5w2m7r4t6y8z0a","type":"webhook.test","data":{"padding":"' + "x" * 300 + '"}}'


def rate(arrivals: list[tuple[str, float]]) -> float:
    """Per second, without the first and the last tenth: starting and stopping are not what is measured."""
    moments = sorted(moment for _, moment in arrivals)
    edge = len(moments) // 10
    return (len(moments) - 2 * edge) / (moments[-1 - edge] - moments[edge])


def engine(kind: str) -> float:
    with harness.FastReceiver() as receiver, harness.database(kind) as environment:
        harness.in_django(environment, "subscribe", receiver.url, 100)
        harness.in_django(environment, "backlog", COUNT)
        with harness.cluster(environment):
            return rate(receiver.wait_for(COUNT))


def bare() -> float:
    """The same processes and threads, no database."""
    script = (
        "import sys, django; django.setup(); from benchmarks.work import bare_loop;"
        "bare_loop(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])"
    )
    import os

    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "commerce.settings", "DEBUG": "true"}
    with harness.FastReceiver() as receiver:
        command = [sys.executable, "-c", script, receiver.url, str(COUNT // PROCESSES), str(THREADS), BODY]
        running = [subprocess.Popen(command, cwd=harness.ROOT, env=environment) for _ in range(PROCESSES)]
        for process in running:
            process.wait()
        time.sleep(0.1)
        return rate(receiver.arrivals())


if __name__ == "__main__":
    print("bare", bare())
    for kind in sys.argv[1:] or ["postgres", "sqlite"]:
        print(kind, engine(kind))
    print("bare", bare())
