"""Telling that a subscription fails, has recovered or is disabled: as events, and by mail when it ends."""

from datetime import datetime

from django.conf import settings
from django.contrib.auth.models import User
from django.db.models import Q
from django.template.loader import render_to_string
from django.urls import reverse
from django_q.tasks import async_task

from webhooks.events import DISABLED, FAILING, RECOVERED, Wellbeing
from webhooks.models import Subscription
from webhooks.outbox import emit


def failing(subscription: Subscription, *, now: datetime) -> None:
    emit(FAILING, _wellbeing(subscription, now))


def recovered(subscription: Subscription, *, failures: int, since: datetime | None, now: datetime) -> None:
    """`failures` and `since` are what it has put behind it."""
    emit(RECOVERED, Wellbeing(subscription, failures, since, now))


def disabled(subscription: Subscription, *, now: datetime) -> None:
    """In the transaction that disables it: its own copy of the event is then skipped, like all that follow."""
    emit(DISABLED, _wellbeing(subscription, now))
    _mail(subscription)


def _wellbeing(subscription: Subscription, now: datetime) -> Wellbeing:
    return Wellbeing(subscription, subscription.consecutive_failures, subscription.failing_since, now)


def _mail(subscription: Subscription) -> None:
    """By the queue: a mail server is slow. The task is enqueued by the running transaction, and only if it commits."""
    page = reverse("admin:webhooks_subscription_change", args=[subscription.pk])
    context = {"subscription": subscription, "page": f"{settings.BASE_URL}{page}"}
    text = render_to_string("webhooks/disabled.txt", context)
    if to := to_be_told(subscription):
        async_task("django.core.mail.send_mail", f"{subscription} is disabled", text, None, to)


def to_be_told(subscription: Subscription | None = None) -> list[str]:
    """The addresses of the operators, and of who has set it up."""
    who = Q(is_superuser=True)
    if subscription is not None:
        who |= Q(pk=subscription.created_by_id)
    users = User.objects.filter(who, is_active=True).exclude(email="")
    return sorted(set(users.values_list("email", flat=True)))
