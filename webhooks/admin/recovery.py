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
from django.views.decorators.http import require_POST

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

    until = forms.DateTimeField(
        label="Until",
        required=False,
        help_text="UTC. Nothing of that moment or later is sent; empty: now.",
        widget=forms.DateTimeInput(format=MINUTES, attrs={"type": "datetime-local"}),
    )

    def clean(self) -> dict[str, Any]:
        wanted = self.cleaned_data
        if wanted.get("until") and "since" in wanted and wanted["until"] <= wanted["since"]:
            self.add_error("until", "This is not after the moment it begins with.")
        return wanted


class RecoveryAdmin(SetupAdmin):
    """The part of the subscriptions' admin that makes good what was missed."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.recover_view)
        cancel = self.admin_site.admin_view(require_POST(self.cancel_view))
        return [
            path("<int:pk>/recover/", view, name="webhooks_subscription_recover"),
            path("<int:pk>/recover/<int:replay_id>/cancel/", cancel, name="webhooks_subscription_recover_cancel"),
            *super().get_urls(),
        ]

    def recover_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Asked with a moment, it counts; a POST then starts it."""
        subscription = self._get(request, pk)
        asked = request.POST if request.method == "POST" else request.GET
        form = RecoverForm(asked if "since" in asked else None)
        if request.method == "POST" and form.is_valid():
            self._recover(request, subscription, form.cleaned_data)
            return redirect("admin:webhooks_subscription_recover", pk)
        return self._show_recovery(request, subscription, form)

    def cancel_view(self, request: HttpRequest, pk: int, replay_id: int) -> HttpResponse:
        subscription = self._get(request, pk)
        running = get_object_or_404(subscription.replays, pk=replay_id)
        try:
            replay.cancel(running, by=request.user.get_username(), now=timezone.now())
        except replay.ReplayRefused as error:
            messages.error(request, str(error))
        else:
            self.log_change(request, subscription, f"Stopped a recovery at {running} ({running.kind}).")
            messages.success(request, "Stopped. What is on its way already goes out.")
        return redirect("admin:webhooks_subscription_recover", pk)

    def _recover(self, request: HttpRequest, subscription: Subscription, wanted: dict[str, Any]) -> None:
        by, now = request.user.get_username(), timezone.now()
        try:
            started = replay.start(
                wanted["kind"], subscription, since=wanted["since"], until=wanted["until"], by=by, now=now
            )
        except replay.ReplayRefused as error:
            messages.error(request, str(error))
            return
        since = f"{started.since:%Y-%m-%d %H:%M} UTC"
        self.log_change(request, subscription, f"Recovered {started.counted} since {since} ({started.kind}).")
        messages.success(request, f"{started.counted} on their way, behind what happens now.")

    def _show_recovery(self, request: HttpRequest, subscription: Subscription, form: RecoverForm) -> HttpResponse:
        now = timezone.now()
        wanted = form.cleaned_data if form.is_bound and form.is_valid() else None
        planned = replay.plan(subscription=subscription, **wanted) if wanted else None
        replays = subscription.replays.order_by("-id")[:REPLAYS_SHOWN]
        context = {
            **self.admin_site.each_context(request),
            "title": f"Recover what {subscription} has missed",
            "opts": self.opts,
            "subscription": subscription,
            "form": form,
            "wanted": wanted,
            "planned": planned,
            "caveat": planned and replay.caveat(planned),
            "since": f"{wanted['since']:{MINUTES}}" if wanted else "",
            "until": f"{wanted['until']:{MINUTES}}" if wanted and wanted["until"] else "",
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
