"""Attempts, counted: how many of each subscription ended how, and how long events took to arrive.

The log has millions of rows; what is asked of it every few seconds is asked of these. A timer counts what is new, off
the hot path, so the tallies are some seconds behind.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Self

from django.db import connection, transaction
from django.db.models import Case, Count, DurationField, ExpressionWrapper, F, Max, Q, Sum, Value, When
from django.db.models.functions import TruncHour, TruncMinute
from django.utils import timezone

from webhooks.models import Attempt, Delivery, Tally, TallyMark
from webhooks.timers import every
from webhooks.transport import UNDELIVERABLE

TICK_S = 10
# As many attempts at most are counted at once; after a long pause it takes some ticks to catch up.
BATCH = 100_000
SPAN_MINUTES = 5
# The latest day, and as far as its first hour reaches back.
TOLD_APART_FOR = timedelta(hours=26)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)

# Seconds. The first ones stand around what is promised, the last ones around what is alarming.
BOUNDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 3600)
BEYOND = len(BOUNDS)
NOT_TIMED = -1

# Count


@every(TICK_S)
def tick() -> None:
    count(now=timezone.now())


@every(HOUR.total_seconds())
def fold() -> None:
    fold_up(before=timezone.now() - TOLD_APART_FOR)


def count(*, now: datetime) -> None:
    """Count the attempts that were there a tick ago. One statement while there is nothing new.

    Keys are given before their transactions commit: a lower one may come to light after a higher one, though not a
    tick later.
    """
    newest = Attempt.objects.aggregate(newest=Max("pk"))["newest"] or 0
    start = {"seen": newest, "looked_at": now}
    mark, is_new = TallyMark.objects.get_or_create(pk=TallyMark.THE_ONE, defaults=start)
    if is_new or mark.counted == newest:
        return
    with transaction.atomic():
        if not _is_our_turn(now):
            return
        mark.refresh_from_db()
        until = min(mark.seen, mark.counted + BATCH)
        _add(_outcomes(mark.counted, until))
        mark.counted, mark.seen = until, max(mark.seen, newest)
        mark.save(update_fields=("counted", "seen"))


def _is_our_turn(now: datetime) -> bool:
    """Whether no other cluster has counted just now. The row stays locked until the transaction ends."""
    rested = TallyMark.objects.filter(looked_at__lte=now - timedelta(seconds=TICK_S) / 2)
    return rested.update(looked_at=now) == 1


def _outcomes(after: int, until: int) -> Iterable[dict[str, Any]]:
    """Timed are live events that arrived at the first attempt: not what was put back by hand or after an outage."""
    timed = Q(number=1, reason="", delivery__lane=Delivery.Lane.LIVE, delivery__resent_by="")
    took = ExpressionWrapper(F("delivery__delivered_at") - F("delivery__created_at"), output_field=DurationField())
    within = [When(took__lte=timedelta(seconds=bound), then=Value(place)) for place, bound in enumerate(BOUNDS)]
    return (
        Attempt.objects.filter(pk__gt=after, pk__lte=until)
        .annotate(took=Case(When(timed, then=took)), minute=TruncMinute("started_at"))
        .annotate(latency=Case(*within, When(took=None, then=Value(NOT_TIMED)), default=Value(BEYOND)))
        .values("delivery__subscription", "minute", "reason", "latency")
        .annotate(n=Count("pk"), total=Sum("took"))
        .order_by()
    )


_ADD = """
    INSERT INTO webhooks_tally (subscription_id, at, reason, latency, count, milliseconds) {rows}
    ON CONFLICT (subscription_id, at, reason, latency) DO UPDATE
    SET count = webhooks_tally.count + excluded.count,
        milliseconds = webhooks_tally.milliseconds + excluded.milliseconds
"""


def _add(outcomes: Iterable[dict[str, Any]]) -> None:
    counts: Counter[tuple[Any, ...]] = Counter()
    milliseconds: Counter[tuple[Any, ...]] = Counter()
    for outcome in outcomes:
        minute = outcome["minute"]
        at = minute.replace(minute=minute.minute - minute.minute % SPAN_MINUTES)
        place = (outcome["delivery__subscription"], _adapt(at), outcome["reason"], outcome["latency"])
        counts[place] += outcome["n"]
        milliseconds[place] += round((outcome["total"] or timedelta(0)) / timedelta(milliseconds=1))
    if counts:
        rows = ", ".join(["(%s, %s, %s, %s, %s, %s)"] * len(counts))
        values = [value for place, n in counts.items() for value in (*place, n, max(milliseconds[place], 0))]
        with connection.cursor() as cursor:
            cursor.execute(_ADD.format(rows=f"VALUES {rows}"), values)


_FOLDED = """
    SELECT subscription_id, %s, reason, latency, sum(count), sum(milliseconds) FROM webhooks_tally
    WHERE at > %s AND at < %s GROUP BY subscription_id, reason, latency
"""


@transaction.atomic
def fold_up(*, before: datetime) -> None:
    """Of what is older, only the sums stay."""
    list(TallyMark.objects.select_for_update())
    long_ago = _adapt(Tally.LONG_AGO)
    with connection.cursor() as cursor:
        cursor.execute(_ADD.format(rows=_FOLDED), [long_ago, long_ago, _adapt(before)])
    Tally.objects.filter(at__gt=Tally.LONG_AGO, at__lt=before).delete()


def _adapt(moment: datetime) -> Any:
    return connection.ops.adapt_datetimefield_value(moment)


# Read


@dataclass(slots=True)
class Outcomes:
    """What attempts ended with (an empty reason: they succeeded), and how long the timed ones took."""

    by_reason: Counter[str] = field(default_factory=Counter)
    by_latency: Counter[int] = field(default_factory=Counter)
    milliseconds: int = 0

    def add(self, reason: str, latency: int, count: int, milliseconds: int = 0) -> None:
        if count:
            self.by_reason[reason] += count
            self.milliseconds += milliseconds
            if latency != NOT_TIMED:
                self.by_latency[latency] += count

    def __add__(self, other: "Outcomes") -> Self:
        return type(self)(
            self.by_reason + other.by_reason,
            self.by_latency + other.by_latency,
            self.milliseconds + other.milliseconds,
        )

    @property
    def attempts(self) -> int:
        """Those that tell how a receiver is doing: what is undeliverable stands in `by_reason` alone."""
        return self.successes + self.failures

    @property
    def successes(self) -> int:
        return self.by_reason[""]

    @property
    def failures(self) -> int:
        return sum(count for reason, count in self.by_reason.items() if reason and reason not in UNDELIVERABLE)

    @property
    def success_rate(self) -> float | None:
        """From 0 to 1; None without an attempt."""
        return self.successes / self.attempts if self.attempts else None

    @property
    def failure_rate(self) -> float:
        return self.failures / self.attempts if self.attempts else 0.0

    def percentile(self, share: float) -> float | None:
        """Seconds within which that share of the timed ones arrived, spread evenly between two bounds."""
        wanted, below = share * self.by_latency.total(), 0
        for place in sorted(self.by_latency):
            count = self.by_latency[place]
            if below + count >= wanted:
                if place == BEYOND:
                    return float(BOUNDS[-1])
                low = BOUNDS[place - 1] if place else 0.0
                return low + (BOUNDS[place] - low) * (wanted - below) / count
            below += count
        return None


@dataclass(frozen=True, slots=True)
class Windows:
    """Of one subscription: the last hour, the last day, and ever."""

    hour: Outcomes = field(default_factory=Outcomes)
    day: Outcomes = field(default_factory=Outcomes)
    ever: Outcomes = field(default_factory=Outcomes)


def windows(*, now: datetime, **only: Any) -> dict[int, Windows]:
    """By the subscription's key; `only` filters the tallies. One statement."""
    sums = {
        "within_hour": Sum("count", filter=Q(at__gt=now - HOUR), default=0),
        "within_day": Sum("count", filter=Q(at__gt=now - DAY), default=0),
        "in_all": Sum("count"),
        "total": Sum("milliseconds"),
    }
    found: dict[int, Windows] = {}
    for row in Tally.objects.filter(**only).values("subscription", "reason", "latency").annotate(**sums).order_by():
        told = found.setdefault(row["subscription"], Windows())
        outcome = row["reason"], row["latency"]
        told.hour.add(*outcome, row["within_hour"])
        told.day.add(*outcome, row["within_day"])
        told.ever.add(*outcome, row["in_all"], row["total"])
    return found


def by_hour(*, now: datetime) -> list[tuple[datetime, Outcomes]]:
    """The last 24 hours of the clock, the oldest first, the one that has just begun among them. One statement."""
    this = now.replace(minute=0, second=0, microsecond=0)
    hours = {this - HOUR * ago: Outcomes() for ago in reversed(range(24))}
    recent = Tally.objects.filter(at__gte=this - HOUR * 23).annotate(hour=TruncHour("at")).order_by()
    for hour, reason, count in recent.values_list("hour", "reason").annotate(n=Sum("count")):
        if hour in hours:
            hours[hour].add(reason, NOT_TIMED, count)
    return list(hours.items())
