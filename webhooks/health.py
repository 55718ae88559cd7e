"""How a subscription is doing, as its answers tell: its circuit, its throttle, and when it is given up.

The circuit opens after FAILURES_TO_OPEN failures in a row. While it is open deliveries wait without spending attempts,
and one probe at a time goes out, after gaps that double; a success closes it (spec/delivery.md, 12 to 14).
"""

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from webhooks import notices, retry, trust
from webhooks.claims import Claimed
from webhooks.models import Subscription
from webhooks.transport import UNDELIVERABLE, Outcome, Reason

logger = logging.getLogger(__name__)

FAILURES_TO_OPEN = 10
FIRST_REST, LONGEST_REST = timedelta(seconds=5), timedelta(hours=1)
# Without one success for so long it is the subscription that fails, however few deliveries it has to fail with.
LASTING = timedelta(hours=1)
GIVE_UP_AFTER = timedelta(days=5)
SYSTEM = "system"

_AT_WORK = (Subscription.State.ACTIVE, Subscription.State.PAUSED)
_TOO_MUCH = frozenset({429, 503})
_COLUMNS = (*Subscription.WELL, "recovered_at", "next_return_at")

Answer = tuple[Claimed, Outcome]


def learn(answers: Iterable[Answer], *, now: datetime) -> None:
    """Keep how those are doing that answered, in the transaction that records the answers.

    No statement while all were well and answered well. Else one for all of them, and one for each that has changed.
    What is undeliverable is no fault of who was to take it.
    """
    by_subscription: dict[int, list[Answer]] = defaultdict(list)
    for claimed, outcome in answers:
        if outcome.reason in UNDELIVERABLE:
            continue
        if outcome.reason is None:
            trust.answered(claimed.subscription.public_id, at=now)
        by_subscription[claimed.subscription.pk].append((claimed, outcome))
    news = {pk: said for pk, said in by_subscription.items() if any(_is_news(*answer) for answer in said)}
    if news:
        # Not its key, which transactions that add deliveries hold.
        for subscription in Subscription.objects.select_for_update(no_key=True).filter(pk__in=news).order_by("pk"):
            _learn(subscription, news[subscription.pk], now=now)


def _is_news(claimed: Claimed, outcome: Outcome) -> bool:
    """A success of what was sent before the first failure tells nothing about the time after it."""
    return bool(outcome.reason or claimed.subscription.consecutive_failures or claimed.was_parked)


def _learn(subscription: Subscription, answers: Sequence[Answer], *, now: datetime) -> None:
    before = {name: getattr(subscription, name) for name in _COLUMNS}
    for claimed, outcome in answers:
        if outcome.reason is None:
            _succeeded(subscription, claimed, now=now)
        else:
            _failed(subscription, claimed, outcome, now=now)
    if before != {name: getattr(subscription, name) for name in _COLUMNS}:
        subscription.save(update_fields=_COLUMNS)
    if subscription.state in _AT_WORK and (reason := _gone(answers) or _hopeless(subscription, now)):
        _disable(subscription, reason, now=now)
    elif subscription.resting_until and not before["resting_until"]:
        notices.failing(subscription, now=now)
    elif before["resting_until"] and not subscription.resting_until:
        notices.recovered(subscription, failures=before["consecutive_failures"], since=before["failing_since"], now=now)


def _succeeded(subscription: Subscription, claimed: Claimed, *, now: datetime) -> None:
    if subscription.resting_until or claimed.was_parked or has_failed_for_long(subscription, now=now):
        subscription.recovered_at, subscription.next_return_at = now, None
    for name, value in Subscription.WELL.items():
        setattr(subscription, name, value)


def has_failed_for_long(subscription: Subscription, *, now: datetime) -> bool:
    return subscription.failing_since is not None and subscription.failing_since <= now - LASTING


def _failed(subscription: Subscription, claimed: Claimed, outcome: Outcome, *, now: datetime) -> None:
    subscription.failing_since = subscription.failing_since or now
    subscription.throttled = subscription.throttled or outcome.status_code in _TOO_MUCH
    # What was under way when the circuit opened tells no more than what opened it.
    if subscription.resting_until is None or claimed.subscription.resting_until is not None:
        subscription.consecutive_failures += 1
        if subscription.consecutive_failures >= FAILURES_TO_OPEN:
            subscription.recovered_at = subscription.next_return_at = None
            subscription.resting_until = now + _rest(subscription.consecutive_failures, outcome, now)


def _rest(failures: int, outcome: Outcome, now: datetime) -> timedelta:
    """Doubled with every probe that fails; longer still if the receiver asks for it."""
    rest = min(FIRST_REST * (1 << min(failures - FAILURES_TO_OPEN, 30)), LONGEST_REST)
    asked = retry.parse_retry_after(outcome.retry_after, now=now) if outcome.retry_after else None
    return max(rest, min(asked - now, retry.RETRY_AFTER_CAP)) if asked else rest


def _gone(answers: Iterable[Answer]) -> str:
    return "The receiver answered 410 Gone." if any(said.reason is Reason.GONE for _, said in answers) else ""


def _hopeless(subscription: Subscription, now: datetime) -> str:
    since = subscription.failing_since
    return f"No success since {since:%Y-%m-%d %H:%M} UTC." if since and now - since >= GIVE_UP_AFTER else ""


def _disable(subscription: Subscription, reason: str, *, now: datetime) -> None:
    subscription.state, subscription.state_reason = Subscription.State.DISABLED, reason
    subscription.state_changed_at, subscription.state_changed_by = now, SYSTEM
    subscription.save(update_fields=("state", "state_reason", "state_changed_at", "state_changed_by"))
    logger.warning("%s is disabled: %s", subscription, reason)
    notices.disabled(subscription, now=now)
