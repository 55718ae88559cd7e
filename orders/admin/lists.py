"""What the lists of orders, parcels and customers share: they are read by index."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone

from inventory import lists
from inventory.models import Warehouse
from orders import promises
from orders.admin import steps
from orders.models import Allocation, Hold, Order
from orders.promises import Standing


class ListAdmin(lists.ListAdmin):
    """Newest first; searched for exact words, each by an index of its own."""

    list_display_links = None
    ordering = ("-id",)
    search_fields = ("public_id__exact",)
    sortable_by = ()

    class Media:
        css = {"all": ["orders/admin.css"]}

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip().replace("\x00", "")
        return (self.search(queryset, term) if term else queryset), False

    def search(self, queryset: QuerySet[Any], term: str) -> QuerySet[Any]:
        """By its id; each list knows more words for its rows."""
        return queryset.filter(public_id=term)


class ReadOnlyAdmin(lists.ReadOnlyAdmin, ListAdmin):
    pass


class AskingAdmin(ReadOnlyAdmin):
    """Has pages of its own that ask something, below `templates/admin/orders/order/`."""

    def render(self, request: HttpRequest, template: str, context: dict[str, Any]) -> HttpResponse:
        context = {**self.admin_site.each_context(request), "opts": self.opts, "media": self.media, **context}
        return TemplateResponse(request, f"admin/orders/order/{template}", context)


class NextStepFilter(admin.SimpleListFilter):
    title = "next step"
    parameter_name = "next"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, words) for name, (words, _) in steps.WAITING.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        _, condition = steps.WAITING.get(str(self.value()), ("", Q()))
        return queryset.filter(condition)


class HoldFilter(admin.SimpleListFilter):
    title = "hold"
    parameter_name = "hold"
    ANY = "any"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(self.ANY, "On hold"), *((kind.value, f"On hold: {kind.label}") for kind in Hold.Kind)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() not in {self.ANY, *Hold.Kind.values}:
            return queryset
        held = queryset.filter(on_hold=True)
        if self.value() == self.ANY:
            return held
        return held.filter(Exists(Hold.objects.open().filter(order=OuterRef("pk"), kind=self.value())))


class StandingFilter(admin.SimpleListFilter):
    title = "promise"
    parameter_name = "standing"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(each.value, str(each.label)) for each in Standing]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() not in Standing.values:
            return queryset
        return queryset.filter(promises.are(str(self.value()), now=timezone.now()))


class WarehouseFilter(admin.SimpleListFilter):
    title = "warehouse"
    parameter_name = "warehouse"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return list(Warehouse.objects.order_by("priority", "code").values_list("code", "name"))

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not self.value():
            return queryset
        if queryset.model is Order:
            parts = Allocation.objects.filter(line__order=OuterRef("pk"), level__warehouse__code=self.value())
            return queryset.filter(Exists(parts))
        return queryset.filter(warehouse__code=self.value())


class PlacedFilter(admin.SimpleListFilter):
    title = "time of order"
    parameter_name = "placed"
    PERIODS: Mapping[str, tuple[str, timedelta]] = {
        "1d": ("Past 24 hours", timedelta(days=1)),
        "7d": ("Past 7 days", timedelta(days=7)),
        "30d": ("Past 30 days", timedelta(days=30)),
    }

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(value, words) for value, (words, _) in self.PERIODS.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        _, period = self.PERIODS.get(str(self.value()), ("", None))
        return queryset.filter(placed_at__gte=timezone.now() - period) if period else queryset
