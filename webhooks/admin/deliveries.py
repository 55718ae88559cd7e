"""The delivery log: every delivery, every attempt, why it failed, and resend."""

import json
import shlex
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from webhooks import catalogue, compaction, lookups, replay
from webhooks.admin import wording
from webhooks.admin.log import LabelFilter, LogAdmin, TimeFilter
from webhooks.advice import advice
from webhooks.models import Attempt, Delivery, Subscription
from webhooks.transport import MASK

State = Delivery.State
ATTEMPTS_SHOWN = 50
RESEND_AT_MOST = 500
_SEARCHED_BY = {"dlv_": "public_id__exact", "evt_": "event__public_id__exact", "ord_": "subject__exact"}


class StateFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"
    combined = {"failing": ("Failing", lookups.FAILING), "open": ("Not delivered yet", lookups.OPEN)}
    conditions = {state: Q(state=state) for state in State.values} | {
        name: asked for name, (_, asked) in combined.items()
    }

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [*State.choices, *((value, words) for value, (words, _) in self.combined.items())]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not self.value():
            return queryset
        asked = self.conditions.get(str(self.value()))
        return queryset.filter(lookups.literally(asked)) if asked else queryset.none()


class SubscriptionFilter(admin.SimpleListFilter):
    title = "subscription"
    parameter_name = "subscription"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        saved = Subscription.objects.exclude(state=Subscription.State.DRAFT).order_by("name")
        return list(saved.values_list("public_id", "name"))

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        chosen = Subquery(Subscription.objects.filter(public_id=self.value()).values("pk")[:1])
        return lookups.told_to(queryset, chosen) if self.value() else queryset


class EventTypeFilter(admin.SimpleListFilter):
    title = "event type"
    parameter_name = "event_type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(event_type.name, event_type.name) for event_type in catalogue.all_types()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return lookups.of_type(queryset, str(self.value())) if self.value() else queryset


@admin.register(Delivery)
class DeliveryAdmin(LogAdmin):
    list_display = ("status", "told", "about", "answer", "attempts", "when")
    list_display_links = None
    list_filter = (LabelFilter, StateFilter, SubscriptionFilter, EventTypeFilter, TimeFilter)
    allowed_lookups = ("label", "state", "subscription", "event_type", *TimeFilter.names)
    search_fields = ("label__exact",)
    search_help_text = "Exactly: an order number, SKU or e-mail address; an event id (evt_…) or a delivery id (dlv_…)."
    actions = ("resend_selected",)

    def get_urls(self) -> list[URLPattern]:
        resend = self.admin_site.admin_view(require_POST(self.resend_view))
        return [path("<int:pk>/resend/", resend, name="webhooks_delivery_resend"), *super().get_urls()]

    # The list

    def get_queryset(self, request: HttpRequest) -> QuerySet[Delivery]:
        last = Attempt.objects.filter(delivery=OuterRef("pk"), number=OuterRef("attempt_count"))
        log: QuerySet[Delivery] = super().get_queryset(request).select_related("subscription")
        return log.annotate(last_duration_ms=Subquery(last.values("duration_ms")[:1]))

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """One index each: an OR over several tables would read them whole."""
        term = search_term.strip()
        return (queryset.filter(**_search(term)) if term else queryset), False

    @admin.display(description="State")
    def status(self, delivery: Delivery) -> SafeString:
        url = reverse("admin:webhooks_delivery_change", args=[delivery.pk])
        return format_html('<a href="{}">{}</a>', url, wording.delivery_badge(delivery))

    @admin.display(description="Event, subscription")
    def told(self, delivery: Delivery) -> SafeString:
        return format_html(
            '<a class="row-title" href="{}">{}</a><span class="sub">to {}</span>',
            reverse("admin:webhooks_delivery_change", args=[delivery.pk]),
            delivery.event_type,
            delivery.subscription,
        )

    @admin.display(description="About")
    def about(self, delivery: Delivery) -> SafeString:
        return label_link(delivery.label)

    @admin.display(description="Answer")
    def answer(self, delivery: Any) -> SafeString:
        said = wording.answer(delivery.last_status_code, delivery.last_reason)
        if delivery.last_duration_ms is None:
            return format_html("{}", said)
        return format_html('{} <span class="sub">{}</span>', said, wording.duration(delivery.last_duration_ms))

    @admin.display(description="Attempts")
    def attempts(self, delivery: Delivery) -> str:
        return f"{delivery.attempt_count} of {max(delivery.max_attempts, delivery.attempt_count)}"

    @admin.display(description="When")
    def when(self, delivery: Delivery) -> SafeString:
        now = timezone.now()
        made = wording.moment(delivery.created_at, now=now)
        following = wording.next_attempt(delivery, now=now)
        return (
            format_html('{} <span class="sub">next {}</span>', made, following)
            if following
            else format_html("{}", made)
        )

    # A delivery's page

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        delivery = self._get(request, object_id)
        context = {
            **self.admin_site.each_context(request),
            **_description(delivery),
            "title": f"{delivery.event_type} to {delivery.subscription}",
            "opts": self.opts,
            "can_resend": self.has_resend_permission(request),
            "media": self.media,
        }
        return TemplateResponse(request, "admin/webhooks/delivery/detail.html", context)

    def _get(self, request: HttpRequest, object_id: str) -> Delivery:
        if not self.has_view_permission(request):
            raise PermissionDenied
        delivery: Delivery | None = self.get_object(request, object_id)
        if delivery is None:
            raise Http404("There is no such delivery.")
        return delivery

    # Resend

    def has_resend_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("webhooks.resend_delivery")

    def resend_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        if not self.has_resend_permission(request):
            raise PermissionDenied
        delivery = self._get(request, str(pk))
        try:
            self._resend(request, delivery)
        except replay.ReplayRefused as error:
            messages.error(request, str(error))
        else:
            messages.success(request, "On its way again, with the same id and body.")
        return redirect("admin:webhooks_delivery_change", pk)

    @admin.action(description="Resend", permissions=["resend"])
    def resend_selected(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> HttpResponseBase | None:
        chosen = list(queryset[: RESEND_AT_MOST + 1])
        if len(chosen) > RESEND_AT_MOST:
            messages.error(request, f"At most {RESEND_AT_MOST} deliveries can be resent at once. Narrow the selection.")
            return None
        if request.POST.get("confirmed") != "yes":
            return self._ask(request, chosen)
        self._resend_all(request, chosen)
        return None

    def _ask(self, request: HttpRequest, chosen: list[Delivery]) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": "Resend?",
            "opts": self.opts,
            "chosen": [(each, wording.delivery_badge(each)) for each in chosen],
            "checkbox_name": admin.helpers.ACTION_CHECKBOX_NAME,
            "media": self.media,
        }
        return TemplateResponse(request, "admin/webhooks/delivery/resend_confirmation.html", context)

    def _resend_all(self, request: HttpRequest, chosen: list[Delivery]) -> None:
        refused = []
        for delivery in chosen:
            try:
                self._resend(request, delivery)
            except replay.ReplayRefused as error:
                refused.append(f"Not resent: {delivery}. {error}")
        if count := len(chosen) - len(refused):
            messages.success(request, f"{count} {'delivery is' if count == 1 else 'deliveries are'} on the way again.")
        for words in refused[:10]:
            messages.warning(request, words)
        if len(refused) > 10:
            messages.warning(request, f"… and {len(refused) - 10} more were not resent.")

    def _resend(self, request: HttpRequest, delivery: Delivery) -> None:
        replay.resend(delivery, by=request.user.get_username(), now=timezone.now())
        self.log_change(request, delivery, "Resent.")


def label_link(label: str) -> SafeString:
    """To every delivery about the same order, SKU or customer."""
    url = reverse("admin:webhooks_delivery_changelist", query={"label": label})
    return format_html('<a href="{}">{}</a>', url, label)


def _search(term: str) -> dict[str, str]:
    return {_SEARCHED_BY.get(term[:4], "label__exact"): term.replace("\x00", "")}


def _description(delivery: Delivery) -> dict[str, Any]:
    now = timezone.now()
    newest = list(delivery.attempts.order_by("-number")[:ATTEMPTS_SHOWN])
    body = delivery.event.body
    is_email = delivery.subscription.channel == Subscription.Channel.EMAIL
    return {
        "delivery": delivery,
        "is_email": is_email,
        "status": wording.delivery_badge(delivery),
        "about": label_link(delivery.label),
        "created": wording.moment(delivery.created_at, now=now),
        "delivered": wording.moment(delivery.delivered_at, now=now),
        "next_attempt": wording.next_attempt(delivery, now=now),
        "attempts_of": max(delivery.max_attempts, delivery.attempt_count),
        "body": body,
        "body_bytes": len(body.encode()),
        "pretty_body": json.dumps(json.loads(body), indent=2, ensure_ascii=False),
        "successor": compaction.successor(delivery) if delivery.state == State.SUPERSEDED else None,
        "advice": advice(delivery.last_reason) if delivery.last_reason else None,
        "curl": curl(newest[0], body) if newest and not is_email else "",
        "attempts": [
            (
                each,
                advice(each.reason),
                wording.duration(each.duration_ms),
                wording.moment(each.started_at, now=now),
            )
            for each in newest
        ],
        "attempts_hidden": max(delivery.attempt_count - len(newest), 0),
    }


def curl(attempt: Attempt, body: str) -> str:
    """The request of an attempt, to be tried in a shell; what the log masks is left as a blank to fill in."""
    headers = [
        f"{name}: {f'<your {name}>' if value == MASK else value}"
        for name, value in attempt.request_headers
        if name.lower() != "content-length"
    ]
    options = [f"--header {shlex.quote(header)}" for header in headers]
    return " \\\n  ".join(
        [f"curl --request POST {shlex.quote(attempt.url)}", *options, f"--data-raw {shlex.quote(body)}"]
    )
