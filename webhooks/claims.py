"""Who sends what next: deliveries are taken under a lease, which runs out by itself when its owner is gone."""

import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import F, Q, QuerySet

from webhooks import compaction, trust, turns
from webhooks.cursors import execute, here
from webhooks.models import SECOND, Attempt, Delivery, Subscription
from webhooks.prepared import Reader
from webhooks.transport import Reason
from webhooks.turns import adapted

# Longer than the worst attempt by a margin, and short enough to be recovered within a minute.
LEASE = timedelta(seconds=45)
SUBSCRIPTIONS_PER_CLAIM = 50
# How often a delivery that is sent by hand looks whether its subject is free.
LOOK_AGAIN_S = 0.05
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

    One more for each subscription of which more than `turns.LOOK_AHEAD` are due, and wait; and one to take others.

    Live ones first, then the longest due. Never more of a subscription than its `in_flight_limit` and its rate, never
    two of one subject to one subscription, and the earlier of two before the later. `threads` is how many the owner
    has, of which `limit` are free: those that may hang do not get them all. Where the latest is to win, the older ones
    are superseded first, and then all is asked again.
    """
    with transaction.atomic():
        _one_claim_at_a_time()
        ready = _ready(limit, owner=owner, now=now, threads=threads)
        if not any(each.compact for each in ready):
            return _claim_of(ready, limit, owner=owner, now=now)
    # Not under the lock: it may take long, and all other claims would wait.
    compact = [each for each in ready if each.compact]
    settled = {each.pk for each in compact if compaction.settle(each, look_ahead=turns.LOOK_AHEAD, now=now)}
    with transaction.atomic():
        _one_claim_at_a_time()
        ready = _ready(limit, owner=owner, now=now, threads=threads)
        ready = [each for each in ready if not each.compact or each.pk in settled]
        return _claim_of(ready, limit, owner=owner, now=now)


def _claim_of(ready: Sequence[Any], limit: int, *, owner: str, now: datetime) -> list[Claimed]:
    if not ready:
        return []
    claimed = _take(*turns.best_of(ready, limit, now), ready, owner=owner, now=now)
    claimed += _past_what_waits(ready, claimed, limit=limit, owner=owner, now=now)
    _use_up_rates(claimed, now=now)
    return claimed


def claim_one(delivery: Delivery, *, owner: str, now: datetime) -> list[Claimed]:
    """Take this delivery if it is pending, whatever else its subscription has under way.

    Waits for what is being sent of its subject: as long as that may take, which is a lease.
    """
    began = time.monotonic()
    while True:
        waited = timedelta(seconds=time.monotonic() - began)
        with transaction.atomic():
            _one_claim_at_a_time()
            values = [delivery.pk, delivery.subscription_id]
            claimed = _take(_ALONE, values, [delivery.subscription], owner=owner, now=now + waited)
        is_waiting = Delivery.objects.filter(pk=delivery.pk, state=State.PENDING)
        if claimed or waited > LEASE or not is_waiting.exists():
            return claimed
        time.sleep(LOOK_AGAIN_S)


_ALONE = """
    SELECT id FROM webhooks_delivery WHERE id = %s AND subject NOT IN (
        SELECT subject FROM webhooks_delivery WHERE subscription_id = %s AND state = 'sending'
    )
"""


def anything_due(now: datetime) -> bool:
    moment = adapted(now)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT EXISTS (SELECT 1 {_WITH_SOMETHING_DUE})", [moment, *[moment, 0] * len(Delivery.Lane)])
        return bool(cursor.fetchone()[0])


def rested(now: datetime) -> QuerySet[Subscription]:
    """The active ones whose circuit is closed, or open and due for a probe."""
    awake = Q(resting_until=None) | Q(resting_until__lte=now)
    return Subscription.objects.filter(awake, state=Subscription.State.ACTIVE)


def due(now: datetime) -> QuerySet[Delivery]:
    return Delivery.objects.filter(state=State.PENDING, lane__in=Delivery.Lane.values, next_attempt_at__lte=now)


def _one_claim_at_a_time() -> None:
    """Two claims at once could each take one of two events of a subject. SQLite has one writer anyhow.

    The commit waits for the disk: were a lease lost in a crash of the database, nothing would tell of its request.
    PostgreSQL is to keep the plans of what follows, which leaves it one way: with a large backlog it believes that a
    plan for just these values would be better, and plans for ten times as long as it then runs.
    """
    if connection.vendor == "postgresql":
        execute(here(), _LOCK, [_CLAIM_LOCK])


_LOCK = "SELECT pg_advisory_xact_lock(%s), set_config('plan_cache_mode', 'force_generic_plan', true)"


# By lane and in its order, so that the planner sees no way but the index of what is due: an EXISTS it would join, and
# read all of a backlog for it.
_BEYOND = """(
    SELECT b.id FROM webhooks_delivery b
    WHERE b.subscription_id = s.id AND b.state = 'pending' AND b.lane = {lane} AND b.next_attempt_at <= %s
    ORDER BY b.next_attempt_at, b.id LIMIT 1 OFFSET %s
)"""
_BEYOND = "COALESCE(" + ", ".join(_BEYOND.format(lane=lane) for lane in Delivery.Lane.values) + ")"
_WITH_SOMETHING_DUE = f"""
    FROM webhooks_subscription s
    WHERE s.state = 'active' AND (s.resting_until IS NULL OR s.resting_until <= %s) AND {_BEYOND} IS NOT NULL
"""
_READY = """
    SELECT {columns}, (
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
    ) AS returning_since, {beyond} AS beyond
    {with_something_due}
"""
_subscriptions = Reader(Subscription, "sending", "mine", "hangs", "returning_since", "beyond")
_READY = _READY.format(columns=_subscriptions.columns_of("s"), beyond=_BEYOND, with_something_due=_WITH_SOMETHING_DUE)


def _ready(limit: int, *, owner: str, now: datetime, threads: int | None) -> list[Any]:
    """Active subscriptions with something due and room for it, in no order: none is always served first.

    `room` is for how many, `beyond` one that is due and beyond `turns.LOOK_AHEAD`.
    """
    moment, began_long_ago = adapted(now), adapted(now - trust.SLOW + LEASE)
    beyond, first = ([moment, place] * len(Delivery.Lane) for place in (turns.LOOK_AHEAD, 0))
    values = [owner, began_long_ago, owner, *beyond, moment, *first]
    subscriptions: list[Any] = _subscriptions(_READY, values)
    random.shuffle(subscriptions)
    if threads is not None:
        trust.share_out(subscriptions, free=limit, threads=threads, now=now)
    for subscription in subscriptions:
        subscription.room = _room(subscription, now)
    return [subscription for subscription in subscriptions if subscription.room > 0][:SUBSCRIPTIONS_PER_CLAIM]


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


def _past_what_waits(
    ready: Sequence[Any], claimed: Sequence[Claimed], *, limit: int, owner: str, now: datetime
) -> list[Claimed]:
    """However many deliveries of some subjects wait, those of others go out."""
    begun = Counter(one.subscription.pk for one in claimed)
    chosen: list[int] = []
    for subscription in ready:
        room = min(subscription.room - begun[subscription.pk], limit - len(claimed) - len(chosen))
        if room > 0 and subscription.beyond is not None:
            heads = turns.first_of_subjects(subscription, room, now)
            if subscription.compact:
                compaction.settle_subjects_of(subscription, heads)
            chosen += heads
    places = ", ".join(["%s"] * len(chosen))
    return _take(places, chosen, ready, owner=owner, now=now) if chosen else []


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
    values = [owner, adapted(now + LEASE), adapted(now), *values]
    rows = sorted(execute(here(), _TAKE.format(chosen=chosen), values).fetchall())
    by_id = {subscription.pk: subscription for subscription in subscriptions}
    return [
        Claimed(pk, count, before, bool(resent_by), event_id, body, by_id[subscription_id])
        for pk, count, before, resent_by, subscription_id, event_id, body in rows
    ]


def held_by(ids: Sequence[int], owner: str) -> QuerySet[Delivery]:
    return Delivery.objects.filter(pk__in=ids, lease_owner=owner, state=State.SENDING)


def released(state: Delivery.State, due: datetime | None) -> dict[str, Any]:
    """The columns every end of a lease writes, but for that of `arrived`."""
    return {
        "state": state,
        "next_attempt_at": due,
        "attempt_count": F("attempt_count") + 1,
        "lease_owner": "",
        "lease_until": None,
    }


_ARRIVED = """
    UPDATE webhooks_delivery
    SET state = 'delivered', next_attempt_at = NULL, attempt_count = attempt_count + 1, lease_owner = '',
        lease_until = NULL, delivered_at = %s, last_status_code = %s, last_reason = ''
    WHERE lease_owner = %s AND state = 'sending' AND id {among}
"""


def arrived(ids: Sequence[int], owner: str, *, status_code: int | None, now: datetime) -> int:
    """End the leases of what its receiver has taken; how many were ours. Written out: it is done for each delivery."""
    # PostgreSQL keeps the plan of a statement that is the same for any number of them.
    as_one = connection.vendor == "postgresql"
    among = "= ANY(%s)" if as_one else f"IN ({', '.join(['%s'] * len(ids))})"
    values = [adapted(now), status_code, owner, *([list(ids)] if as_one else ids)]
    return int(execute(here(), _ARRIVED.format(among=among), values).rowcount)


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
