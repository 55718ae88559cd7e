"""What 100,000 pending deliveries of a subscriber that is down cost the claims of the others."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from benchmarks import harness

FEW, BACKLOG = 500, 100_000
CLAIMS = 100
# Of the healthy one, in each claim.
HEALTHY = 8
ROUNDS = 5
# "Nothing worth measuring": less than what two runs of the same differ by.
BAR = 1.25


@dataclass(frozen=True)
class Round:
    """Milliseconds of a claim of 8 deliveries of a healthy subscriber, where nothing else was in its way.

    `without`: beside one that is owed few and is being probed, which is what any one more subscriber with something due
    costs a claim. `beside`: beside one that is owed the backlog, with its circuit open or probed, whichever costs more.
    """

    without: float
    beside: float

    @classmethod
    def of(cls, kind: str) -> Self:
        with (
            _one_processor(),
            _claiming(kind, FEW, CLAIMS) as few,
            _claiming(kind, BACKLOG, 2 * CLAIMS) as many,
        ):
            # In turns: the machine may be slower for a while.
            took = [(few("probed"), many("open"), many("probed")) for _ in range(CLAIMS)]
        # What else the machine does meanwhile must not count.
        without, *beside = (harness.percentile(list(case), 0.1) for case in zip(*took, strict=True))
        return cls(without, max(beside))

    @property
    def ratio(self) -> float:
        return self.beside / self.without


def measure(kind: str) -> Round:
    """Of the rounds, each on a database of its own, that with the median of their ratios."""
    return sorted((Round.of(kind) for _ in range(ROUNDS)), key=lambda each: each.ratio)[ROUNDS // 2]


@contextmanager
def _one_processor() -> Iterator[None]:
    """For all that is started meanwhile: where machines are shared, one processor may be slower than another."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def _claiming(kind: str, backlog: int, claims: int) -> Iterator[Callable[[object], Any]]:
    """Claims once, on a database of its own, whenever it is asked; tells in milliseconds what it took."""
    if kind == "postgres" and os.environ.get("DATABASE_URL", "").startswith("postgres"):
        sys.exit("Two databases are compared: unset DATABASE_URL, and each gets a server of its own.")
    with (
        harness.database(kind) as environment,
        harness.asking(environment, "claim_beside_a_dead_one", backlog, claims) as claim,
    ):
        yield claim


def claim_when_asked(backlog: int, claims: int) -> None:
    """Of standard input, a line each time: whether the circuit of the dead one is "open" or "probed"."""
    from benchmarks import work
    from webhooks.models import Subscription

    work.subscribe("http://127.0.0.1:9/healthy")
    dead = work.subscribe("http://127.0.0.1:9/dead")
    Subscription.objects.filter(pk=dead).update(event_types=["webhook.never"])
    _owe(dead, range(backlog))
    work.backlog(claims * HEALTHY)
    print('"ready"', flush=True)
    for line in sys.stdin:
        rests = timedelta(hours=1 if json.loads(line) == "open" else -1)
        state = {"consecutive_failures": 12, "resting_until": datetime.now(UTC) + rests}
        Subscription.objects.filter(pk=dead).update(**state)
        print(_claim(), flush=True)


def _owe(subscription: int, numbers: range) -> None:
    from django.db import connection

    from webhooks.models import Delivery, Event

    now = datetime.now(UTC)
    rows = [
        Event(type="webhook.test", subject=f"dead_{n % 1000}", label="", sequence=n // 1000, body="{}", occurred_at=now)
        for n in numbers
    ]
    Event.objects.bulk_create(rows, batch_size=2_000)
    Delivery.objects.bulk_create(
        (
            Delivery(event=event, subscription_id=subscription, event_type=event.type, subject=event.subject, label="")
            for event in rows
        ),
        batch_size=2_000,
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def _claim() -> float:
    from webhooks import claims
    from webhooks.models import Delivery

    started = time.perf_counter()
    claimed = claims.claim(64, owner="bench", now=datetime.now(UTC))
    took = (time.perf_counter() - started) * 1000
    # And the probe, where there is one. With nothing left to take, a claim would cost nothing.
    assert len(claimed) in {HEALTHY, HEALTHY + 1}, f"{len(claimed)} claimed"
    held = Delivery.objects.filter(pk__in=[one.id for one in claimed])
    held.update(state=Delivery.State.DELIVERED, lease_owner="", lease_until=None)
    return took


if __name__ == "__main__":
    for kind in sys.argv[1:] or ["postgres", "sqlite"]:
        for _ in range(ROUNDS):
            found = Round.of(kind)
            print(
                f"{kind}: {found.without:.2f} ms; beside it {found.beside:.2f} ms; ratio {found.ratio:.2f}", flush=True
            )
