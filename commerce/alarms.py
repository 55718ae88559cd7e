"""Alarms: a mail when a line is crossed, and one when that is over.

A row remembers each, so that however many processes look, it is told once. The queue clusters look every minute; that
no cluster is left to do so is noticed by whatever runs `manage.py up`. That the whole machine is gone is for those to
notice who ask /readyz and /metrics from elsewhere.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Event

from django.conf import settings
from django.core.mail import send_mass_mail
from django.db import DatabaseError, IntegrityError, close_old_connections, transaction
from django.template.loader import render_to_string
from django.utils import timezone

from commerce import metrics
from commerce.models import Alarm, AuditRun
from webhooks import notices, standing
from webhooks.models import Subscription
from webhooks.standing import COUNTED_TO, Standing
from webhooks.tallies import HOUR

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 60.0
# A line that was crossed a moment ago may be crossed again in a moment.
CALM_AFTER = timedelta(minutes=5)

# The lines
LONGEST_SILENCE = timedelta(minutes=2)
LONGEST_DUE = timedelta(minutes=5)
LONGEST_FAILING = timedelta(hours=1)
MOST_FAILURES, OF_AT_LEAST = 0.5, 20
SLOWEST_P99_S, TIMED_AT_LEAST = 60, 100
LONGEST_AUDIT = timedelta(hours=2)

Kind = Alarm.Kind


@dataclass(frozen=True)
class Crossing:
    """A line that is crossed now."""

    kind: Kind
    words: str
    subscription: Subscription | None = None

    @property
    def key(self) -> tuple[str, int | None]:
        return self.kind, self.subscription.pk if self.subscription else None


# Look


def check(*, now: datetime) -> None:
    """Every line. A queue cluster looks, so there is one: silence can only end here."""
    standings = standing.read(now=now)
    crossings = [crossing for each in standings for crossing in _crossed_by(each, now)]
    _settle([*crossings, *_endless_audit(now)], set(Kind), now=now)


def check_silence(*, now: datetime) -> None:
    """The line that nobody in a queue cluster can look after."""
    _settle(list(_silence(metrics.last_heartbeat(), now)), {Kind.SILENCE}, now=now)


def watch_for_silence(stop: Event) -> None:
    """Until `stop`, in a thread of its own: neither a database nor a mail server that hangs may delay anything else."""
    while not stop.wait(LOOK_EVERY_S):
        try:
            check_silence(now=timezone.now())
        except (DatabaseError, OSError):
            logger.exception("Whether a queue cluster runs could not be looked after.")
        close_old_connections()


def _silence(heartbeat_at: datetime | None, now: datetime) -> Iterator[Crossing]:
    """A cluster that has never run has not fallen silent."""
    if heartbeat_at is not None and now - heartbeat_at > LONGEST_SILENCE:
        yield Crossing(Kind.SILENCE, f"No queue cluster has been heard of since {heartbeat_at:%Y-%m-%d %H:%M:%S} UTC.")


def _endless_audit(now: datetime) -> Iterator[Crossing]:
    """The latest night's that was begun long ago. One that a later night made up for is over."""
    begun = AuditRun.objects.filter(finished_at=None, started_at__lte=now - LONGEST_AUDIT).order_by("-day").first()
    if begun and not AuditRun.objects.filter(day__gt=begun.day, finished_at__isnull=False).exists():
        yield Crossing(Kind.AUDIT, f"The audit of {begun} was begun at {begun.started_at:%H:%M} UTC and has not ended.")


def _crossed_by(each: Standing, now: datetime) -> Iterator[Crossing]:
    subscription, hour = each.subscription, each.outcomes.hour
    if subscription.state != Subscription.State.ACTIVE:
        return
    failing_since = subscription.failing_since
    if failing_since and now - failing_since > LONGEST_FAILING:
        words = f"It has not answered well since {failing_since:%Y-%m-%d %H:%M} UTC."
        yield Crossing(Kind.FAILING, words, subscription)
    if each.is_at_work and each.lag(now=now) > LONGEST_DUE:
        words = f"The oldest delivery that is due has been for more than {LONGEST_DUE.seconds // 60} minutes."
        yield Crossing(Kind.OVERDUE, words, subscription)
    if each.backlog >= COUNTED_TO:
        yield Crossing(Kind.BACKLOG, f"{COUNTED_TO:,} deliveries or more have not arrived yet.", subscription)
    if hour.attempts >= OF_AT_LEAST and hour.failure_rate > MOST_FAILURES:
        words = f"{hour.failures:,} of {hour.attempts:,} attempts within an hour failed."
        yield Crossing(Kind.FAILURES, words, subscription)
    if _is_slow(each, now):
        words = f"One event in a hundred takes more than {SLOWEST_P99_S} s to arrive."
        yield Crossing(Kind.SLOW, words, subscription)


def _is_slow(each: Standing, now: datetime) -> bool:
    """How fast one is told that answers: what waited for it to, or to be resumed, says nothing."""
    hour = each.outcomes.hour
    has_waited = hour.failures > 0 or now - each.subscription.state_changed_at < HOUR
    p99 = hour.percentile(0.99) if hour.by_latency.total() >= TIMED_AT_LEAST else None
    return p99 is not None and p99 > SLOWEST_P99_S and not has_waited


# The rows


def _settle(crossings: Iterable[Crossing], looked_after: set[Kind], *, now: datetime) -> None:
    crossed = {crossing.key: crossing for crossing in crossings}
    open_ones = {
        (alarm.kind, alarm.subscription_id): alarm
        for alarm in Alarm.objects.filter(ended_at=None, kind__in=looked_after)
    }
    for key, crossing in crossed.items():
        if key not in open_ones:
            _open(crossing, now)
    still = [alarm.pk for key, alarm in open_ones.items() if key in crossed]
    Alarm.objects.filter(pk__in=still).update(crossed_at=now)
    calm = Alarm.objects.filter(ended_at=None, kind__in=looked_after, crossed_at__lte=now - CALM_AFTER)
    calm.update(ended_at=now, is_told=False)
    _tell()


def _open(crossing: Crossing, now: datetime) -> None:
    """Unless another process was quicker."""
    try:
        with transaction.atomic():
            Alarm.objects.create(
                kind=crossing.kind,
                subscription=crossing.subscription,
                words=crossing.words,
                since=now,
                crossed_at=now,
            )
    except IntegrityError:
        return
    logger.warning("Alarm: %s", crossing.words, extra={"subscription": str(crossing.subscription or "")})


# The mails


def _tell() -> None:
    """Mail what has not been. If the mail server refuses, it is tried again at the next look."""
    untold = list(Alarm.objects.filter(is_told=False).select_related("subscription").order_by("since", "pk"))
    taken = [alarm for alarm in untold if Alarm.objects.filter(pk=alarm.pk, is_told=False).update(is_told=True)]
    try:
        send_mass_mail(list(_mails(taken)))
    except OSError:
        Alarm.objects.filter(pk__in=[alarm.pk for alarm in taken]).update(is_told=False)
        raise


def _mails(alarms: Iterable[Alarm]) -> Iterator[tuple[str, str, None, list[str]]]:
    """One to each person, of all that is theirs to know."""
    theirs: dict[str, list[Alarm]] = defaultdict(list)
    for alarm in alarms:
        for address in notices.to_be_told(alarm.subscription):
            theirs[address].append(alarm)
    for address, told in theirs.items():
        context = {
            "begun": [alarm for alarm in told if alarm.ended_at is None],
            "over": [alarm for alarm in told if alarm.ended_at is not None],
            "page": f"{settings.BASE_URL}/admin/",
        }
        text = render_to_string("commerce/alarms.txt", context)
        yield _subject(told), text, None, [address]


def _subject(alarms: list[Alarm]) -> str:
    begun = [alarm for alarm in alarms if alarm.ended_at is None]
    first, more = (begun or alarms)[0], len(alarms) - 1
    about = f"{first.get_kind_display()}: {first.subscription}" if first.subscription else first.get_kind_display()
    return f"{'Alarm' if begun else 'Over'}: {about}{f' (and {more} more)' if more else ''}"
