"""Telling that a subscription fails, has recovered or is disabled: as events, and by mail when it ends.

A mail is a row until the mail server has taken it: it is tried again, and a process that dies loses none.
"""

import logging
from collections.abc import Iterable
from datetime import datetime, timedelta

from django.conf import settings
from django.contrib.auth.models import User
from django.core.mail import send_mail
from django.db.models import Q
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone

from webhooks.events import DISABLED, FAILING, RECOVERED, Wellbeing
from webhooks.models import Notice, Subscription
from webhooks.outbox import emit
from webhooks.timers import every

logger = logging.getLogger(__name__)

TICK_S = 5
AGAIN_AFTER = timedelta(minutes=1)
GIVEN_UP_AFTER = timedelta(days=7)


def failing(subscription: Subscription, *, now: datetime) -> None:
    emit(FAILING, _wellbeing(subscription, now))


def recovered(subscription: Subscription, *, failures: int, since: datetime | None, now: datetime) -> None:
    """`failures` and `since` are what it has put behind it."""
    emit(RECOVERED, Wellbeing(subscription, failures, since, now))


def disabled(subscription: Subscription, *, now: datetime) -> None:
    """In the transaction that disables it: its own copy of the event is then skipped, like all that follow."""
    emit(DISABLED, _wellbeing(subscription, now))
    page = reverse("admin:webhooks_subscription_change", args=[subscription.pk])
    context = {"subscription": subscription, "page": f"{settings.BASE_URL}{page}"}
    text = render_to_string("webhooks/disabled.txt", context)
    mail(f"{subscription} is disabled", text, to=to_be_told(subscription), now=now)


def _wellbeing(subscription: Subscription, now: datetime) -> Wellbeing:
    return Wellbeing(subscription, subscription.consecutive_failures, subscription.failing_since, now)


# By mail


def to_be_told(subscription: Subscription | None = None) -> list[str]:
    """The addresses of the operators, and of who has set it up. That there is none stands in the log."""
    who = Q(is_superuser=True)
    if subscription is not None:
        who |= Q(pk=subscription.created_by_id)
    addresses = _addresses(who)
    if not addresses:
        logger.error("Nobody can be told by mail: no active superuser has an address.")
    return addresses


def is_anybody_told() -> bool:
    return bool(_addresses(Q(is_superuser=True)))


def _addresses(who: Q) -> list[str]:
    users = User.objects.filter(who, is_active=True).exclude(email="")
    return sorted(set(users.values_list("email", flat=True)))


def mail(title: str, text: str, *, to: Iterable[str], now: datetime) -> None:
    """To each of them, if the running transaction commits. A mail server is slow: the clock speaks to it."""
    title = " ".join(title.split())
    Notice.objects.bulk_create(
        Notice(address=address, title=title, text=text, made_at=now, next_attempt_at=now) for address in to
    )


@every(TICK_S)
def tick() -> None:
    send_owed(now=timezone.now())


def send_owed(*, now: datetime) -> None:
    """One statement while there is none."""
    for notice in Notice.objects.filter(next_attempt_at__lte=now).order_by("pk"):
        mine = Notice.objects.filter(pk=notice.pk, next_attempt_at=notice.next_attempt_at)
        if mine.update(next_attempt_at=now + AGAIN_AFTER):
            _send(notice, now)


def _send(notice: Notice, now: datetime) -> None:
    """A process that dies between the mail server's answer and ours sends it twice, and never not at all."""
    try:
        send_mail(notice.title, notice.text, None, [notice.address])
    except OSError as error:
        if now - notice.made_at < GIVEN_UP_AFTER:
            logger.warning("A mail is tried again, for the mail server did not take it: %s: %s", notice, error)
            return
        logger.error("A mail is given up, which no mail server took for days: %s: %s", notice, error)
    notice.delete()
