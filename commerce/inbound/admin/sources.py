"""Sources in the admin: who may tell us things, and what to paste where at the sender."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from commerce.inbound.admin.forms import SourceForm
from commerce.models import InboundMessage, InboundSource
from webhooks.admin import wording

SIGNS = ("Any other courier: how it signs", {"fields": ("header", "algorithm", "encoding", "prefix")})
SPEAKS = ("Any other courier: how it speaks", {"fields": ("paths", "words")})


@admin.register(InboundSource)
class InboundSourceAdmin(admin.ModelAdmin[InboundSource]):
    form = SourceForm
    list_display = ("who", "status", "last_message", "last_refusal")
    list_display_links = None
    list_filter = ("scheme", "is_active")
    ordering = ("name",)
    actions = None
    show_facets = admin.ShowFacets.NEVER

    def has_delete_permission(self, request: HttpRequest, obj: InboundSource | None = None) -> bool:
        """What it has told is part of the orders' history: a source is switched off."""
        return False

    # The list

    def get_queryset(self, request: HttpRequest) -> QuerySet[InboundSource]:
        last = InboundMessage.objects.filter(source=OuterRef("pk")).order_by("-id")
        return super().get_queryset(request).annotate(last_at=Subquery(last.values("created_at")[:1]))

    @admin.display(description="Source", ordering="name")
    def who(self, source: InboundSource) -> SafeString:
        return format_html(
            '<a class="row-title" href="{}">{}</a><span class="sub">{}</span>',
            reverse("admin:commerce_inboundsource_change", args=[source.pk]),
            source.name,
            source.get_scheme_display(),
        )

    @admin.display(description="State")
    def status(self, source: InboundSource) -> SafeString:
        return _status(source)

    @admin.display(description="Last message")
    def last_message(self, source: Any) -> SafeString | str:
        return wording.moment(source.last_at, now=timezone.now())

    @admin.display(description="Last refusal")
    def last_refusal(self, source: InboundSource) -> SafeString | str:
        if source.refused_at is None:
            return wording.NOTHING
        when = wording.moment(source.refused_at, now=timezone.now())
        return format_html('{} <span class="sub">{}</span>', when, source.refused_reason)

    # A source's page

    def get_readonly_fields(self, request: HttpRequest, obj: InboundSource | None = None) -> tuple[str, ...]:
        """The address is with the sender, and the secrets are of its kind."""
        return ("scheme", "name") if obj else ()

    def get_fieldsets(self, request: HttpRequest, obj: InboundSource | None = None) -> Any:
        if obj is None:
            own: list[str] = ["scheme", "name", "new_secret", "warehouse"]
            collapsed = [(name, options | {"classes": ("collapse",)}) for name, options in (SIGNS, SPEAKS)]
            return [(None, {"fields": own}), *collapsed]
        own = ["scheme", "name", "new_secret", "removed", "warehouse", "is_active"]
        return [(None, {"fields": own}), *((SIGNS, SPEAKS) if obj.scheme == obj.Scheme.HMAC else ())]

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        source = self.get_object(request, object_id) if object_id else None
        context = {"base_url": InboundSource(name="NAME").url.removesuffix("NAME/"), "title": "Add a source"}
        if source is not None:
            context = _description(source)
        return super().changeform_view(request, object_id, form_url, context | (extra_context or {}))

    def save_model(self, request: HttpRequest, obj: InboundSource, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if form.made_secret:
            messages.success(request, f"Its signing secret, which is not shown again: {form.made_secret}")

    def response_add(
        self, request: HttpRequest, obj: InboundSource, post_url_continue: str | None = None
    ) -> HttpResponse:
        messages.success(request, f"{obj} is connected here. Now tell the sender its address.")
        return redirect("admin:commerce_inboundsource_change", obj.pk)


def _status(source: InboundSource) -> SafeString:
    return wording.badge("active", "Active") if source.is_active else wording.badge("disabled", "Off")


def _description(source: InboundSource) -> dict[str, Any]:
    now = timezone.now()
    last = InboundMessage.objects.filter(source=source).order_by("-id").first()
    return {
        "title": str(source),
        "subtitle": None,
        "source": source,
        "status": _status(source),
        "last_message": wording.moment(last.created_at, now=now) if last else None,
        "last_refusal": wording.moment(source.refused_at, now=now),
        "is_refused_now": source.refused_at is not None and (last is None or last.created_at < source.refused_at),
        "messages_url": f"{reverse('admin:commerce_inboundmessage_changelist')}?source={source.name}",
    }
