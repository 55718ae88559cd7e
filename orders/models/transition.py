"""The history of an order: every step, who took it and why."""

from django.db import models

from orders.models.order import Order, Units
from orders.models.shipment import Shipment
from webhooks.sources import Fact


class OrderTransition(Fact):
    class Kind(models.TextChoices):
        CREATED = "created", "Placed"
        CONFIRMED = "confirmed", "Confirmed"
        PACKED = "packed", "Packed"
        SHIPPED = "shipped", "Shipped"
        DELIVERED = "delivered", "Delivered"
        CANCELLED = "cancelled", "Cancelled"
        HELD = "held", "Put on hold"
        RELEASED = "released", "Released"

    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="transitions")
    kind = models.CharField(max_length=20, choices=Kind)
    shipment = models.ForeignKey(Shipment, on_delete=models.PROTECT, null=True, blank=True, related_name="transitions")
    from_status = models.CharField(max_length=10, choices=Order.Status, blank=True)
    to_status = models.CharField(max_length=10, choices=Order.Status)
    actor = models.CharField(max_length=150)
    reason = models.CharField(max_length=500, blank=True)
    # What only this step knows: a cancellation's `units` (line public id -> how many), a delivery's `cod_minor` and
    # `cod_collected_minor`, the holds of `orders.holds`.
    details = models.JSONField(default=dict, blank=True)

    def __str__(self) -> str:
        return f"{self.order_id}: {self.get_kind_display()}"

    @property
    def units(self) -> list[Units]:
        """What the step was about: a parcel's contents, the cancelled units, or all that is still wanted."""
        if self.shipment is not None:
            code = self.shipment.warehouse.code
            return [Units(content.line, content.quantity, code) for content in self.shipment.contents]
        if self.kind == self.Kind.CANCELLED:
            cancelled = self.details["units"]
            lines = (line for line in self.order.items if line.public_id in cancelled)
            return [Units(line, cancelled[line.public_id], line.warehouse_code) for line in lines]
        return [Units(line, line.wanted, line.warehouse_code) for line in self.order.items if line.wanted]

    @property
    def cod_minor(self) -> int | None:
        """Of a delivery: the cash to collect; None when the order is not paid in cash."""
        cod_minor: int | None = self.details.get("cod_minor")
        return cod_minor

    @property
    def cod_collected_minor(self) -> int | None:
        collected_minor: int | None = self.details.get("cod_collected_minor")
        return collected_minor

    @property
    def is_full(self) -> bool:
        """Of a cancellation: nothing of the order is left."""
        return self.to_status == Order.Status.CANCELLED
