"""Days of the engine's life in a few seconds: the clock is an argument, and goes straight to what comes next.

Each timer has its own period. What a run of it does follows from the rows, and from which of the moments they name have
passed. So it runs at its next turn when the rows are not as its last run found them, and else at its first turn after
such a moment: all turns between would do nothing. Only what a subscription's rate allows changes by the moment, and
none has a rate here.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import Model

from webhooks import claims, clock, delivery, health, parking, replay
from webhooks.claims import Claimed
from webhooks.delivery import Sent
from webhooks.models import Delivery, Replay, Subscription
from webhooks.transport import Outcome, Reason

AT_ONCE = timedelta(0)
# What the engine compares its clock with: a moment that is written down, or one so long after that.
NAMED: dict[type[Model], dict[str, tuple[timedelta, ...]]] = {
    Delivery: {"next_attempt_at": (AT_ONCE,), "lease_until": (AT_ONCE,), "claimed_at": (parking.SLOW_CLOCK,)},
    Subscription: {"resting_until": (AT_ONCE,), "next_return_at": (AT_ONCE,), "failing_since": (health.LASTING,)},
    Replay: {
        "until": (AT_ONCE,),
        "started_at": (replay.PATIENCE,),
        "advanced_at": (replay.PACE / 2, replay.PATIENCE),
    },
}

Rows = list[tuple[Any, ...]]


def claim(now: datetime, limit: int = 100) -> list[Claimed]:
    return claims.claim(limit, owner="w1", now=now)


def record(claimed: list[Claimed], now: datetime, *, works: Callable[[Claimed], bool] = lambda _: True) -> None:
    outcomes = [Outcome(now, status_code=200, reason=None if works(one) else Reason.CONNECT) for one in claimed]
    delivery.record([Sent(*pair) for pair in zip(claimed, outcomes, strict=True)], owner="w1", now=now)


def simulate(start: datetime, until: datetime, *, up: bool) -> list[str]:
    """The ids of the events that arrived, in order."""
    assert not Subscription.objects.exclude(max_per_second=None).exists()
    arrived: list[str] = []
    look, timers = _Timer(timedelta(seconds=clock.TICK_S), next_at=start), _timers(start)
    rows, named = _rows(), _named()
    while (moment := min(timer.next_at for timer in [look, *timers])) < until:
        for timer in timers:
            if timer.next_at == moment:
                timer.run(moment)
                timer.ran_at, timer.found = moment, rows
        arrived += _look(moment, up=up)
        if (left := _rows()) != rows:
            rows, named = left, _named()
        # After whatever rings, it sends all there is.
        look.ran_at, look.found = moment, rows
        for timer in [look, *timers]:
            timer.next_at = timer.next_turn(rows, [*named, until], now=moment, start=start)
    return arrived


@dataclass
class _Timer:
    period: timedelta
    run: Callable[[datetime], None] = lambda _: None
    next_at: datetime = field(kw_only=True)
    ran_at: datetime = field(init=False)
    # The rows as its last run found them.
    found: Rows = field(init=False)

    def next_turn(self, rows: Rows, named: Iterable[datetime], *, now: datetime, start: datetime) -> datetime:
        """Counted from the start, by its period. The last that is `named` is the end."""
        earliest = now + timedelta.resolution
        if rows == self.found:
            earliest = max(earliest, next(moment for moment in named if moment > self.ran_at))
        turns = -((start - earliest) // self.period)
        return start + turns * self.period


def _timers(start: datetime) -> list[_Timer]:
    """That of replays while there is one: none of them begins another."""
    probes = _Timer(timedelta(seconds=parking.TICK_S), lambda now: parking.work(now=now), next_at=start)
    is_replaying = Replay.objects.filter(finished_at=None).exists()
    return [probes, *[_Timer(replay.PACE, _advance, next_at=start)] * is_replaying]


def _advance(now: datetime) -> None:
    for running in Replay.objects.filter(finished_at=None):
        replay.advance_one(running.pk, now=now)


def _look(now: datetime, *, up: bool) -> list[str]:
    """Send what is due until nothing is: the ids of what arrived."""
    claims.recover_leases(now)
    arrived: list[str] = []
    while claimed := claim(now):
        record(claimed, now, works=lambda _: up)
        arrived += [one.event_id for one in claimed] if up else []
    return arrived


def _rows() -> Rows:
    """As the database has them: what they name is asked for only where they have changed."""
    found: Rows = []
    with connection.cursor() as cursor:
        for model in NAMED:
            cursor.execute(f"SELECT * FROM {model._meta.db_table} ORDER BY id")  # noqa: S608 (all ours)
            found += cursor.fetchall()
    return found


def _named() -> list[datetime]:
    return sorted(
        moment + wait
        for model, columns in NAMED.items()
        for moments in model._default_manager.values_list(*columns)
        for moment, waits in zip(moments, columns.values(), strict=True)
        if moment is not None
        for wait in waits
    )
