"""Products and stock as tables (CSV): exported, edited by people, and imported again; all rows or none."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from import_export.fields import Field
from import_export.resources import ModelResource
from import_export.results import Result
from import_export.widgets import BooleanWidget, Widget
from tablib import Dataset

from inventory import stock
from inventory.models import Product, StockLevel, StockMovement, Warehouse
from inventory.money import CURRENCIES, MoneyError, from_text, to_text

MOST_ROWS = 1_000
MOST_UNITS = 10**9
# With one of these a cell is a formula to a spreadsheet, wherever its text came from: OWASP's list (CSV injection).
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def disarm(text: str) -> str:
    """As text, whatever it begins with; `read_cell` takes the mark off again."""
    return f"'{text}" if _is_formula(text) else text


def read_cell(text: Any) -> str:
    typed = str(text or "").strip()
    return typed[1:] if typed[:1] == "'" and _is_formula(typed[1:]) else typed


def _is_formula(text: str) -> bool:
    """Or looks like one that was marked already, and must keep that mark."""
    return text.lstrip("'").startswith(FORMULA)


class Differences:
    """What a row changes, cell by cell, in the place of the library's own: that is coloured by inline styles."""

    def __init__(self, table: "Table", row: Any, is_new: bool) -> None:
        self.is_new = is_new
        self.before = self.after = table.told(row)

    def compare_with(self, table: "Table", row: Any) -> None:
        self.after = table.told(row)

    def as_html(self) -> list[SafeString]:
        return [self._cell(old, new) for old, new in zip(self.before, self.after, strict=True)]

    def _cell(self, old: str, new: str) -> SafeString:
        if self.is_new or old == new:
            return format_html("{}", new)
        return format_html("<del>{}</del> <ins>{}</ins>", old, new)


class Table(ModelResource):  # type: ignore[misc]
    """A row that cannot be taken is told in words, and then none is."""

    # Columns that a table must have.
    REQUIRED: Sequence[str] = ()

    def get_diff_class(self) -> type[Differences]:
        return Differences

    def export_field(self, field: Field, instance: Any, **kwargs: Any) -> str:
        return disarm(self._text(field, instance))

    def told(self, row: Any) -> list[str]:
        """The cells that can be imported, for people to read."""
        return [self._text(field, row) for field in self.get_import_fields()]

    def _text(self, field: Field, row: Any) -> str:
        return str(super().export_field(field, row))

    def before_import(self, dataset: Dataset, **_: Any) -> None:
        missing = [name for name in self.REQUIRED if name not in (dataset.headers or ())]
        if missing:
            raise ValidationError(f"The table has no column {', '.join(missing)}. Export one to see how it looks.")
        if len(dataset) > MOST_ROWS:
            raise ValidationError(f"The table has {len(dataset)} rows; {MOST_ROWS} at a time can be imported.")

    def before_import_row(self, row: dict[str, Any], **_: Any) -> None:
        for name, cell in row.items():
            row[name] = read_cell(cell)


class PriceWidget(Widget):  # type: ignore[misc]
    """`12.50`, in the currency of the same row."""

    def clean(self, value: str, row: Mapping[str, str], **_: Any) -> int:
        currency = row["currency"].upper()
        if currency not in CURRENCIES:
            return 0  # Never kept: the currency's own column refuses the row.
        try:
            return from_text(value, currency)
        except MoneyError as error:
            raise ValidationError(str(error)) from None


class CurrencyWidget(Widget):  # type: ignore[misc]
    def clean(self, value: str, row: Mapping[str, str], **_: Any) -> str:
        return value.upper()


class WholeNumber(Widget):  # type: ignore[misc]
    """None where nothing is written."""

    def clean(self, value: str, row: Mapping[str, str], **_: Any) -> int | None:
        if not value:
            return None
        if not (value.isascii() and value.isdecimal()) or int(value) > MOST_UNITS:
            raise ValidationError(f"{value[:40]!r} is not a whole number from 0 to {MOST_UNITS:,}.")
        return int(value)


class YesOrNo(BooleanWidget):  # type: ignore[misc]
    TRUE_VALUES = ("1", "yes", "true", "y")
    FALSE_VALUES = ("0", "no", "false", "n")

    def clean(self, value: str, row: Mapping[str, str], **_: Any) -> bool:
        if value.lower() not in (*self.TRUE_VALUES, *self.FALSE_VALUES):
            raise ValidationError(f"{value[:40]!r} is neither yes nor no.")
        return value.lower() in self.TRUE_VALUES

    def render(self, value: bool, obj: Any = None, **_: Any) -> str:
        return "yes" if value else "no"


class ProductTable(Table):
    """A new SKU is a new product. A product that is not in the table stays as it is."""

    REQUIRED = ("sku", "name", "price_amount", "currency")

    price_amount = Field(attribute="price_minor", column_name="price_amount", widget=PriceWidget())
    currency = Field(attribute="currency", column_name="currency", widget=CurrencyWidget())
    weight_grams = Field(attribute="weight_grams", column_name="weight_grams", widget=WholeNumber())
    is_active = Field(attribute="is_active", column_name="is_active", widget=YesOrNo())

    class Meta:
        model = Product
        fields = ("sku", "name", "price_amount", "currency", "weight_grams", "is_active")
        import_id_fields = ("sku",)
        clean_model_instances = True
        skip_unchanged = True
        use_transactions = True

    def dehydrate_price_amount(self, product: Product) -> str:
        return to_text(product.price_minor, product.currency) if product.currency in CURRENCIES else ""


class StockTable(Table):
    """What was counted: `on_hand` beside the `expected_on_hand` that the counting began with.

    A row becomes a movement, unless the level has moved meanwhile; nothing else of a level can be imported.
    """

    REQUIRED = ("sku", "warehouse", "on_hand", "expected_on_hand")

    sku = Field(attribute="product__sku", column_name="sku", readonly=True)
    warehouse = Field(attribute="warehouse__code", column_name="warehouse", readonly=True)
    on_hand = Field(attribute="on_hand", column_name="on_hand", widget=WholeNumber())
    expected_on_hand = Field(column_name="expected_on_hand", readonly=True)
    reserved = Field(attribute="reserved", column_name="reserved", readonly=True)
    safety_stock = Field(attribute="safety_stock", column_name="safety_stock", readonly=True)
    available = Field(attribute="available", column_name="available", readonly=True)

    class Meta:
        model = StockLevel
        fields = ("sku", "warehouse", "on_hand", "expected_on_hand", "reserved", "safety_stock", "available")
        import_fields = ("sku", "warehouse", "on_hand")
        import_id_fields = ("sku", "warehouse")
        skip_unchanged = True
        use_transactions = True

    def import_data(self, dataset: Dataset, dry_run: bool = False, **kwargs: Any) -> Result:
        """A preview compares and writes nothing: the library's would hold up sales until it is rolled back."""
        if not dry_run:
            return super().import_data(dataset, **kwargs)
        options = {name: kwargs.pop(name, False) for name in ("raise_errors", "collect_failed_rows")}
        return self.import_data_inner(
            dataset, dry_run=True, using_transactions=False, is_preview=True, **options, **kwargs
        )

    def before_import(self, dataset: Dataset, *, is_preview: bool = False, **kwargs: Any) -> None:
        super().before_import(dataset, **kwargs)
        places = Counter(zip(map(read_cell, dataset["sku"]), map(read_cell, dataset["warehouse"]), strict=True))
        if twice := [f"{sku} in {code}" for (sku, code), rows in places.items() if rows > 1]:
            raise ValidationError(f"The table has several rows of {', '.join(twice)}.")
        if not is_preview:
            _lock(places)

    def dehydrate_expected_on_hand(self, level: StockLevel) -> int:
        return level.on_hand

    def get_or_init_instance(self, _: Any, row: Mapping[str, str]) -> tuple[StockLevel, bool]:
        product = Product.objects.filter(sku=row["sku"]).first()
        warehouse = Warehouse.objects.filter(code=row["warehouse"]).first()
        if product is None:
            raise ValidationError({"sku": "There is no such product."})
        if warehouse is None:
            raise ValidationError({"warehouse": "There is no such warehouse."})
        levels = StockLevel.objects.with_lapsed(timezone.now()).select_related("product", "warehouse")
        level = levels.filter(product=product, warehouse=warehouse).first()
        return level or StockLevel(product=product, warehouse=warehouse), level is None

    def save_instance(self, instance: StockLevel, is_create: bool, row: Mapping[str, str], **kwargs: Any) -> None:
        expected = WholeNumber().clean(row["expected_on_hand"], row) or 0
        on_hand = _counted(instance.on_hand)
        if kwargs["dry_run"]:
            stock.check_count(_as_it_is(instance), on_hand=on_hand, expected_on_hand=expected)
            return
        stock.count(
            product=instance.product,
            warehouse=instance.warehouse,
            on_hand=on_hand,
            expected_on_hand=expected,
            reason=StockMovement.Reason.RECOUNTED,
            actor=kwargs["user"].get_username(),
            now=timezone.now(),
        )


def _lock(places: Collection[tuple[str, str]]) -> None:
    """Keep others from writing the levels of these SKUs and warehouses: the rows do, in whatever order they stand."""
    products = Product.objects.in_bulk({sku for sku, _ in places}, field_name="sku")
    warehouses = Warehouse.objects.in_bulk({code for _, code in places}, field_name="code")
    stock.lock_places(
        (products[sku], warehouses[code]) for sku, code in places if sku in products and code in warehouses
    )


def _as_it_is(counted: StockLevel) -> StockLevel:
    """The level without what the row says of it; a new one is empty."""
    kept = StockLevel.objects.select_related("product", "warehouse").filter(pk=counted.pk).first()
    return kept or StockLevel(product=counted.product, warehouse=counted.warehouse)


def _counted(on_hand: int | None) -> int:
    if on_hand is None:
        raise ValidationError({"on_hand": "Say how many were counted."})
    return on_hand
