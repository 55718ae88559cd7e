"""The log of what others have told: every message, what it did or why it did not, and reprocess."""

import json
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from commerce.inbound import processing
from commerce.inbound.schemes import NotJson, read_object
from commerce.models import InboundMessage, InboundSource
from orders.models import Order
from webhooks.admin import wording
from webhooks.admin.log import ExactFilter, LogAdmin, TimeFilter

State = InboundMessage.State
SHOWN_BYTES = 100_000
REPROCESS_AT_MOST = 500
_BADGE = {
    State.RECEIVED: "pending",
    State.WAITING: "skipped",
    State.PROCESSED: "delivered",
    State.IGNORED: "superseded",
    State.PARKED: "parked",
}


class StateFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [*State.choices, ("retrying", "Retrying")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() == "retrying":
            return queryset.filter(state=State.RECEIVED, attempt_count__gt=0)
        return queryset.filter(state=self.value()) if self.value() else queryset


class SourceFilter(admin.SimpleListFilter):
    title = "source"
    parameter_name = "source"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name) for name in InboundSource.objects.order_by("name").values_list("name", flat=True)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        # Not by a join: so the index of a source's messages gives them in order.
        chosen = InboundSource.objects.filter(name=self.value()).values("pk")[:1]
        return queryset.filter(source=chosen) if self.value() else queryset


class SubjectFilter(ExactFilter):
    title = "about"
    parameter_name = "subject"


@admin.register(InboundMessage)
class InboundMessageAdmin(LogAdmin):
    list_display = ("status", "came", "outcome", "about", "attempts", "when")
    list_display_links = None
    list_filter = (StateFilter, SourceFilter, SubjectFilter, TimeFilter)
    allowed_lookups = ("state", "source", "subject", *TimeFilter.names)
    list_select_related = ("source",)
    search_fields = ("public_id__exact",)
    search_help_text = "Exactly: an order number, an order's id (ord_…), a message's id (inb_…) or the sender's own id."
    actions = ("reprocess_selected",)

    def get_urls(self) -> list[URLPattern]:
        reprocess = self.admin_site.admin_view(require_POST(self.reprocess_view))
        return [
            path("<int:pk>/reprocess/", reprocess, name="commerce_inboundmessage_reprocess"),
            *super().get_urls(),
        ]

    # The list

    def get_queryset(self, request: HttpRequest) -> QuerySet[InboundMessage]:
        order = Order.objects.filter(public_id=OuterRef("subject"))
        log: QuerySet[InboundMessage] = super().get_queryset(request).defer("body", "headers")
        return log.annotate(
            order_pk=Subquery(order.values("pk")[:1]), order_number=Subquery(order.values("number")[:1])
        )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip().replace("\x00", "")
        return (queryset.filter(_search(term)) if term else queryset), False

    @admin.display(description="State")
    def status(self, message: InboundMessage) -> SafeString:
        return format_html('<a href="{}">{}</a>', _url(message), badge(message))

    @admin.display(description="Source, id")
    def came(self, message: InboundMessage) -> SafeString:
        return format_html(
            '<a class="row-title" href="{}">{}</a><span class="sub">{}</span>',
            _url(message),
            message.source,
            message.sender_id[:40],
        )

    @admin.display(description="What it did")
    def outcome(self, message: InboundMessage) -> str:
        return message.effect or message.reason or wording.NOTHING

    @admin.display(description="About")
    def about(self, message: InboundMessage) -> SafeString | str:
        return order_link(message)

    @admin.display(description="Attempts")
    def attempts(self, message: InboundMessage) -> str:
        return str(message.attempt_count)

    @admin.display(description="When")
    def when(self, message: InboundMessage) -> SafeString:
        now = timezone.now()
        came = wording.moment(message.created_at, now=now)
        if message.next_attempt_at is None or not message.attempt_count:
            return format_html("{}", came)
        return format_html('{} <span class="sub">next {}</span>', came, wording.due(message.next_attempt_at, now=now))

    # A message's page

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        message = self._get(request, object_id)
        context = {
            **self.admin_site.each_context(request),
            **_description(message),
            "title": f"Message from {message.source}",
            "opts": self.opts,
            "can_reprocess": self.has_reprocess_permission(request) and message.state != State.PROCESSED,
            "media": self.media,
        }
        return TemplateResponse(request, "admin/commerce/inboundmessage/detail.html", context)

    def _get(self, request: HttpRequest, object_id: str) -> InboundMessage:
        if not self.has_view_permission(request):
            raise PermissionDenied
        message: InboundMessage | None = self.get_object(request, object_id)
        if message is None:
            raise Http404("There is no such message.")
        return message

    # Reprocess

    def has_reprocess_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("commerce.reprocess_inboundmessage")

    def reprocess_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        if not self.has_reprocess_permission(request):
            raise PermissionDenied
        message = self._get(request, str(pk))
        try:
            self._reprocess(request, message)
        except processing.AlreadyProcessed as error:
            messages.error(request, str(error))
        else:
            messages.success(request, "It is being processed again.")
        return redirect("admin:commerce_inboundmessage_change", pk)

    @admin.action(description="Reprocess", permissions=["reprocess"])
    def reprocess_selected(self, request: HttpRequest, queryset: QuerySet[InboundMessage]) -> None:
        """What has been processed already is left as it is, and counted."""
        chosen = list(queryset[: REPROCESS_AT_MOST + 1])
        if len(chosen) > REPROCESS_AT_MOST:
            messages.error(request, f"At most {REPROCESS_AT_MOST} at once. Narrow the selection.")
            return
        refused = 0
        for message in chosen:
            try:
                self._reprocess(request, message)
            except processing.AlreadyProcessed:
                refused += 1
        if again := len(chosen) - refused:
            messages.success(request, f"{again} {'is' if again == 1 else 'are'} being processed again.")
        if refused:
            messages.warning(request, f"{refused} had been processed already and stayed as they were.")

    def _reprocess(self, request: HttpRequest, message: InboundMessage) -> None:
        processing.reprocess(message, by=request.user.get_username(), now=timezone.now())
        self.log_change(request, message, "Reprocessed.")


def badge(message: InboundMessage) -> SafeString:
    """A message that has failed already looks different from one that has just come."""
    if message.state == State.RECEIVED and message.attempt_count:
        return wording.badge("retrying", "Retrying")
    return wording.badge(_BADGE[State(message.state)], message.get_state_display())


def order_link(message: Any) -> SafeString | str:
    if message.order_pk is None:
        return message.subject or wording.NOTHING
    return format_html(
        '<a href="{}">{}</a>', reverse("admin:orders_order_change", args=[message.order_pk]), message.order_number
    )


def _url(message: InboundMessage) -> str:
    return reverse("admin:commerce_inboundmessage_change", args=[message.pk])


def _search(term: str) -> Q:
    """One index each."""
    if term.startswith("inb_"):
        return Q(public_id=term)
    if term.startswith("ord_"):
        return Q(subject=term)
    if order := Order.objects.filter(number=term).first():
        return Q(subject=order.public_id)
    return Q(sender_id=term)


def _description(message: InboundMessage) -> dict[str, Any]:
    now = timezone.now()
    body = bytes(message.body)
    return {
        "message": message,
        "status": badge(message),
        "about": order_link(message),
        "came": wording.moment(message.created_at, now=now),
        "ended": wording.moment(message.processed_at, now=now),
        "next_attempt": wording.due(message.next_attempt_at, now=now),
        "pretty_body": _pretty(body),
        "raw_body": body[:SHOWN_BYTES].decode("utf-8", "backslashreplace"),
        "is_cut": len(body) > SHOWN_BYTES,
        "body_bytes": len(body),
    }


def _pretty(body: bytes) -> str:
    """Empty of what is no JSON, or too long to look at."""
    if len(body) > SHOWN_BYTES:
        return ""
    try:
        return json.dumps(read_object(body), indent=2, ensure_ascii=False)
    except NotJson:
        return ""
