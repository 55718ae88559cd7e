"""What of a product an order is for, how far its units have come, and which stock is held for them."""

from dataclasses import dataclass

from django.db import models
from django.db.models import F, Q

from inventory.models import Product, StockLevel
from webhooks.sources import PublicIdField


class OrderLine(models.Model):
    """A product as it was when it was bought, and how many of its units have come how far."""

    public_id = PublicIdField("lin")
    order = models.ForeignKey("orders.Order", on_delete=models.PROTECT, related_name="lines")
    product = models.ForeignKey(Product, on_delete=models.PROTECT, related_name="+")
    sku = models.CharField("SKU", max_length=64)
    name = models.CharField(max_length=200)
    unit_minor = models.PositiveBigIntegerField()
    quantity = models.PositiveIntegerField()
    cancelled = models.PositiveIntegerField(default=0)
    packed = models.PositiveIntegerField(default=0)
    shipped = models.PositiveIntegerField(default=0)
    delivered = models.PositiveIntegerField(default=0)
    returned = models.PositiveIntegerField(default=0, help_text="Back in a warehouse, sellable or not.")
    refunded = models.PositiveIntegerField(default=0, help_text="Cancelled or sent back, and their money given back.")
    warehouse_code = models.CharField(max_length=32, blank=True, help_text="Empty when several warehouses share it.")

    class Meta:
        constraints = [
            models.CheckConstraint(name="line_quantity_positive", condition=Q(quantity__gte=1)),
            models.CheckConstraint(
                name="line_packed_and_cancelled_within_quantity",
                condition=Q(quantity__gte=F("packed") + F("cancelled")),
            ),
            models.CheckConstraint(name="line_shipped_within_packed", condition=Q(shipped__lte=F("packed"))),
            models.CheckConstraint(name="line_delivered_within_shipped", condition=Q(delivered__lte=F("shipped"))),
            models.CheckConstraint(name="line_returned_within_delivered", condition=Q(returned__lte=F("delivered"))),
            models.CheckConstraint(
                name="line_refunded_within_cancelled_and_delivered",
                condition=Q(refunded__lte=F("cancelled") + F("delivered")),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.quantity} × {self.sku}"

    @property
    def unpacked(self) -> int:
        """Units that can still be packed or cancelled."""
        return self.wanted - self.packed

    @property
    def wanted(self) -> int:
        """Units that are not cancelled: what is to be packed, shipped and delivered in the end."""
        return self.quantity - self.cancelled


@dataclass(frozen=True)
class Units:
    """Some units of a line: those a step of the order is about."""

    line: OrderLine
    quantity: int
    warehouse_code: str

    @property
    def currency(self) -> str:
        return self.line.order.currency

    @property
    def unit_minor(self) -> int:
        return self.line.unit_minor

    @property
    def total_minor(self) -> int:
        return self.unit_minor * self.quantity


class Allocation(models.Model):
    """Units of a line that one warehouse holds for it. All of an order's expire together: `Order.hold_expires_at`."""

    line = models.ForeignKey(OrderLine, on_delete=models.PROTECT, related_name="allocations")
    level = models.ForeignKey(StockLevel, on_delete=models.PROTECT, related_name="+")
    quantity = models.PositiveIntegerField()
    packed = models.PositiveIntegerField(default=0)
    expires_at = models.DateTimeField(null=True, blank=True, help_text="Empty: kept until it is packed or cancelled.")

    class Meta:
        indexes = [
            models.Index(
                fields=["level", "expires_at"],
                name="allocation_expiring",
                condition=Q(expires_at__isnull=False, quantity__gt=0),
            ),
        ]
        constraints = [
            models.UniqueConstraint("line", "level", name="allocation_once_per_level"),
            models.CheckConstraint(name="allocation_packed_within_quantity", condition=Q(packed__lte=F("quantity"))),
        ]

    def __str__(self) -> str:
        return f"{self.quantity} of {self.line_id} from {self.level_id}"

    @property
    def unpacked(self) -> int:
        return self.quantity - self.packed
