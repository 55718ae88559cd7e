"""Who sends what next: deliveries are taken under a lease, which runs out by itself when its owner is gone."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import connection, transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet

from webhooks import compaction, trust
from webhooks.models import SECOND, Attempt, Delivery, Subscription
from webhooks.transport import Reason

# Longer than the worst attempt by a margin, and short enough to be recovered within a minute.
LEASE = timedelta(seconds=45)
SUBSCRIPTIONS_PER_CLAIM = 50
# How far a claim looks into one subscription's due deliveries for some whose subject is free.
LOOK_AHEAD = 200
# Where these wait for something earlier: how many subjects it asks for their first. The next claim goes on from there.
SUBJECTS_PER_CLAIM = 500
_CLAIM_LOCK = 0x57EB

State = Delivery.State


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery this worker holds the lease of, with all that sending it needs."""

    id: int
    attempt_count: int
    attempts_before: int
    redelivery: bool
    event_id: str
    body: str
    subscription: Subscription

    @property
    def was_parked(self) -> bool:
        """Its schedule had run out: it is being sent to see whether the subscription is back."""
        return self.attempt_count - self.attempts_before >= self.subscription.max_attempts


def claim(limit: int, *, owner: str, now: datetime, threads: int | None = None) -> list[Claimed]:
    """Take up to `limit` due deliveries; three statements, and one for each subscription with a rate.

    One more for each subscription of which more than LOOK_AHEAD are due, and wait for others; and one to take those.

    Live ones first, then the longest due. Never more of a subscription than its `in_flight_limit` and its rate, never
    two of one subject to one subscription, and the earlier of two before the later. `threads` is how many the owner
    has, of which `limit` are free: those that may hang do not get them all.
    """
    with transaction.atomic():
        _one_claim_at_a_time()
        ready = _ready(limit, owner=owner, now=now, threads=threads)
        claimed = _take(*_best_of(ready, limit, now), ready, owner=owner, now=now) if ready else []
        claimed += _past_what_waits(ready, claimed, limit=limit, owner=owner, now=now)
        _use_up_rates(claimed, now=now)
    return claimed


def claim_one(delivery: Delivery, *, owner: str, now: datetime) -> list[Claimed]:
    """Take this delivery if it is pending, whatever else its subscription has under way."""
    return _take("%s", [delivery.pk], [delivery.subscription], owner=owner, now=now)


def anything_due(now: datetime) -> bool:
    return rested(now).filter(Exists(due(now).filter(subscription=OuterRef("pk")))).exists()


def rested(now: datetime) -> QuerySet[Subscription]:
    """The active ones whose circuit is closed, or open and due for a probe."""
    awake = Q(resting_until=None) | Q(resting_until__lte=now)
    return Subscription.objects.filter(awake, state=Subscription.State.ACTIVE)


def due(now: datetime) -> QuerySet[Delivery]:
    return Delivery.objects.filter(state=State.PENDING, lane__in=Delivery.Lane.values, next_attempt_at__lte=now)


def _one_claim_at_a_time() -> None:
    """Two claims at once could each take one of two events of a subject. SQLite has one writer anyhow.

    The commit waits for the disk: were a lease lost in a crash of the database, nothing would tell of its request.
    """
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_CLAIM_LOCK])


_READY = """
    SELECT s.*, (
        SELECT count(*) FROM webhooks_delivery f WHERE f.subscription_id = s.id AND f.state = 'sending'
    ) AS sending, (
        SELECT count(*) FROM webhooks_delivery f
        WHERE f.subscription_id = s.id AND f.state = 'sending' AND f.lease_owner = %s
    ) AS mine, EXISTS (
        SELECT 1 FROM webhooks_delivery f
        WHERE f.subscription_id = s.id AND f.state = 'sending' AND f.lease_until <= %s AND f.lease_owner = %s
    ) AS hangs, (
        SELECT min(r.since) FROM webhooks_replay r
        WHERE r.subscription_id = s.id AND r.kind = 'skipped' AND r.finished_at IS NULL
    ) AS returning_since, COALESCE({beyond}) AS beyond
    FROM webhooks_subscription s
    WHERE s.state = 'active' AND (s.resting_until IS NULL OR s.resting_until <= %s) AND EXISTS (
        SELECT 1 FROM webhooks_delivery d
        WHERE d.subscription_id = s.id AND d.state = 'pending' AND d.lane IN (0, 1) AND d.next_attempt_at <= %s
    )
"""


# By lane and in its order, so that the planner sees no way but the index of what is due.
_BEYOND = """(
    SELECT b.id FROM webhooks_delivery b
    WHERE b.subscription_id = s.id AND b.state = 'pending' AND b.lane = {lane} AND b.next_attempt_at <= %s
    ORDER BY b.next_attempt_at, b.id LIMIT 1 OFFSET %s
)"""
_READY = _READY.format(beyond=", ".join(_BEYOND.format(lane=lane) for lane in Delivery.Lane.values))


def _ready(limit: int, *, owner: str, now: datetime, threads: int | None) -> list[Any]:
    """Active subscriptions with something due and room for it, in no order: none is always served first.

    `sending` is how many are under way, `mine` how many of those are the owner's, `beyond` one that is due and that
    LOOK_AHEAD does not reach.
    """
    moment, began_long_ago = _adapt(now), _adapt(now - trust.SLOW + LEASE)
    values = [owner, began_long_ago, owner, *[moment, LOOK_AHEAD] * len(Delivery.Lane), moment, moment]
    subscriptions = list(Subscription.objects.raw(_READY, values))
    random.shuffle(subscriptions)
    if threads is not None:
        trust.share_out(subscriptions, free=limit, threads=threads, now=now)
    ready = [subscription for subscription in subscriptions if _room(subscription, now) > 0]
    return [each for each in ready[:SUBSCRIPTIONS_PER_CLAIM] if not each.compact or _is_settled(each, now)]


def _is_settled(subscription: Subscription, now: datetime) -> bool:
    return compaction.settle(subscription, look_ahead=LOOK_AHEAD, now=now)


def _room(subscription: Any, now: datetime) -> int:
    room: int = subscription.in_flight_limit - subscription.sending
    room = min(room, getattr(subscription, "share", room))
    rate = subscription.max_per_second
    return room if rate is None else min(room, subscription.allowance(rate, now=now))


def _use_up_rates(claimed: Sequence[Claimed], *, now: datetime) -> None:
    """Claims take turns, so that no other has read the same allowance."""
    for subscription, begun in Counter(one.subscription for one in claimed).items():
        if (rate := subscription.max_per_second) is not None:
            paced_until = max(subscription.paced_until or now, now) + SECOND * begun / rate
            Subscription.objects.filter(pk=subscription.pk).update(paced_until=paced_until)


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


def _best_of(ready: Sequence[Any], limit: int, now: datetime) -> tuple[str, list[Any]]:
    """The query of the ids to take, and its values."""
    arms, values = [], []
    for subscription in ready:
        room = min(_room(subscription, now), limit)
        waits, returns = _order_of(subscription, now)
        for lane in Delivery.Lane.values:
            arms.append(_ARM.format(earlier_waits=waits.sql, and_none_returns=returns.sql))
            values += [room, subscription.pk, lane, _adapt(now), LOOK_AHEAD, subscription.pk]
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
    failed_by = _adapt(now if subscription.resting_until else subscription.recovered_at)
    return _Condition(_EARLIER_COMES_SOON, [_adapt(now), failed_by, failed_by]), returns


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


def _past_what_waits(
    ready: Sequence[Any], claimed: Sequence[Claimed], *, limit: int, owner: str, now: datetime
) -> list[Claimed]:
    """However many deliveries of some subjects wait, those of others go out."""
    begun = Counter(one.subscription.pk for one in claimed)
    chosen: list[int] = []
    for subscription in ready:
        room = min(_room(subscription, now) - begun[subscription.pk], limit - len(claimed) - len(chosen))
        if room > 0 and subscription.beyond is not None:
            chosen += _heads(subscription, room, now)
    places = ", ".join(["%s"] * len(chosen))
    return _take(places, chosen, ready, owner=owner, now=now) if chosen else []


def _heads(subscription: Any, room: int, now: datetime) -> list[int]:
    waits, returns = _order_of(subscription, now)
    after = _looked_up_to.pop(subscription.public_id, "")
    first = _NEXT.format(earlier_waits=waits.sql, subject="%s")
    following = _NEXT.format(
        earlier_waits=waits.sql, subject="(SELECT p.subject FROM webhooks_delivery p WHERE p.id = head.id)"
    )
    values = [subscription.pk, *waits.values, after, subscription.pk, *waits.values, SUBJECTS_PER_CLAIM]
    values += [_adapt(now), subscription.pk, *returns.values]
    with connection.cursor() as cursor:
        cursor.execute(_HEADS.format(first=first, next=following, and_none_returns=returns.sql), values)
        rows = cursor.fetchall()
    if len(rows) == SUBJECTS_PER_CLAIM:
        _looked_up_to[subscription.public_id] = rows[-1][3]
    return [pk for _, _, pk in sorted((lane, due, pk) for pk, lane, due, _, is_free in rows if is_free)[:room]]


_TAKE = """
    UPDATE webhooks_delivery
    SET state = 'sending', lease_owner = %s, lease_until = %s, claimed_at = %s, next_attempt_at = NULL
    WHERE state = 'pending' AND id IN ({chosen})
    RETURNING id, attempt_count, attempts_before, resent_by, subscription_id,
        (SELECT public_id FROM webhooks_event e WHERE e.id = event_id),
        (SELECT body FROM webhooks_event e WHERE e.id = event_id)
"""


def _take(
    chosen: str, values: list[Any], subscriptions: Sequence[Subscription], *, owner: str, now: datetime
) -> list[Claimed]:
    """Lease what the query `chosen` finds, of these subscriptions; the oldest first."""
    with connection.cursor() as cursor:
        cursor.execute(_TAKE.format(chosen=chosen), [owner, _adapt(now + LEASE), _adapt(now), *values])
        rows = sorted(cursor.fetchall())
    by_id = {subscription.pk: subscription for subscription in subscriptions}
    return [
        Claimed(pk, count, before, bool(resent_by), event_id, body, by_id[subscription_id])
        for pk, count, before, resent_by, subscription_id, event_id, body in rows
    ]


def _adapt(moment: datetime | None) -> Any:
    return connection.ops.adapt_datetimefield_value(moment)


def held_by(ids: Sequence[int], owner: str) -> QuerySet[Delivery]:
    return Delivery.objects.filter(pk__in=ids, lease_owner=owner, state=State.SENDING)


def released(state: Delivery.State, due: datetime | None) -> dict[str, Any]:
    """The columns every end of a lease writes."""
    return {
        "state": state,
        "next_attempt_at": due,
        "attempt_count": F("attempt_count") + 1,
        "lease_owner": "",
        "lease_until": None,
    }


def recover_leases(now: datetime) -> int:
    """Put back what a worker took and never finished, as a failed attempt with the reason `worker_lost`."""
    expired = Delivery.objects.filter(state=State.SENDING, lease_until__lte=now)
    if not expired.exists():
        return 0
    with transaction.atomic():
        lost = list(expired.select_for_update(of=("self",)).select_related("subscription"))
        Attempt.objects.bulk_create([_lost_attempt(delivery, now) for delivery in lost])
        for delivery in lost:
            Delivery.objects.filter(pk=delivery.pk).update(
                **released(State.PENDING, now),
                lane=Delivery.Lane.LATE,
                last_status_code=None,
                last_reason=Reason.WORKER_LOST,
            )
    return len(lost)


def _lost_attempt(delivery: Delivery, now: datetime) -> Attempt:
    claimed_at = delivery.claimed_at or now
    return Attempt(
        delivery=delivery,
        number=delivery.attempt_count + 1,
        started_at=claimed_at,
        duration_ms=round((now - claimed_at).total_seconds() * 1000),
        reason=Reason.WORKER_LOST,
        detail="The worker ended before it could write down the answer: the receiver may have had this one.",
        url=delivery.subscription.url,
        worker=delivery.lease_owner,
    )
