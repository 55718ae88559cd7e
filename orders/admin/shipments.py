"""Parcels in the admin: where each is. They move with their order's verbs."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from orders import couriers, fulfilment
from orders.admin.forms import BringBackForm, ScanForm
from orders.admin.lists import AskingAdmin, WarehouseFilter
from orders.admin.steps import BRING_BACK, TRACK, UNPACK
from orders.admin.verbs import named, page_of, require, take_each
from orders.models import Shipment
from orders.returns import Receipt
from webhooks.wording import NOTHING, badge, moment


def tracking(shipment: Shipment) -> SafeString | str:
    """The number, as a link where there is one."""
    if not shipment.tracking_number:
        return "untracked" if shipment.shipped_at else NOTHING
    if not shipment.tracking_url:
        return shipment.tracking_number
    return format_html('<a href="{}" rel="noreferrer">{}</a>', shipment.tracking_url, shipment.tracking_number)


def _track(parcel: Shipment, *, scan: Mapping[str, Any], actor: str, now: datetime) -> None:
    couriers.track(parcel.public_id, **scan, source=actor, now=now)


def _bring_back(parcel: Shipment, *, receipts: Sequence[Receipt], actor: str, now: datetime) -> None:
    fulfilment.bring_back(parcel.public_id, receipts=receipts, actor=actor, now=now)


def _unpack(parcel: Shipment, *, actor: str, now: datetime) -> None:
    fulfilment.unpack(parcel.public_id, actor=actor, now=now)


@admin.register(Shipment)
class ShipmentAdmin(AskingAdmin):
    list_display = ("parcel", "state_badge", "warehouse", "carrier", "tracking", "courier_says", "shipped", "expected")
    list_filter = ("state", WarehouseFilter)
    list_select_related = ("order", "warehouse")
    search_help_text = "Exactly: a tracking number, order number or shipment id (shp_…)."
    fieldsets = (
        (None, {"fields": ("order_link", "warehouse", "state_badge", "contents", "public_id")}),
        ("Packed", {"fields": ("packed_at", "packed_by", "package_count", "weight_grams")}),
        (
            "Shipped",
            {
                "fields": (
                    "carrier",
                    "carrier_service",
                    "tracking",
                    "shipped_at",
                    "estimated_delivery_at",
                    "courier_says",
                )
            },
        ),
        ("Delivered", {"fields": ("delivered_at", "received_by", "delivery_source")}),
        ("Brought back", {"fields": ("returned_at",)}),
    )
    readonly_fields = ("order_link", "state_badge", "contents", "tracking", "courier_says")

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        return [
            path("scan/", wrap(self.scan_view), name="orders_shipment_scan"),
            path("bring-back/", wrap(self.bring_back_view), name="orders_shipment_bring_back"),
            path("<int:pk>/unpack/", wrap(require_POST(self.unpack_view)), name="orders_shipment_unpack"),
            *super().get_urls(),
        ]

    def bring_back_view(self, request: HttpRequest) -> HttpResponseBase:
        """What has become of the units in `?parcel=…`, which did not reach its customer."""
        require(request, BRING_BACK)
        parcel = named(request, Shipment.objects.select_related("order"), "parcel")[0]
        answer = request.POST if request.method == "POST" else None
        forms = [BringBackForm(answer, content=content, parcel=parcel) for content in parcel.contents]
        if all(form.is_valid() for form in forms):
            receipts = [receipt for form in forms for receipt in form.receipts]
            take_each(request, BRING_BACK, [parcel], partial(_bring_back, receipts=receipts))
            return redirect(page_of(parcel.order))
        context = {"title": BRING_BACK.label, "parcel": parcel, "orders": [parcel.order], "forms": forms}
        return self.render(request, "bring_back.html", context)

    def unpack_view(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        require(request, UNPACK)
        parcel = get_object_or_404(Shipment.objects.select_related("order"), pk=pk)
        take_each(request, UNPACK, [parcel], _unpack)
        return redirect(page_of(parcel.order))

    def scan_view(self, request: HttpRequest) -> HttpResponseBase:
        """What the courier says of `?parcel=…`."""
        require(request, TRACK)
        parcel = named(request, Shipment.objects.select_related("order"), "parcel")[0]
        form = ScanForm(request.POST if request.method == "POST" else None, use_required_attribute=False)
        if form.is_valid():
            take_each(request, TRACK, [parcel], partial(_track, scan=form.cleaned_data))
            return redirect(page_of(parcel.order))
        context = {"title": TRACK.label, "parcel": parcel, "orders": [parcel.order], "form": form}
        return self.render(request, "scan.html", context)

    def search(self, queryset: QuerySet[Shipment], term: str) -> QuerySet[Shipment]:
        if term.startswith("shp_"):
            return super().search(queryset, term)
        found = queryset.filter(tracking_number=term)
        return found if found.exists() else queryset.filter(order__number=term)

    @admin.display(description="Parcel")
    def parcel(self, shipment: Shipment) -> SafeString:
        url = reverse("admin:orders_shipment_change", args=[shipment.pk])
        return format_html('<a class="row-title" href="{}">{}</a>', url, shipment)

    @admin.display(description="Order")
    def order_link(self, shipment: Shipment) -> SafeString:
        url = reverse("admin:orders_order_change", args=[shipment.order_id])
        return format_html('<a href="{}">{}</a>', url, shipment.order)

    @admin.display(description="State")
    def state_badge(self, shipment: Shipment) -> SafeString:
        return badge(shipment.state, shipment.get_state_display())

    @admin.display(description="Tracking number")
    def tracking(self, shipment: Shipment) -> SafeString | str:
        return tracking(shipment)

    @admin.display(description="Courier says")
    def courier_says(self, shipment: Shipment) -> str:
        return shipment.get_tracking_status_display() or NOTHING

    @admin.display(description="Shipped")
    def shipped(self, shipment: Shipment) -> SafeString | str:
        return moment(shipment.shipped_at)

    @admin.display(description="Expected")
    def expected(self, shipment: Shipment) -> SafeString | str:
        return moment(shipment.estimated_delivery_at)

    @admin.display(description="Contents")
    def contents(self, shipment: Any) -> SafeString:
        inside = ((content.quantity, content.line.sku, content.line.name) for content in shipment.contents)
        return format_html_join(", ", "{} × {} ({})", inside)
