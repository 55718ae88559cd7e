"""What can be done with a subscription: one function per verb, used alike by the admin and the API."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from django.contrib.auth.models import User
from django.db import transaction

from webhooks import catalogue, conditions, guard, messages, notices, replay, retry, signing
from webhooks.conditions import Condition
from webhooks.drain import send_now
from webhooks.errors import DomainError
from webhooks.events import TEST, Ping
from webhooks.messages import Message
from webhooks.models import Delivery, Replay, Subscription
from webhooks.outbox import emit
from webhooks.signing import Scheme

Channel = Subscription.Channel
ROTATION_OVERLAP = timedelta(hours=24)
LOOK_UP_S = 5.0
MAX_URL = 2000
MAX_HEADERS = 20
MAX_HEADER_VALUE = 4096
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# Spaces around a value are no part of it: it would arrive without them.
_VALUE = re.compile(r"([\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?)?")
_UNPRINTABLE = re.compile(r"[\x00-\x20\x7f]")
_OURS = re.compile(
    r"webhook-.*|content-.*|host|user-agent|connection|transfer-encoding|accept-encoding|expect|te|trailer|upgrade",
    re.IGNORECASE,
)


class InvalidSubscription(DomainError):
    """A subscription was given something it cannot work with; `field` names it."""

    code = "invalid_subscription"

    def __init__(self, message: str, *, field: str) -> None:
        super().__init__(message, errors=[{"field": field, "code": "invalid", "detail": message}])
        self.field = field


class SubscriptionConflict(DomainError):
    """The verb does not fit the state the subscription is in."""

    code = "subscription_conflict"


@dataclass(frozen=True, slots=True)
class KeyInUse:
    """A secret that signs now, without its value. `expires_at` None: it stays until it is replaced."""

    signature: Scheme
    public_key: str | None
    created_at: datetime
    expires_at: datetime | None


def start_draft(owner: User) -> Subscription:
    return Subscription.objects.create(created_by=owner, state_changed_by=owner.get_username())


def start_messages(*, by: str, now: datetime) -> Subscription:
    """Messages to shoppers in the catalogue's words, paused until they are resumed; later ones wait for earlier."""
    subscription = Subscription(
        name="Messages to shoppers",
        channel=Channel.EMAIL,
        ordering=Subscription.Ordering.STRICT,
        state=Subscription.State.PAUSED,
        state_changed_by=by,
        created_at=now,
    )
    messages.adopt(subscription, messages.suggested())
    subscription.save()
    return subscription


def create(
    *,
    name: str,
    url: str,
    event_types: Sequence[str],
    headers: Mapping[str, str],
    by: str,
    now: datetime,
    signature: Scheme = Scheme.HMAC,
    **options: Any,
) -> Subscription:
    """An active subscription with a new secret. Raises InvalidSubscription."""
    subscription = Subscription(name=name, url=url, event_types=list(event_types), created_at=now, **options)
    subscription.headers = dict(headers)
    activate(subscription, by=by, now=now, signature=signature)
    return subscription


def activate(subscription: Subscription, *, by: str, now: datetime, signature: Scheme = Scheme.HMAC) -> None:
    """Check everything, and start telling it. Raises InvalidSubscription.

    One that has no secret yet is given one of the kind `signature`.
    """
    check(subscription)
    _set_going(subscription, by=by, now=now, signature=signature)


def _set_going(subscription: Subscription, *, by: str, now: datetime, signature: Scheme = Scheme.HMAC) -> None:
    first: dict[str, Any] = dict(Subscription.WELL)
    if subscription.channel == Channel.WEBHOOK and not subscription.secrets:
        subscription.secrets = first["secrets"] = [_new_secret(signature, now=now)]
    if subscription.state == Subscription.State.DRAFT:
        first["wants_since"] = now
    else:
        first |= {"recovered_at": now, "next_return_at": None}
    _change_state(subscription, Subscription.State.ACTIVE, by=by, now=now, **first)


def check(subscription: Subscription) -> None:
    if subscription.channel == Channel.EMAIL:
        check_messages(subscription.messages)
    else:
        check_url(subscription.url)
        check_event_types(subscription.event_types)
        check_conditions(subscription.conditions, subscription.event_types)
        check_headers(subscription.headers)
    check_retry_schedule(subscription.retry_schedule)


def check_url(url: str) -> None:
    """Refuse an address that can never be called. Resolves the name; the engine checks again at every attempt."""
    if len(url) > MAX_URL or _UNPRINTABLE.search(url):
        raise InvalidSubscription(f"Enter an address of at most {MAX_URL} characters, without spaces.", field="url")
    try:
        parts = urlsplit(url)
        port = parts.port if parts.port is not None else 443 if parts.scheme == "https" else 80
    except ValueError as error:
        raise InvalidSubscription(f"The address cannot be read: {error}.", field="url") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or not port:
        raise InvalidSubscription("Enter a full address that begins with https://.", field="url")
    if parts.username or parts.password:
        raise InvalidSubscription("Put credentials in a header, not in the address.", field="url")
    if parts.fragment:
        raise InvalidSubscription("Leave out the part after #: it is never sent.", field="url")
    try:
        guard.resolve(parts.hostname, port, encrypted=parts.scheme == "https", timeout_s=LOOK_UP_S)
    except (guard.BlockedAddress, guard.UnknownHost) as error:
        raise InvalidSubscription(str(error), field="url") from None


def check_event_types(event_types: Sequence[str]) -> None:
    if not event_types:
        raise InvalidSubscription("Choose at least one event.", field="event_types")
    if unknown := catalogue.unknown(event_types):
        raise InvalidSubscription(f"There is no event called {', '.join(unknown)}.", field="event_types")


def check_conditions(wished: Sequence[Condition], event_types: Sequence[str]) -> None:
    """Each must name a field that one of these events has, and compare it with what it can hold."""
    try:
        conditions.check(wished, event_types)
    except conditions.InvalidCondition as error:
        raise InvalidSubscription(str(error), field="conditions") from None


def check_messages(written: Sequence[Message]) -> None:
    """Each must have a subject and a text, and ask for nothing that its event does not have."""
    try:
        messages.check(written)
    except messages.InvalidMessage as error:
        raise InvalidSubscription(str(error), field="messages") from None


def check_headers(headers: Mapping[str, str]) -> None:
    """Token names (RFC 9110, 5.6.2), one line of printable ASCII each, and none of those the engine sets itself."""
    if len(headers) > MAX_HEADERS:
        raise InvalidSubscription(f"At most {MAX_HEADERS} headers can be sent.", field="headers")
    if len({name.lower() for name in headers}) < len(headers):
        raise InvalidSubscription(
            "A header can be given once only; upper and lower case are the same.", field="headers"
        )
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name):
            raise InvalidSubscription(
                f"{name!r} is not a header name: use letters, digits and hyphens.", field="headers"
            )
        if _OURS.fullmatch(name):
            raise InvalidSubscription(f"{name} is set by the engine and cannot be changed.", field="headers")
        if not isinstance(value, str) or len(value) > MAX_HEADER_VALUE or not _VALUE.fullmatch(value):
            raise InvalidSubscription(f"The value of {name} must be one line of plain ASCII text.", field="headers")


def check_retry_schedule(steps: Sequence[float] | None) -> None:
    if steps is None:
        return
    if not 1 <= len(steps) <= retry.MAX_STEPS:
        raise InvalidSubscription(f"Give between 1 and {retry.MAX_STEPS} waits, in seconds.", field="retry_schedule")
    if not all(type(step) in (int, float) and 1 <= step <= retry.MAX_STEP for step in steps):
        raise InvalidSubscription(f"Each wait must be 1 to {retry.MAX_STEP} seconds.", field="retry_schedule")


def pause(subscription: Subscription, *, by: str, now: datetime, reason: str = "") -> None:
    """Deliveries wait until it is resumed."""
    _expect(subscription, Subscription.State.ACTIVE)
    _change_state(subscription, Subscription.State.PAUSED, by=by, now=now, reason=reason)


def resume(subscription: Subscription, *, by: str, now: datetime, recover: bool = True) -> Replay | None:
    """What has waited goes out, and then what was skipped while it was disabled, each subject in order.

    The latter is the replay that is returned; `recover` False leaves it, and what happens from now on does not wait.
    """
    _expect(subscription, Subscription.State.PAUSED, Subscription.State.DISABLED)
    disabled_at = subscription.state_changed_at if subscription.state == Subscription.State.DISABLED else None
    check(subscription)
    with transaction.atomic():
        _set_going(subscription, by=by, now=now)
        return replay.catch_up(subscription, since=disabled_at, by=by, now=now) if recover and disabled_at else None


@transaction.atomic
def disable(subscription: Subscription, *, by: str, now: datetime, reason: str) -> None:
    """From now on its events are recorded as skipped; told by an event and by mail."""
    _expect(subscription, Subscription.State.ACTIVE, Subscription.State.PAUSED)
    _change_state(subscription, Subscription.State.DISABLED, by=by, now=now, reason=reason)
    notices.disabled(subscription, now=now)


def delete(subscription: Subscription, *, by: str, now: datetime) -> None:
    """Gone for everybody at once, its secrets first; `retention` takes its log away in batches, and the row last."""
    forgotten: dict[str, Any] = {"deleted_at": now, "secrets": [], "headers": {}}
    disabled = Subscription.State.DISABLED
    _change_state(subscription, disabled, by=by, now=now, reason="Deleted.", **forgotten)


@transaction.atomic
def rotate_secret(
    subscription: Subscription,
    *,
    now: datetime,
    overlap: timedelta = ROTATION_OVERLAP,
    signature: Scheme | None = None,
) -> str:
    """A new secret, returned; the old ones sign beside it until `overlap` has passed.

    `signature` None keeps the kind that it has; another kind takes over as the overlap ends.
    """
    _expect_webhook(subscription)
    locked = Subscription.objects.select_for_update().get(pk=subscription.pk)
    ends = (now + overlap).isoformat()
    old = [kept | {"expires_at": kept["expires_at"] or ends} for kept in _live(locked, now=now)]
    new = _new_secret(signature or signing.scheme_of(locked.secrets[0]["secret"]), now=now)
    locked.secrets = subscription.secrets = [new, *old]
    locked.save(update_fields=["secrets"])
    return str(new["secret"])


@transaction.atomic
def revoke_old_secrets(subscription: Subscription, *, now: datetime) -> None:
    """End the overlap at once: from now on only the newest secret signs. Raises SubscriptionConflict."""
    _expect_webhook(subscription)
    locked = Subscription.objects.select_for_update().get(pk=subscription.pk)
    newest, *old = _live(locked, now=now)
    if not old:
        raise SubscriptionConflict(f"{subscription} has one secret only: rotate it before you revoke the old one.")
    locked.secrets = subscription.secrets = [newest]
    locked.save(update_fields=["secrets"])


def keys_in_use(subscription: Subscription, *, now: datetime) -> list[KeyInUse]:
    """Newest first."""
    return [
        KeyInUse(
            signature=signing.scheme_of(kept["secret"]),
            public_key=signing.public_key(kept["secret"]),
            created_at=datetime.fromisoformat(kept["created_at"]),
            expires_at=datetime.fromisoformat(kept["expires_at"]) if kept["expires_at"] else None,
        )
        for kept in _live(subscription, now=now)
    ]


def send_test(subscription: Subscription, *, by: str, now: datetime) -> Delivery:
    """Send `webhook.test` at once, to this subscription only; the delivery's attempt tells what it answered."""
    _expect_webhook(subscription)
    _expect(subscription, Subscription.State.ACTIVE)
    fact = Ping(subscription.public_id, subscription.name, by, now)
    with transaction.atomic():
        event = emit(TEST, fact, only_to=subscription)
    delivery = event.deliveries.get()
    send_now(delivery)
    delivery.refresh_from_db()
    return delivery


def _new_secret(signature: Scheme, *, now: datetime) -> dict[str, Any]:
    return {"secret": signing.new_secret(signature), "created_at": now.isoformat(), "expires_at": None}


def _live(subscription: Subscription, *, now: datetime) -> list[dict[str, Any]]:
    alive = set(subscription.live_secrets(now=now))
    return [kept for kept in subscription.secrets if kept["secret"] in alive]


def _expect_webhook(subscription: Subscription) -> None:
    if subscription.channel != Channel.WEBHOOK:
        raise SubscriptionConflict(f"{subscription} goes out by e-mail: it has no callback URL and no secret.")


def _expect(subscription: Subscription, *states: Subscription.State) -> None:
    if subscription.state not in states:
        raise SubscriptionConflict(f"{subscription} is {subscription.state}, not {' or '.join(states)}.")


def _change_state(
    subscription: Subscription, state: Subscription.State, *, by: str, now: datetime, reason: str = "", **also: Any
) -> None:
    """Write the new state, and these other fields, unless somebody else has changed it meanwhile."""
    before = subscription.state
    changes = {"state": state, "state_reason": reason, "state_changed_at": now, "state_changed_by": by, **also}
    for name, value in changes.items():
        setattr(subscription, name, value)
    if subscription.pk is None:
        subscription.save()
    elif not Subscription.objects.filter(pk=subscription.pk, state=before).update(**changes):
        raise SubscriptionConflict(f"{subscription} was changed by somebody else just now. Look at it again.")
