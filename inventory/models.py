"""What can be sold (Product), where it lies (Warehouse, StockLevel), and every change of it (StockMovement)."""

from datetime import UTC, datetime, time, tzinfo
from typing import ClassVar, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, RegexValidator
from django.db import models
from django.db.models import F, OuterRef, Q, Subquery, Sum
from django.db.models.functions import Coalesce, Greatest

from inventory import lapses
from inventory.money import display, validate_currency
from webhooks.sources import Fact, PublicIdField, WatchedModel

SKU_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]*"
# The most days that handling, or the road, may take.
MOST_DAYS = 365
is_code = RegexValidator(rf"\A{SKU_PATTERN}\Z", "Letters, digits, full stops, hyphens and underscores only.")
is_country = RegexValidator(r"\A[A-Z]{2}\Z", "A country is two capital letters, such as DE.")


def validate_countries(countries: object) -> None:
    """A list of ISO 3166 codes, as `Warehouse.ships_to` keeps them."""
    if not isinstance(countries, list):
        raise ValidationError('Countries are a list such as ["DE", "AT"].')
    for country in countries:
        is_country(country)


def validate_time_zone(name: str) -> None:
    try:
        read_time_zone(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValidationError(f"{name!r} is not a time zone such as Europe/Berlin.", code="time_zone") from None


def read_time_zone(name: str) -> tzinfo:
    # A machine without a time zone database knows UTC at least.
    return UTC if name == "UTC" else ZoneInfo(name)


def validate_transit(days: object) -> None:
    """`{"AT": [2, 4]}`: as `Warehouse.transit_days` keeps them."""
    if not isinstance(days, dict):
        raise ValidationError('Days on the road are such as {"AT": [2, 4]}.')
    validate_countries(list(days))
    for country, window in days.items():
        match window:
            case [int(soonest), int(latest)] if 0 <= soonest <= latest <= MOST_DAYS:
                continue
        raise ValidationError(f"{country}: the days on the road are two numbers, the smaller first, such as 2-4.")


class ProductQuerySet(models.QuerySet["Product"]):
    def with_available(self, now: datetime) -> Self:
        """Each with `available`: what all active warehouses together can still sell."""
        levels = StockLevel.objects.with_lapsed(now).filter(product=OuterRef("pk"), warehouse__is_active=True)
        total = levels.order_by().values("product").annotate(total=Sum(StockLevel.AVAILABLE)).values("total")
        return self.annotate(available=Coalesce(Subquery(total), 0, output_field=models.BigIntegerField()))


class Product(WatchedModel):
    WATCHED: ClassVar[tuple[str, ...]] = ("sku", "name", "price_minor", "currency", "is_active", "weight_grams")

    public_id = PublicIdField("prd")
    sku = models.CharField("SKU", max_length=64, unique=True, validators=[is_code])
    name = models.CharField(max_length=200)
    price_minor = models.PositiveBigIntegerField("price")
    currency = models.CharField(max_length=3, validators=[validate_currency])
    weight_grams = models.PositiveIntegerField(
        "weight in grams", null=True, blank=True, validators=[MaxValueValidator(10**9)]
    )
    is_active = models.BooleanField("active", default=True, help_text="Only active products are shown and sold.")

    objects = ProductQuerySet.as_manager()

    def __str__(self) -> str:
        return self.sku

    @property
    def price(self) -> str:
        return display(self.price_minor, self.currency)


class Warehouse(models.Model):
    code = models.CharField(max_length=32, unique=True, validators=[is_code])
    name = models.CharField(max_length=100)
    country = models.CharField(max_length=2, validators=[is_country])
    priority = models.PositiveSmallIntegerField(
        default=100, validators=[MaxValueValidator(9999)], help_text="The lowest number is asked first."
    )
    handling_days = models.PositiveSmallIntegerField(
        default=1, validators=[MaxValueValidator(MOST_DAYS)], help_text="Working days from order to dispatch."
    )
    cutoff = models.TimeField(
        "cut-off", default=time(14), help_text="In its own time zone. Later orders count as the next working day's."
    )
    time_zone = models.CharField(
        max_length=50, default="UTC", validators=[validate_time_zone], help_text="Such as Europe/Berlin."
    )
    transit_days = models.JSONField(
        "days on the road",
        default=dict,
        blank=True,
        validators=[validate_transit],
        help_text="Working days at best and at worst, by country. Without: 1 to 3 at home, 3 to 8 abroad.",
    )
    ships_to = models.JSONField(
        default=list, blank=True, validators=[validate_countries], help_text="Countries. Empty: everywhere."
    )
    is_active = models.BooleanField("active", default=True, help_text="Only active warehouses are given orders.")

    def __str__(self) -> str:
        return self.code

    @property
    def zone(self) -> tzinfo:
        return read_time_zone(self.time_zone)

    def can_ship_to(self, country: str) -> bool:
        return not self.ships_to or country in self.ships_to


class StockLevelQuerySet(models.QuerySet["StockLevel"]):
    def with_lapsed(self, now: datetime) -> Self:
        """Each with `lapsed`, which `available` counts in."""
        return self.annotate(lapsed=lapses.units(now))


class StockLevel(models.Model):
    """How much of a product one warehouse has.

    Written by `inventory.stock` alone, each time with a StockMovement; but for the threshold, which staff set.
    """

    # The same sum as the property, where the database does it.
    AVAILABLE: ClassVar = Greatest(F("on_hand") - F("reserved") + F("lapsed") - F("safety_stock"), 0)
    # Reserved units whose time is over: set by `with_lapsed`.
    lapsed = 0

    product = models.ForeignKey(Product, on_delete=models.PROTECT, related_name="levels", db_index=False)
    warehouse = models.ForeignKey(Warehouse, on_delete=models.PROTECT, related_name="levels")
    on_hand = models.BigIntegerField(default=0, editable=False)
    reserved = models.BigIntegerField(default=0, editable=False)
    safety_stock = models.BigIntegerField(default=0, help_text="Units kept back from every channel but the till.")
    low_stock_threshold = models.PositiveBigIntegerField(
        null=True, blank=True, help_text="Told of as low when what is available falls to it. Without: never."
    )
    version = models.PositiveBigIntegerField(default=0, editable=False, help_text="Counts its movements.")
    updated_at = models.DateTimeField(auto_now_add=True, db_index=True)

    objects = StockLevelQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint("product", "warehouse", name="stock_level_once_per_warehouse"),
            models.CheckConstraint(name="stock_on_hand_not_negative", condition=Q(on_hand__gte=0)),
            models.CheckConstraint(name="stock_reserved_not_negative", condition=Q(reserved__gte=0)),
            models.CheckConstraint(name="stock_reserved_within_on_hand", condition=Q(reserved__lte=F("on_hand"))),
            models.CheckConstraint(name="stock_safety_not_negative", condition=Q(safety_stock__gte=0)),
        ]

    def __str__(self) -> str:
        return f"{self.product} in {self.warehouse}"

    @property
    def available(self) -> int:
        return available(self.on_hand, self.reserved - self.lapsed, self.safety_stock)

    @property
    def unreserved(self) -> int:
        """As `available`, but lapsed units count once they are released: only a movement changes this."""
        return available(self.on_hand, self.reserved, self.safety_stock)


class StockMovement(Fact):
    """One change of a level: by how much, and what it was after. The ledger that `audit` adds up."""

    class Reason(models.TextChoices):
        RESERVED = "reserved", "Reserved for an order"
        RELEASED = "released", "Released by an order"
        SHIPPED = "shipped", "Shipped"
        SOLD = "sold", "Sold by a till or marketplace"
        RECEIVED = "received", "Received from a supplier"
        RECOUNTED = "recounted", "Recounted"
        DAMAGED = "damaged", "Damaged or lost"
        RETURNED = "returned", "Returned by a customer"
        ADJUSTED = "adjusted", "Adjusted for another reason"
        SAFETY_STOCK = "safety_stock", "Safety stock changed"
        WAREHOUSE_OPENED = "warehouse_opened", "Warehouse opened"
        WAREHOUSE_CLOSED = "warehouse_closed", "Warehouse closed"

    # What a person, or a warehouse's own system, may give as the reason of an adjustment.
    ADJUSTMENTS: ClassVar = (Reason.RECEIVED, Reason.RECOUNTED, Reason.DAMAGED, Reason.RETURNED, Reason.ADJUSTED)
    # `unreserved` of the product in all active warehouses, before and after: set by `inventory.stock`.
    total_before = total_after = 0

    level = models.ForeignKey(StockLevel, on_delete=models.PROTECT, related_name="movements", db_index=False)
    on_hand_delta = models.BigIntegerField(default=0)
    reserved_delta = models.BigIntegerField(default=0)
    safety_stock_delta = models.BigIntegerField(default=0)
    on_hand_after = models.BigIntegerField()
    reserved_after = models.BigIntegerField()
    safety_stock_after = models.BigIntegerField()
    version = models.PositiveBigIntegerField(help_text="The level's, after this movement.")
    reason = models.CharField(max_length=20, choices=Reason)
    reference = models.CharField(max_length=100, blank=True, db_index=True)
    actor = models.CharField(max_length=150)

    class Meta:
        constraints = [models.UniqueConstraint("level", "version", name="stock_movement_once_per_version")]

    def __str__(self) -> str:
        return f"{self.level}: {self.get_reason_display()}"

    @property
    def available_after(self) -> int:
        return available(self.on_hand_after, self.reserved_after, self.safety_stock_after)

    @property
    def available_before(self) -> int:
        return available(
            self.on_hand_after - self.on_hand_delta,
            self.reserved_after - self.reserved_delta,
            self.safety_stock_after - self.safety_stock_delta,
        )

    @property
    def available_delta(self) -> int:
        return self.available_after - self.available_before

    @property
    def total_delta(self) -> int:
        """By how much it changes what all active warehouses have: one that opens brings all that it has, and one that
        closes takes it away."""
        match self.reason:
            case self.Reason.WAREHOUSE_OPENED:
                return self.available_after
            case self.Reason.WAREHOUSE_CLOSED:
                return -self.available_after
        return self.available_delta if self.level.warehouse.is_active else 0

    @property
    def became_low(self) -> bool:
        threshold = self.level.low_stock_threshold
        return threshold is not None and self.available_after <= threshold < self.available_before

    @property
    def ran_out(self) -> bool:
        return self.total_before > 0 == self.total_after

    @property
    def came_back(self) -> bool:
        return self.total_before == 0 < self.total_after


class Sale(models.Model):
    """What a till or marketplace sold from a warehouse. A `reference` is taken once: repeated, it sells nothing."""

    warehouse = models.ForeignKey(Warehouse, on_delete=models.PROTECT, related_name="+", db_index=False)
    reference = models.CharField(max_length=100)
    channel = models.CharField(max_length=32, blank=True, help_text="Of the token that told of it.")
    # SKU -> units.
    lines = models.JSONField()
    sold_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint("warehouse", "reference", name="sale_reference_once")]

    def __str__(self) -> str:
        return self.reference


def available(on_hand: int, reserved: int, safety_stock: int) -> int:
    """What may still be sold; never below zero, even where the safety stock has been eaten into."""
    return max(0, on_hand - reserved - safety_stock)
