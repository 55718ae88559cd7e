"""Products, warehouses and stock in the admin. Stock moves by the action "Adjust", with a reason; its log is read."""

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME, AdminForm
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from inventory import openings, stock
from inventory.forms import AdjustmentForm, LevelForm, NewLevelForm, ProductForm, WarehouseForm
from inventory.lists import ListAdmin, ReadOnlyAdmin
from inventory.models import Product, StockLevel, StockMovement, Warehouse
from inventory.spreadsheets import ProductTable, StockTable
from inventory.stock import InsufficientStock
from inventory.tables import Tables
from webhooks.wording import moment

MOST_ADJUSTED = 100


@admin.register(Product)
class ProductAdmin(Tables, ListAdmin):
    resource_classes = (ProductTable,)
    form = ProductForm
    fields = ("sku", "name", ("price", "currency"), "weight_grams", "is_active", "public_id", "version", "updated_at")
    readonly_fields = ("public_id", "version", "updated_at")
    list_display = ("sku", "name", "price", "available", "is_active", "updated")
    list_filter = ("is_active",)
    search_fields = ("sku", "name")
    search_help_text = "A part of a SKU or name."
    ordering = ("sku",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Product]:
        return Product.objects.with_available(timezone.now())

    @admin.display(description="Price", ordering="price_minor")
    def price(self, product: Product) -> str:
        return product.price

    @admin.display(description="Available", ordering="available")
    def available(self, product: Any) -> int:
        return int(product.available)

    @admin.display(description="Updated", ordering="updated_at")
    def updated(self, product: Product) -> SafeString | str:
        return moment(product.updated_at)


@admin.register(Warehouse)
class WarehouseAdmin(ListAdmin):
    form = WarehouseForm
    list_display = ("code", "name", "country", "priority", "is_active")
    list_filter = ("is_active",)
    search_fields = ("code", "name")
    ordering = ("priority", "code")

    def get_readonly_fields(self, request: HttpRequest, warehouse: Warehouse | None = None) -> tuple[str, ...]:
        """The code stands in what other systems were told, and in their tokens: it stays."""
        return ("code",) if warehouse is not None else ()

    def save_model(self, request: HttpRequest, obj: Warehouse, form: Any, change: bool) -> None:
        """Whether it is open is not written but by the verb, which tells what that changes."""
        if not change:
            obj.save()
            return
        obj.save(update_fields=[name for name in form.changed_data if name != "is_active"])
        if "is_active" in form.changed_data:
            is_active = form.cleaned_data["is_active"]
            openings.open_or_close(obj, is_active=is_active, actor=request.user.get_username(), now=timezone.now())


@admin.register(StockLevel)
class StockLevelAdmin(Tables, ListAdmin):
    resource_classes = (StockTable,)
    form = NewLevelForm
    list_display = ("what", "warehouse", "on_hand", "reserved", "safety_stock", "available", "updated")
    list_display_links = None
    list_filter = ("warehouse",)
    list_select_related = ("product", "warehouse")
    search_fields = ("product__sku", "product__name")
    search_help_text = "A part of a SKU or name."
    ordering = ("product__sku", "warehouse__code")
    actions = ("adjust",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[StockLevel]:
        return StockLevel.objects.with_lapsed(timezone.now())

    @admin.display(description="Product", ordering="product__sku")
    def what(self, level: StockLevel) -> SafeString:
        url = reverse("admin:inventory_stocklevel_change", args=[level.pk])
        product = level.product
        return format_html(
            '<a class="row-title" href="{}">{}</a><span class="sub">{}</span>', url, product, product.name
        )

    @admin.display(description="Updated", ordering="updated_at")
    def updated(self, level: StockLevel) -> SafeString | str:
        return moment(level.updated_at)

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


@admin.register(StockMovement)
class StockMovementAdmin(ReadOnlyAdmin):
    list_display = ("when", "what", "why", "on_hand", "reserved", "reference", "actor")
    list_filter = ("reason", "level__warehouse")
    list_select_related = ("level__product", "level__warehouse")
    search_fields = ("reference",)
    search_help_text = "A whole SKU or reference."
    ordering = ("-id",)
    sortable_by = ()

    @admin.display(description="When")
    def when(self, movement: StockMovement) -> SafeString | str:
        return moment(movement.at)

    @admin.display(description="Product")
    def what(self, movement: StockMovement) -> SafeString:
        level = movement.level
        return format_html('{}<span class="sub">in {}</span>', level.product, level.warehouse)

    @admin.display(description="Reason")
    def why(self, movement: StockMovement) -> str:
        return movement.get_reason_display()

    @admin.display(description="On hand")
    def on_hand(self, movement: StockMovement) -> SafeString:
        return _moved(movement.on_hand_after, movement.on_hand_delta)

    @admin.display(description="Reserved")
    def reserved(self, movement: StockMovement) -> SafeString:
        return _moved(movement.reserved_after, movement.reserved_delta)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """By the two indexes: a join, or a part of a word, would read the whole log."""
        term = search_term.strip()
        if not term:
            return queryset, False
        levels = list(StockLevel.objects.filter(product__sku=term).values_list("pk", flat=True))
        return queryset.filter(Q(reference=term) | Q(level__in=levels)), False


def _moved(after: int, delta: int) -> SafeString:
    """What there is now, and by how much that is more or less than before."""
    return format_html('{}<span class="sub">{}</span>', after, f"{delta:+}" if delta else "")
