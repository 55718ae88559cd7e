"""The events: what happened, exactly as it is told, and whom it was owed to."""

import json
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from webhooks import lookups
from webhooks.admin import wording
from webhooks.admin.deliveries import EventTypeFilter, label_link
from webhooks.admin.log import LabelFilter, LogAdmin, TimeFilter
from webhooks.models import Delivery, Event, Subscription


class TypeFilter(EventTypeFilter):
    parameter_name = "type"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return lookups.of_type(queryset, str(self.value()), column="type") if self.value() else queryset


@admin.register(Event)
class EventAdmin(LogAdmin):
    list_display = ("name", "about", "sequence", "when", "deliveries")
    list_display_links = None
    list_filter = (LabelFilter, TypeFilter, TimeFilter)
    allowed_lookups = ("label", "type", *TimeFilter.names)
    search_fields = ("label__exact",)
    search_help_text = "Exactly: an order number, SKU or e-mail address, or an event id (evt_…)."

    def get_queryset(self, request: HttpRequest) -> QuerySet[Event]:
        return super().get_queryset(request).prefetch_related("deliveries")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip().replace("\x00", "")
        field = "public_id" if term.startswith("evt_") else "label"
        return (queryset.filter(**{field: term}) if term else queryset), False

    @admin.display(description="Event")
    def name(self, event: Event) -> SafeString:
        url = reverse("admin:webhooks_event_change", args=[event.pk])
        return format_html('<a class="row-title" href="{}">{}</a>', url, event.type)

    @admin.display(description="About")
    def about(self, event: Event) -> SafeString:
        return label_link(event.label)

    @admin.display(description="When")
    def when(self, event: Event) -> SafeString | str:
        return wording.moment(event.occurred_at, now=timezone.now())

    @admin.display(description="Deliveries")
    def deliveries(self, event: Event) -> SafeString:
        owed = [
            (
                reverse("admin:webhooks_delivery_change", args=[each.pk]),
                wording.delivery_badge(each),
            )
            for each in event.deliveries.all()
        ]
        return format_html_join(" ", '<a href="{}">{}</a>', owed) or format_html("{}", "nobody asked for it")

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        event = self.get_object(request, object_id)
        if event is None:
            raise Http404("There is no such event.")
        now = timezone.now()
        owed = Delivery.objects.filter(event=event).select_related("subscription").order_by("id")
        told = {delivery.subscription_id for delivery in owed}
        others = Subscription.objects.exclude(state=Subscription.State.DRAFT).exclude(pk__in=told)
        context = {
            **self.admin_site.each_context(request),
            "title": str(event),
            "opts": self.opts,
            "event": event,
            "about": label_link(event.label),
            "occurred": wording.moment(event.occurred_at, now=now),
            "pretty_body": json.dumps(json.loads(event.body), indent=2, ensure_ascii=False),
            "deliveries": [
                (
                    each,
                    wording.delivery_badge(each),
                    wording.answer(each.last_status_code, each.last_reason),
                    wording.moment(each.created_at, now=now),
                )
                for each in owed
            ],
            "held_back": wording.held_back(event, others),
            "media": self.media,
        }
        return TemplateResponse(request, "admin/webhooks/event/detail.html", context)
