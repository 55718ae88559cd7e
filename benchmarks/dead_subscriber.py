"""What 100,000 pending deliveries of a subscriber that is down cost the claims of the others."""

import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self

from benchmarks import harness

FEW, BACKLOG = 500, 100_000
CLAIMS = 100
# Cases come one after the other, and the machine may be slower for one than for the next.
ROUNDS = 5
# "Nothing worth measuring": less than what two runs of the same differ by.
BAR = 1.25
# The first is what any one more subscriber with something due costs a claim.
CASES = {"few wait, and it is being probed": FEW, "its circuit is open": BACKLOG, "it is being probed": BACKLOG}


@dataclass(frozen=True)
class Round:
    """Milliseconds of a claim of 8 deliveries of a healthy subscriber, where nothing else was in its way."""

    without: float
    beside: float

    @classmethod
    def of(cls, kind: str) -> Self:
        with harness.database(kind) as environment:
            without, *beside = harness.in_django(environment, "claim_beside_a_dead_one").values()
        return cls(without, max(beside))

    @property
    def ratio(self) -> float:
        return self.beside / self.without


def measure(kind: str) -> Round:
    """Of the rounds, each on a database of its own, that with the median of their ratios."""
    return sorted((Round.of(kind) for _ in range(ROUNDS)), key=lambda each: each.ratio)[ROUNDS // 2]


def claim_beside_a_dead_one() -> dict[str, float]:
    from benchmarks import work
    from webhooks.models import Subscription

    work.subscribe("http://127.0.0.1:9/healthy")
    dead = work.subscribe("http://127.0.0.1:9/dead")
    Subscription.objects.filter(pk=dead).update(event_types=["webhook.never"])
    found, owed = {}, 0
    for case, backlog in CASES.items():
        rests = timedelta(hours=1) if case == "its circuit is open" else timedelta(hours=-1)
        state = {"consecutive_failures": 12, "resting_until": datetime.now(UTC) + rests}
        Subscription.objects.filter(pk=dead).update(**state)
        _owe(dead, range(owed, backlog))
        owed = backlog
        found[case] = _claim_often()
    return found


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


def _claim_often() -> float:
    from benchmarks import work
    from webhooks import claims
    from webhooks.models import Delivery

    work.backlog(CLAIMS * 8)
    took = []
    for _ in range(CLAIMS):
        started = time.perf_counter()
        claimed = claims.claim(64, owner="bench", now=datetime.now(UTC))
        took.append((time.perf_counter() - started) * 1000)
        held = Delivery.objects.filter(pk__in=[one.id for one in claimed])
        held.update(state=Delivery.State.DELIVERED, lease_owner="", lease_until=None)
    # What else the machine does meanwhile must not count.
    return harness.percentile(took, 0.1)


if __name__ == "__main__":
    for kind in sys.argv[1:] or ["postgres", "sqlite"]:
        for _ in range(ROUNDS):
            found = Round.of(kind)
            print(
                f"{kind}: {found.without:.2f} ms; beside it {found.beside:.2f} ms; ratio {found.ratio:.2f}", flush=True
            )
