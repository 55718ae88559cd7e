"""Connecting a system in four steps: one address per step, the draft is a row, every POST redirects."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import AdminForm
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone

from webhooks import subscriptions
from webhooks.admin.forms import OPTIONS, SIGNATURE, AddressForm, EventsForm, HeadersForm, SaveForm, folded
from webhooks.conditions import in_words
from webhooks.models import Subscription
from webhooks.signing import Scheme
from webhooks.sources import every

DRAFTS_LIVE = timedelta(days=1)


@dataclass(frozen=True)
class Step:
    number: int
    title: str
    lead: str
    form: type[forms.ModelForm[Subscription]]
    # The title of a part for experts, and the fields in it.
    folded: tuple[str, tuple[str, ...]] = ("", ())

    @property
    def fields(self) -> tuple[str, ...]:
        return tuple(self.form.base_fields)

    def fieldsets(self, draft: Subscription) -> list[Any]:
        title, hidden = self.folded
        asked = tuple(field for field in self.fields if field not in hidden)
        parts: list[Any] = [(None, {"fields": asked})] if asked else []
        return [*parts, folded(title, hidden, draft)] if hidden else parts


STEPS = (
    Step(1, "Callback URL", "Where should we send events?", AddressForm),
    Step(2, "Events", "What should the system be told?", EventsForm, OPTIONS),
    Step(
        3,
        "Authentication headers",
        "What must we send so that it lets us in? Skip this if it needs nothing.",
        HeadersForm,
    ),
    Step(4, "Save", "From now on it is told, the moment something changes.", SaveForm, SIGNATURE),
)
_STEP_OF_FIELD = {field: step.number for step in STEPS for field in step.fields}


def furthest(draft: Subscription) -> int:
    """The first step that still lacks something; headers may be left out, so choosing events opens the rest."""
    if not (draft.name and draft.url):
        return 1
    return 4 if draft.event_types else 2


@every(3_600)
def purge_drafts() -> None:
    Subscription.objects.filter(state=Subscription.State.DRAFT, created_at__lt=timezone.now() - DRAFTS_LIVE).delete()


def step_url(draft: Subscription, number: int) -> str:
    return reverse("admin:webhooks_subscription_setup", args=[draft.public_id, number])


class SetupAdmin(admin.ModelAdmin[Subscription]):
    """The part of the subscriptions' admin that sets up a new one."""

    def get_urls(self) -> list[URLPattern]:
        step = path(
            "add/<str:public_id>/<int:number>/",
            self.admin_site.admin_view(self.step_view),
            name="webhooks_subscription_setup",
        )
        return [step, *super().get_urls()]

    def add_view(self, request: HttpRequest, *_: Any, **__: Any) -> HttpResponseBase:  # type: ignore[override]
        """A draft of its own for each tab that asks for one."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        return redirect(step_url(subscriptions.start_draft(cast(User, request.user)), 1))

    def step_view(self, request: HttpRequest, public_id: str, number: int) -> HttpResponseBase:
        if not self.has_add_permission(request):
            raise PermissionDenied
        draft = get_object_or_404(self.get_queryset(request), public_id=public_id)
        if draft.state != Subscription.State.DRAFT:
            messages.info(request, f"{draft} is saved already. Its settings can be changed here.")
            return redirect("admin:webhooks_subscription_change", draft.pk)
        reached = furthest(draft)
        if not 1 <= number <= reached:
            return redirect(step_url(draft, reached))
        step = STEPS[number - 1]
        form = step.form(request.POST if request.method == "POST" else None, instance=draft)
        if request.method == "POST" and form.is_valid():
            return self._save(request, form, step)
        return self._show(request, form, step, reached)

    def _save(self, request: HttpRequest, form: forms.ModelForm[Subscription], step: Step) -> HttpResponse:
        draft = form.instance
        if step is STEPS[-1]:
            return self._activate(request, draft, form.cleaned_data["signature"])
        draft.save(update_fields=step.fields)
        return redirect(step_url(draft, step.number + 1))

    def _activate(self, request: HttpRequest, draft: Subscription, signature: Scheme) -> HttpResponse:
        by, now = request.user.get_username(), timezone.now()
        try:
            subscriptions.activate(draft, by=by, now=now, signature=signature)
        except subscriptions.InvalidSubscription as error:
            messages.error(request, str(error))
            return redirect(step_url(draft, _STEP_OF_FIELD.get(error.field, 1)))
        except subscriptions.SubscriptionConflict as error:
            # Saved twice, by a double click or in two tabs: the first one stands.
            messages.info(request, str(error))
        else:
            self.log_addition(request, draft, [{"added": {}}])
        return HttpResponseRedirect(reverse("admin:webhooks_subscription_ready", args=[draft.pk]))

    def _show(
        self, request: HttpRequest, form: forms.ModelForm[Subscription], step: Step, reached: int
    ) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": "Connect a system",
            "opts": self.opts,
            "draft": form.instance,
            "step": step,
            "steps": [(each, step_url(form.instance, each.number) if each.number <= reached else "") for each in STEPS],
            "back_url": step_url(form.instance, step.number - 1) if step.number > 1 else "",
            "adminform": AdminForm(form, step.fieldsets(form.instance), {}, model_admin=self),
            "conditions": [in_words(condition) for condition in form.instance.conditions],
            "errors": form.errors,
            "media": self.media,
        }
        return TemplateResponse(request, "admin/webhooks/setup/step.html", context)
