"""Workers killed with `kill -9` while they drain 5,000 events: what was lost, and whether the log owns to each copy.

Under a lease of seconds: what dead workers hold would else take up the room of the subscriber for most of a minute.
"""

import random
import sys
import time
from collections import Counter
from dataclasses import dataclass

import psutil

from benchmarks import harness

COUNT = 5_000
KILLS = 20
WITHIN_S = 120.0
SHORT_LEASE = {"DJANGO_SETTINGS_MODULE": "tests.chaos.settings"}


@dataclass(frozen=True)
class Toll:
    """`lost`: events that never came. `copies`: requests beyond the first; of those the log explains `accounted`."""

    kills: int
    lost: int
    copies: int
    accounted: int

    def __str__(self) -> str:
        return (
            f"{self.kills} killed: {self.lost} lost, {self.copies} duplicates, {self.accounted} of them accounted for"
        )


def measure(kind: str, *, count: int = COUNT, kills: int = KILLS) -> Toll:
    with harness.FastReceiver() as receiver, harness.database(kind) as environment:
        harness.in_django(environment, "subscribe", receiver.url, 100)
        harness.in_django(environment, "backlog", count)
        with harness.cluster(environment | SHORT_LEASE) as process:
            for n in range(1, kills + 1):
                receiver.wait_for(n * count // (kills + 2))
                _kill_worker(process.pid)
            lost_attempts = Counter(dict(harness.in_django(environment, "await_delivered", WITHIN_S)))
        arrived = Counter(event_id for event_id, _ in receiver.arrivals())
    copies = Counter({event_id: times - 1 for event_id, times in arrived.items() if times > 1})
    return Toll(kills, count - len(arrived), copies.total(), (copies & lost_attempts).total())


def _kill_worker(cluster: int) -> None:
    """One of those that send: the sentinel starts its workers before monitor and pusher, or after one has died."""
    ends = time.monotonic() + 10
    while not (sending := _workers(cluster)):
        if time.monotonic() > ends:
            raise TimeoutError("The cluster has not replaced its workers.")
        time.sleep(0.05)
    random.choice(sending).kill()


def _workers(cluster: int) -> list[psutil.Process]:
    """Those that hold connections to the receiver."""
    family = psutil.Process(cluster).children(recursive=True)
    return [member for member in family if _sends(member)]


def _sends(process: psutil.Process) -> bool:
    try:
        return any(connection.raddr for connection in process.net_connections("tcp4"))
    except psutil.NoSuchProcess:
        return False


if __name__ == "__main__":
    for kind in sys.argv[1:] or ["postgres", "sqlite"]:
        print(f"{kind}: {measure(kind)}")
