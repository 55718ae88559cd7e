"""Products, warehouses and stock in the admin. Stock moves by the action "Adjust", with a reason; its log is read."""

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME, AdminForm
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.functional import cached_property

from inventory import stock
from inventory.forms import AdjustmentForm, LevelForm, NewLevelForm, ProductForm, WarehouseForm
from inventory.models import Product, StockLevel, StockMovement, Warehouse
from inventory.spreadsheets import ProductTable, StockTable
from inventory.stock import InsufficientStock
from inventory.tables import Tables

MOST_ADJUSTED = 100
MOST_COUNTED = 10_000


class NeverDeleted(admin.ModelAdmin):  # type: ignore[type-arg]
    """What others refer to is put out of use, not deleted."""

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Product)
class ProductAdmin(Tables, NeverDeleted):
    resource_classes = (ProductTable,)
    form = ProductForm
    fields = ("sku", "name", ("price", "currency"), "weight_grams", "is_active", "public_id", "version", "updated_at")
    readonly_fields = ("public_id", "version", "updated_at")
    list_display = ("sku", "name", "price", "available", "is_active", "updated_at")
    list_filter = ("is_active",)
    search_fields = ("sku", "name")
    ordering = ("sku",)
    show_full_result_count = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Product]:
        return Product.objects.with_available(timezone.now())

    @admin.display(description="Price", ordering="price_minor")
    def price(self, product: Product) -> str:
        return product.price

    @admin.display(description="Available", ordering="available")
    def available(self, product: Any) -> int:
        return int(product.available)


@admin.register(Warehouse)
class WarehouseAdmin(NeverDeleted):
    form = WarehouseForm
    list_display = ("code", "name", "country", "priority", "is_active")
    list_filter = ("is_active",)
    search_fields = ("code", "name")
    ordering = ("priority", "code")


@admin.register(StockLevel)
class StockLevelAdmin(Tables, NeverDeleted):
    resource_classes = (StockTable,)
    form = NewLevelForm
    list_display = ("sku", "name", "warehouse", "on_hand", "reserved", "safety_stock", "available", "updated_at")
    list_filter = ("warehouse",)
    list_select_related = ("product", "warehouse")
    search_fields = ("product__sku", "product__name")
    ordering = ("product__sku", "warehouse__code")
    show_full_result_count = False
    actions = ("adjust",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[StockLevel]:
        return StockLevel.objects.with_lapsed(timezone.now())

    @admin.display(description="SKU", ordering="product__sku")
    def sku(self, level: StockLevel) -> str:
        return level.product.sku

    @admin.display(description="Name", ordering="product__name")
    def name(self, level: StockLevel) -> str:
        return level.product.name

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """A new level begins empty; of one there is, only what is kept back, and what is low, can be set."""
        if obj is not None:
            kwargs["form"] = LevelForm
        return super().get_form(request, obj, change, **kwargs)

    def get_fields(self, request: HttpRequest, obj: StockLevel | None = None) -> tuple[str, ...]:
        places = ("product", "warehouse")
        if obj is None:
            return places
        return (*places, "on_hand", "reserved", "available", "safety_stock", "low_stock_threshold", "updated_at")

    def get_readonly_fields(self, request: HttpRequest, obj: StockLevel | None = None) -> tuple[str, ...]:
        return () if obj is None else ("product", "warehouse", "on_hand", "reserved", "available", "updated_at")

    def save_model(self, request: HttpRequest, obj: StockLevel, form: Any, change: bool) -> None:
        obj.save(update_fields=["low_stock_threshold"] if change else None)
        if "safety_stock" in form.changed_data:
            safety_stock = form.cleaned_data["safety_stock"]
            stock.keep_back(obj, safety_stock=safety_stock, actor=request.user.get_username(), now=timezone.now())

    @admin.action(description="Adjust the stock…", permissions=["change"])
    def adjust(self, request: HttpRequest, queryset: QuerySet[StockLevel]) -> HttpResponse | None:
        levels = list(queryset.select_related("product", "warehouse")[: MOST_ADJUSTED + 1])
        if len(levels) > MOST_ADJUSTED:
            self.message_user(request, f"Choose {MOST_ADJUSTED} rows at most.", messages.ERROR)
            return None
        form = AdjustmentForm(request.POST if "apply" in request.POST else None, levels=levels)
        if not form.is_valid():
            return self._ask(request, form)
        self._adjust(request, form)
        return None

    def _ask(self, request: HttpRequest, form: AdjustmentForm) -> HttpResponse:
        fieldsets = [
            ("Units to add or take off", {"fields": list(form.levels)}),
            (None, {"fields": ["reason", "reference"]}),
        ]
        context = {
            **self.admin_site.each_context(request),
            "title": "Adjust the stock",
            "opts": self.opts,
            "adminform": AdminForm(form, fieldsets, {}, model_admin=self),  # type: ignore[arg-type]
            "media": self.media + form.media,
            "levels": form.levels.values(),
            "action_checkbox_name": ACTION_CHECKBOX_NAME,
        }
        return TemplateResponse(request, "admin/inventory/stocklevel/adjust.html", context)

    def _adjust(self, request: HttpRequest, form: AdjustmentForm) -> None:
        """Each row is done or refused by itself."""
        for level, delta in form.deltas():
            try:
                moved = stock.adjust(
                    product=level.product,
                    warehouse=level.warehouse,
                    delta=delta,
                    reason=form.cleaned_data["reason"],
                    reference=form.cleaned_data["reference"],
                    actor=request.user.get_username(),
                    now=timezone.now(),
                )
            except InsufficientStock as error:
                self.message_user(request, f"{level}: {error}", messages.ERROR)
            else:
                self.message_user(request, f"{level}: {delta:+}, now {moved.on_hand_after} on hand.", messages.SUCCESS)


class CappedPaginator(Paginator):  # type: ignore[type-arg]
    """Counts no further than MOST_COUNTED: the log's pages cost the same however long it is."""

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        return int(rows.order_by()[:MOST_COUNTED].count())


@admin.register(StockMovement)
class StockMovementAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = (
        "at",
        "sku",
        "warehouse",
        "reason",
        "on_hand_delta",
        "reserved_delta",
        "on_hand_after",
        "reserved_after",
        "reference",
        "actor",
    )
    list_filter = ("reason", "level__warehouse")
    list_select_related = ("level__product", "level__warehouse")
    list_max_show_all = 0
    search_fields = ("reference",)
    search_help_text = "A whole SKU or reference."
    ordering = ("-id",)
    paginator = CappedPaginator
    show_facets = admin.ShowFacets.NEVER
    show_full_result_count = False

    @admin.display(description="SKU")
    def sku(self, movement: StockMovement) -> str:
        return movement.level.product.sku

    @admin.display(description="Warehouse")
    def warehouse(self, movement: StockMovement) -> str:
        return movement.level.warehouse.code

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """By the two indexes: a join, or a part of a word, would read the whole log."""
        term = search_term.strip()
        if not term:
            return queryset, False
        levels = list(StockLevel.objects.filter(product__sku=term).values_list("pk", flat=True))
        return queryset.filter(Q(reference=term) | Q(level__in=levels)), False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
