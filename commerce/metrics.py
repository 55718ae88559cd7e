"""One reading of how the engine is doing: what /metrics, the dashboard and the alarms tell of.

Six statements, which cost the same however long the log is and however many subscriptions there are.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from commerce.models import Alarm, AuditRun, Heartbeat
from webhooks import standing
from webhooks.models import Event
from webhooks.standing import Standing
from webhooks.tallies import HOUR, Outcomes

EVENTS_COUNTED_TO = 100_000


@dataclass(frozen=True)
class Reading:
    at: datetime
    standings: list[Standing]
    # None: no cluster has ever run.
    heartbeat_at: datetime | None
    # The latest that has come to an end.
    audit: AuditRun | None
    alarms: list[Alarm]
    events_last_hour: int

    @property
    def silence(self) -> timedelta | None:
        return self.at - self.heartbeat_at if self.heartbeat_at else None

    @property
    def backlog(self) -> int:
        return sum(each.backlog for each in self.standings)

    @property
    def last_day(self) -> Outcomes:
        return sum((each.outcomes.day for each in self.standings), Outcomes())

    @property
    def oldest_due(self) -> Standing | None:
        """The subscription whose turn has been longest in coming."""
        behind = [each for each in self.standings if each.due_since and each.is_at_work]
        return max(behind, key=lambda each: each.lag(now=self.at), default=None)

    @property
    def lag(self) -> timedelta:
        return standing.longest_left_alone(self.standings, now=self.at)


def read(*, now: datetime) -> Reading:
    return Reading(
        at=now,
        standings=standing.read(now=now),
        heartbeat_at=last_heartbeat(),
        audit=AuditRun.objects.filter(finished_at__isnull=False).order_by("-day").first(),
        alarms=list(Alarm.objects.filter(ended_at=None).select_related("subscription").order_by("since", "pk")),
        events_last_hour=Event.objects.filter(created_at__gt=now - HOUR).order_by()[:EVENTS_COUNTED_TO].count(),
    )


def last_heartbeat() -> datetime | None:
    return Heartbeat.objects.filter(pk=Heartbeat.THE_ONE).values_list("at", flat=True).first()
