"""How each subscription stands at a moment: what it is owed, since when, and what came of its attempts.

Two statements for all of them, which cost the same however long the log is.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from django.db import connection

from webhooks import tallies
from webhooks.models import Delivery, Subscription
from webhooks.tallies import Windows

# Counted no further: a backlog of a million must not cost a million.
COUNTED_TO = 10_000

State = Subscription.State


class Health(StrEnum):
    """The worst that can be said of it, in this order."""

    DISABLED = "disabled"
    RESTING = "resting"
    FAILING = "failing"
    THROTTLED = "throttled"
    PAUSED = "paused"
    WELL = "well"


def health(subscription: Subscription) -> Health:
    conditions = {
        Health.DISABLED: subscription.state == State.DISABLED,
        Health.RESTING: subscription.resting_until is not None,
        Health.FAILING: subscription.consecutive_failures > 0,
        Health.THROTTLED: subscription.throttled,
        Health.PAUSED: subscription.state == State.PAUSED,
    }
    return next((kind for kind, holds in conditions.items() if holds), Health.WELL)


@dataclass(frozen=True, slots=True)
class Standing:
    """Each count goes up to COUNTED_TO."""

    subscription: Subscription
    # Could go out now.
    due: int
    # Are to go out later.
    waiting: int
    # Have run out of attempts.
    parked: int
    sending: int
    # When the oldest one that is due became so.
    due_since: datetime | None
    outcomes: Windows

    @property
    def backlog(self) -> int:
        return self.due + self.waiting + self.parked

    @property
    def open(self) -> int:
        """All that has not been delivered yet, under way or not."""
        return self.backlog + self.sending

    @property
    def health(self) -> Health:
        return health(self.subscription)

    @property
    def is_at_work(self) -> bool:
        """Whether what is due goes out at all: it is active, and its circuit closed."""
        return self.subscription.state == State.ACTIVE and self.subscription.resting_until is None

    @property
    def is_left_alone(self) -> bool:
        """It answers and has room, and nothing of its own making delays what is due: only we do."""
        subscription = self.subscription
        is_willing = subscription.consecutive_failures == 0 and subscription.max_per_second is None
        waits_its_turn = subscription.ordering == Subscription.Ordering.STRICT
        return self.is_at_work and is_willing and not waits_its_turn and self.sending < subscription.in_flight_limit

    def lag(self, *, now: datetime) -> timedelta:
        """How long the oldest that is due has been."""
        return now - self.due_since if self.due_since else timedelta(0)


_COUNT = """(
    SELECT count(*) FROM (SELECT 1 FROM webhooks_delivery d WHERE d.subscription_id = s.id AND {which} LIMIT %s) counted
)"""
_COUNTS = {
    "due": "d.state = 'pending' AND d.lane IN (0, 1) AND d.next_attempt_at <= %s",
    "waiting": "d.state = 'pending' AND d.lane IN (0, 1) AND d.next_attempt_at > %s",
    "parked": "d.state = 'parked'",
    "sending": "d.state = 'sending'",
}
_OLDEST = """(
    SELECT d.next_attempt_at FROM webhooks_delivery d
    WHERE d.subscription_id = s.id AND d.state = 'pending' AND d.lane = {lane} ORDER BY d.next_attempt_at LIMIT 1
)"""
_STANDINGS = f"""
    SELECT s.id, s.public_id, s.name, s.state, s.state_reason, s.state_changed_at, s.state_changed_by, s.ordering,
        s.max_in_flight, s.max_per_second, s.consecutive_failures, s.failing_since, s.resting_until, s.throttled,
        {", ".join(f"{_COUNT.format(which=which)} AS {name}" for name, which in _COUNTS.items())},
        {", ".join(f"{_OLDEST.format(lane=lane)} AS oldest_{lane}" for lane in Delivery.Lane.values)}
    FROM webhooks_subscription s WHERE s.deleted_at IS NULL AND {{which}} ORDER BY s.id
"""  # noqa: S608 (nothing in it comes from outside)


def read(*, now: datetime) -> list[Standing]:
    """Of all that are not drafts, the oldest first."""
    outcomes = tallies.windows(now=now)
    return [_standing(row, outcomes.get(row.pk, Windows()), now) for row in _rows(now)]


def read_one(subscription: Subscription, *, now: datetime) -> Standing:
    outcomes = tallies.windows(now=now, subscription=subscription).get(subscription.pk, Windows())
    (row,) = _rows(now, "s.id = %s", subscription.pk)
    return _standing(row, outcomes, now)


def read_queues(*, now: datetime) -> list[Standing]:
    """Like `read`, without the outcomes. One statement."""
    return [_standing(row, Windows(), now) for row in _rows(now)]


def longest_left_alone(standings: list[Standing], *, now: datetime) -> timedelta:
    """How long something has been due that nobody but us keeps from going out."""
    return max((each.lag(now=now) for each in standings if each.is_left_alone), default=timedelta(0))


def _rows(now: datetime, which: str = "s.state <> 'draft'", *values: object) -> Any:
    moment = connection.ops.adapt_datetimefield_value(now)
    counted = [value for sql in _COUNTS.values() for value in ([moment] * sql.count("%s") + [COUNTED_TO])]
    return Subscription.objects.raw(_STANDINGS.format(which=which), [*counted, *values])


def _standing(row: Any, outcomes: Windows, now: datetime) -> Standing:
    # What a raw statement computes comes in UTC, on SQLite without saying so.
    oldest = [at.replace(tzinfo=UTC) for at in (row.oldest_0, row.oldest_1) if at is not None]
    return Standing(
        subscription=row,
        due=row.due,
        waiting=row.waiting,
        parked=row.parked,
        sending=row.sending,
        due_since=min((at for at in oldest if at <= now), default=None),
        outcomes=outcomes,
    )
