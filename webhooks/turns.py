"""Whose turn it is: live ones first, then the longest due, and nothing that waits for an earlier one of its subject."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from django.db import connection

from webhooks.models import Delivery, Subscription

# How far a claim looks into one subscription's due deliveries for some whose subject is free.
LOOK_AHEAD = 200
# Where these wait for something earlier: how many subjects it asks for their first. The next claim goes on from there.
SUBJECTS_PER_CLAIM = 500


def adapted(moment: datetime | None) -> Any:
    """As the database takes it."""
    return connection.ops.adapt_datetimefield_value(moment)


# One lane of one subscription: its longest due deliveries whose subject is neither being sent nor waiting for an
# earlier event: one that is due too, or has failed or was skipped and is about to come back. Under strict ordering any
# that has not arrived.
_ARM = """
    SELECT * FROM (
        SELECT d.id, d.subscription_id, d.lane, d.next_attempt_at, CAST(%s AS integer) AS room FROM (
            SELECT id, subscription_id, subject, lane, next_attempt_at FROM webhooks_delivery
            WHERE state = 'pending' AND subscription_id = %s AND lane = %s AND next_attempt_at <= %s
            ORDER BY next_attempt_at, id LIMIT %s
        ) d WHERE subject NOT IN (
            SELECT subject FROM webhooks_delivery WHERE subscription_id = %s AND state = 'sending'
        ) AND NOT EXISTS (
            SELECT 1 FROM webhooks_delivery o
            WHERE o.subscription_id = d.subscription_id AND o.subject = d.subject AND o.id < d.id
              AND o.state IN ('pending', 'sending', 'parked') AND {earlier_waits}
            LIMIT 1 OFFSET 0
        ) {and_none_returns} ORDER BY d.next_attempt_at, d.id LIMIT %s
    ) arm
"""
_NONE_RETURNS = """
    AND NOT EXISTS (
        SELECT 1 FROM webhooks_delivery k
        WHERE k.subscription_id = d.subscription_id AND k.subject = d.subject AND k.id < d.id
          AND k.state = 'skipped' AND k.attempt_count = 0 AND k.created_at >= %s
        LIMIT 1 OFFSET 0
    )
"""
# A CASE, and OFFSET above, leave the planner one way, whatever it knows of the table: for each candidate one look into
# the index of what is open of a subject. By the backlog's times, or joined, each claim would read all of the backlog.
_EARLIER_COMES_SOON = """
    CASE o.state
        WHEN 'pending' THEN o.next_attempt_at <= %s OR o.claimed_at <= %s
        WHEN 'parked' THEN o.claimed_at <= %s
        ELSE FALSE
    END
"""

_BY_ROOM = """
    SELECT id FROM (
        SELECT id, room, lane, next_attempt_at,
               row_number() OVER (PARTITION BY subscription_id ORDER BY lane, next_attempt_at, id) AS place
        FROM ({arms}) candidates
    ) placed WHERE place <= room ORDER BY lane, next_attempt_at, id LIMIT %s
"""


def best_of(ready: Sequence[Any], limit: int, now: datetime) -> tuple[str, list[Any]]:
    """The query of the ids to take, and its values."""
    arms, values = [], []
    for subscription in ready:
        room = min(subscription.room, limit)
        waits, returns = _order_of(subscription, now)
        for lane in Delivery.Lane.values:
            arms.append(_ARM.format(earlier_waits=waits.sql, and_none_returns=returns.sql))
            values += [room, subscription.pk, lane, adapted(now), LOOK_AHEAD, subscription.pk]
            values += [*waits.values, *returns.values, room]
    return _BY_ROOM.format(arms=" UNION ALL ".join(arms)), [*values, limit]


class _Condition(NamedTuple):
    sql: str
    values: list[Any]


def _order_of(subscription: Any, now: datetime) -> tuple[_Condition, _Condition]:
    """Whether an earlier one `o` holds up what follows it, and that none which was skipped does."""
    since = subscription.returning_since
    returns = _Condition(_NONE_RETURNS, [since]) if since else _Condition("", [])
    if subscription.ordering == Subscription.Ordering.STRICT:
        return _Condition("TRUE", []), returns
    failed_by = adapted(now if subscription.resting_until else subscription.recovered_at)
    return _Condition(_EARLIER_COMES_SOON, [adapted(now), failed_by, failed_by]), returns


# Where the longest due of a subscription all wait: its subjects one after the other, by one look into the index of what
# is open for each, and of each the first that holds up the others. In the index's own order, and not by `id` alone,
# which the planner might take for a way to read all of the log.
_NEXT = """(
    SELECT o.id FROM webhooks_delivery o
    WHERE o.subscription_id = %s AND o.state IN ('pending', 'sending', 'parked') AND {earlier_waits}
      AND o.subject > {subject}
    ORDER BY o.subject, o.id LIMIT 1
)"""
_HEADS = """
    WITH RECURSIVE head (id, place) AS (
        SELECT {first}, 1
        UNION ALL
        SELECT {next}, head.place + 1 FROM head WHERE head.id IS NOT NULL AND head.place < %s
    )
    SELECT d.id, d.lane, d.next_attempt_at, d.subject, CASE WHEN d.state = 'pending' THEN
        d.lane IN (0, 1) AND d.next_attempt_at <= %s AND d.subject NOT IN (
            SELECT subject FROM webhooks_delivery WHERE subscription_id = %s AND state = 'sending'
        ) {and_none_returns} ELSE FALSE END
    FROM head JOIN webhooks_delivery d ON d.id = head.id ORDER BY head.place
"""
# By the public id of a subscription, the subject that its last look of this kind ended with.
_looked_up_to: dict[str, str] = {}


def first_of_subjects(subscription: Any, room: int, now: datetime) -> list[int]:
    waits, returns = _order_of(subscription, now)
    after = _looked_up_to.pop(subscription.public_id, "")
    first = _NEXT.format(earlier_waits=waits.sql, subject="%s")
    following = _NEXT.format(
        earlier_waits=waits.sql, subject="(SELECT p.subject FROM webhooks_delivery p WHERE p.id = head.id)"
    )
    values = [subscription.pk, *waits.values, after, subscription.pk, *waits.values, SUBJECTS_PER_CLAIM]
    values += [adapted(now), subscription.pk, *returns.values]
    with connection.cursor() as cursor:
        cursor.execute(_HEADS.format(first=first, next=following, and_none_returns=returns.sql), values)
        rows = cursor.fetchall()
    if len(rows) == SUBJECTS_PER_CLAIM:
        _looked_up_to[subscription.public_id] = rows[-1][3]
    return [pk for _, _, pk in sorted((lane, due, pk) for pk, lane, due, _, is_free in rows if is_free)[:room]]
