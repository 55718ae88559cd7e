"""From what was kept to what it does: each message in one transaction with its effect, so that both stand or neither.

A worker that is killed leaves its message due, and the clock finds it. No lease is needed: nothing speaks HTTP here.
"""

import logging
import time
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.core.exceptions import ObjectDoesNotExist
from django.db import transaction
from django.db.models import F, QuerySet
from django.utils import timezone
from rest_framework.exceptions import ValidationError

from commerce.inbound import paths
from commerce.inbound.inbox import BELL
from commerce.inbound.schemes import NotJson, Scheme, read_object
from commerce.models import InboundMessage
from commerce.problems import in_words
from webhooks import broker, inbound
from webhooks.errors import DomainError
from webhooks.inbound import Effect, Ignored, Message, Unmatched, Unprocessable

logger = logging.getLogger(__name__)

State = InboundMessage.State

MINUTE, HOUR = 60, 3600
# Seconds after each failure; then it is parked.
LADDER: Sequence[int] = (5, 30, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 6 * HOUR)
# A parcel may be reported on long before its number is attached: at the last step's pace, for so long.
WAITS_FOR = timedelta(days=30)
# A run may have the only worker, which retries wait for; it rings for the next one, and they take turns.
RUN_S = 0.2
BATCH = 100
TICK_S = 2
KEEP = {State.PROCESSED: timedelta(days=30), State.IGNORED: timedelta(days=30), State.PARKED: timedelta(days=90)}
FORGOTTEN_AT_ONCE = 1_000


def work_off() -> None:
    """Process what is due, oldest first, until nothing is that another worker is not at, or RUN_S are over."""
    ends = time.monotonic() + RUN_S
    goes_on = True
    while goes_on:
        goes_on = False
        for pk in due(timezone.now()).order_by("next_attempt_at", "id").values_list("pk", flat=True)[:BATCH]:
            goes_on = _process_safely(pk) or goes_on
            if time.monotonic() > ends:
                broker.ring(BELL)
                return


def _process_safely(pk: int) -> bool:
    """One message that cannot even be written down, which is a bug, holds up no other."""
    try:
        return process(pk, now=timezone.now())
    except Exception:
        logger.exception("Processing message %d failed", pk)
        return False


def due(now: datetime) -> QuerySet[InboundMessage]:
    return InboundMessage.objects.filter(state__in=[State.RECEIVED, State.WAITING], next_attempt_at__lte=now)


@transaction.atomic
def process(pk: int, *, now: datetime) -> bool:
    """One attempt; False if it is not due any more, or another worker is at it. SQLite has one writer anyhow."""
    locked = due(now).select_for_update(skip_locked=True, of=("self",))
    message = locked.select_related("source").filter(pk=pk).first()
    if message is None:
        return False
    message.attempt_count += 1
    message.awaits = ""
    try:
        with transaction.atomic():
            effect = _apply(message, now=now)
    except Exception as error:
        _fail(message, error, now=now)
    else:
        _succeed(message, effect, now=now)
    return True


def _apply(message: InboundMessage, *, now: datetime) -> Effect:
    source = message.source
    body = read_object(bytes(message.body))
    dialect = source.scheme
    if source.scheme == Scheme.HMAC:
        body, dialect = paths.translate(body, paths=source.paths, words=source.words), Scheme.STANDARD
    adapt = inbound.adapter_of(dialect)
    return adapt(Message(source=source.name, body=body, warehouse=source.warehouse), now)


def _succeed(message: InboundMessage, effect: Effect, *, now: datetime) -> None:
    message.subject = effect.subject
    if effect.is_refusal:
        _settle(message, State.PARKED, reason=effect.words, now=now)
    else:
        message.effect = effect.words[:300]
        _settle(message, State.PROCESSED, reason="", now=now)


def _fail(message: InboundMessage, error: Exception, *, now: datetime) -> None:
    """What it means that an adapter raised this."""
    if isinstance(error, Ignored):
        _settle(message, State.IGNORED, reason=str(error), now=now)
    elif isinstance(error, (NotJson, Unprocessable)):
        _settle(message, State.PARKED, reason=str(error), now=now)
    elif isinstance(error, ValidationError):
        _settle(message, State.PARKED, reason=f"The message does not fit: {in_words(error)}", now=now)
    elif isinstance(error, (DomainError, ObjectDoesNotExist)):
        message.awaits = error.awaits if isinstance(error, Unmatched) else ""
        _try_again(message, reason=str(error), now=now)
    else:
        # A bug, or a database that will recover: nothing of it may be lost.
        logger.error("Processing %s failed", message.public_id, exc_info=error)
        _try_again(message, reason=f"Something went wrong on our side ({type(error).__name__}). It is logged.", now=now)


def _settle(message: InboundMessage, state: InboundMessage.State, *, reason: str, now: datetime) -> None:
    message.state, message.reason, message.next_attempt_at = state, _storable(reason), None
    message.processed_at = now
    message.save()


def _try_again(message: InboundMessage, *, reason: str, now: datetime) -> None:
    """By the ladder; what waits for something stays at its last step until WAITS_FOR is over."""
    failures = message.attempt_count - message.attempts_before
    waits = bool(message.awaits) and now - message.created_at < WAITS_FOR
    if failures > len(LADDER) and not waits:
        _settle(message, State.PARKED, reason=reason, now=now)
        return
    gap = LADDER[min(failures, len(LADDER)) - 1]
    message.state = State.WAITING if message.awaits else State.RECEIVED
    message.reason, message.next_attempt_at = _storable(reason), now + timedelta(seconds=gap)
    message.save()


def _storable(reason: str) -> str:
    """It may quote the message, and PostgreSQL stores no NUL."""
    return reason.replace("\x00", "�")[:500]


def match(key: str, **_: object) -> None:
    """What messages wait for is there."""
    waiting = InboundMessage.objects.filter(state=State.WAITING, awaits=key)
    if waiting.update(next_attempt_at=timezone.now()):
        broker.ring(BELL)


inbound.on_arrival(match)


class AlreadyProcessed(DomainError):
    """Again it would do nothing, or too much."""

    code = "already_processed"


@transaction.atomic
def reprocess(message: InboundMessage, *, by: str, now: datetime) -> None:
    """Put it on the queue again, for a fresh run of the ladder. What it has done already is not done twice.

    Raises AlreadyProcessed of one that was processed.
    """
    again = InboundMessage.objects.filter(pk=message.pk).exclude(state=State.PROCESSED)
    changes = {"state": State.RECEIVED, "next_attempt_at": now, "awaits": "", "processed_at": None}
    if not again.update(**changes, attempts_before=F("attempt_count"), reprocessed_by=by):
        raise AlreadyProcessed("This message has been processed already: it would have no further effect.")
    broker.ring(BELL)


def forget(*, now: datetime) -> None:
    """What ended long enough ago, in batches. A copy that comes after that is a new message: the domain knows it."""
    for state, kept in KEEP.items():
        old = InboundMessage.objects.filter(state=state, created_at__lt=now - kept).order_by("pk")
        while batch := list(old.values_list("pk", flat=True)[:FORGOTTEN_AT_ONCE]):
            InboundMessage.objects.filter(pk__in=batch).delete()
