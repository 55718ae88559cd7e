"""Sending again, or for the first time, what a system has missed since a moment: counted, confirmed, followed."""

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone

from webhooks import replay
from webhooks.admin import wording
from webhooks.admin.setup import SetupAdmin
from webhooks.models import Replay, Subscription

REPLAYS_SHOWN = 10
MINUTES = "%Y-%m-%dT%H:%M"
A_DAY = timedelta(days=1)


class RecoverForm(forms.Form):
    kind = forms.ChoiceField(
        label="What", choices=Replay.ASKED_FOR, initial=Replay.Kind.FAILED, widget=forms.RadioSelect
    )
    since = forms.DateTimeField(
        label="Since",
        help_text="UTC. Nothing older is sent.",
        initial=lambda: timezone.now() - A_DAY,
        widget=forms.DateTimeInput(format=MINUTES, attrs={"type": "datetime-local"}),
    )


class RecoveryAdmin(SetupAdmin):
    """The part of the subscriptions' admin that makes good what was missed."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.recover_view)
        return [path("<int:pk>/recover/", view, name="webhooks_subscription_recover"), *super().get_urls()]

    def recover_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Asked with a moment, it counts; a POST then starts it."""
        subscription = self._get(request, pk)
        asked = request.POST if request.method == "POST" else request.GET
        form = RecoverForm(asked if "since" in asked else None)
        if request.method == "POST" and form.is_valid():
            self._recover(request, subscription, form.cleaned_data)
            return redirect("admin:webhooks_subscription_recover", pk)
        return self._show_recovery(request, subscription, form)

    def _recover(self, request: HttpRequest, subscription: Subscription, wanted: dict[str, Any]) -> None:
        by, now = request.user.get_username(), timezone.now()
        try:
            started = replay.start(wanted["kind"], subscription, since=wanted["since"], by=by, now=now)
        except replay.ReplayRefused as error:
            messages.error(request, str(error))
            return
        since = f"{started.since:%Y-%m-%d %H:%M} UTC"
        self.log_change(request, subscription, f"Recovered {started.total} since {since} ({started.kind}).")
        messages.success(request, f"{started.total} on their way, behind what happens now.")

    def _show_recovery(self, request: HttpRequest, subscription: Subscription, form: RecoverForm) -> HttpResponse:
        now = timezone.now()
        wanted = form.cleaned_data if form.is_bound and form.is_valid() else None
        planned = replay.plan(wanted["kind"], subscription, since=wanted["since"]) if wanted else None
        replays = subscription.replays.order_by("-id")[:REPLAYS_SHOWN]
        context = {
            **self.admin_site.each_context(request),
            "title": f"Recover what {subscription} has missed",
            "opts": self.opts,
            "subscription": subscription,
            "form": form,
            "wanted": wanted,
            "count": planned and planned.total,
            "caveat": planned and replay.caveat(planned),
            "since": f"{wanted['since']:{MINUTES}}" if wanted else "",
            "replays": [(each, wording.moment(each.started_at, now=now)) for each in replays],
            "media": self.media,
        }
        return TemplateResponse(request, "admin/webhooks/subscription/recover.html", context)

    def _get(self, request: HttpRequest, pk: int) -> Subscription:
        """Its secret and switches are for those who may change it, and for who has just set it up."""
        subscription = get_object_or_404(self.get_queryset(request), pk=pk)
        if not (self.has_change_permission(request, subscription) or subscription.created_by_id == request.user.pk):
            raise PermissionDenied
        return subscription
