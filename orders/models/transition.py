"""The history of an order: every step, who took it and why."""

from django.db import models

from orders.models.line import Units
from orders.models.order import Order
from orders.models.payment import Refund
from orders.models.returns import ReceivedUnits, Return
from orders.models.shipment import Shipment
from webhooks.sources import Fact


class OrderTransition(Fact):
    class Kind(models.TextChoices):
        CREATED = "created", "Placed"
        CONFIRMED = "confirmed", "Confirmed"
        PACKED = "packed", "Packed"
        UNPACKED = "unpacked", "Unpacked"
        SHIPPED = "shipped", "Shipped"
        DELIVERED = "delivered", "Delivered"
        SHIPMENT_RETURNED = "shipment_returned", "Brought back"
        CANCELLED = "cancelled", "Cancelled"
        RETURN_INITIATED = "return_initiated", "Return opened"
        RETURN_RECEIVED = "return_received", "Return received"
        RETURN_CLOSED = "return_closed", "Return closed"
        REFUND_REQUESTED = "refund_requested", "Refund requested"
        REFUND_PROCESSED = "refund_processed", "Refunded"
        REFUND_FAILED = "refund_failed", "Refund failed"
        HELD = "held", "Put on hold"
        RELEASED = "released", "Released"
        WINDOW_CHANGED = "window_changed", "Delivery window changed"

    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="transitions")
    kind = models.CharField(max_length=20, choices=Kind)
    shipment = models.ForeignKey(Shipment, on_delete=models.PROTECT, null=True, blank=True, related_name="transitions")
    goods_return = models.ForeignKey(
        Return, on_delete=models.PROTECT, null=True, blank=True, related_name="transitions"
    )
    refund = models.ForeignKey(Refund, on_delete=models.PROTECT, null=True, blank=True, related_name="transitions")
    from_status = models.CharField(max_length=10, choices=Order.Status, blank=True)
    to_status = models.CharField(max_length=10, choices=Order.Status)
    actor = models.CharField(max_length=150)
    reason = models.CharField(max_length=500, blank=True)
    # What only this step knows: the `units` that were cancelled or never came (line public id -> how many), a
    # delivery's `cod_minor` and `cod_collected_minor`, what was `received` of a return or brought back of a parcel
    # (line public id, units, condition), the holds of `orders.holds`, the window that was promised before.
    details = models.JSONField(default=dict, blank=True)

    def __str__(self) -> str:
        return f"{self.order_id}: {self.get_kind_display()}"

    @property
    def units(self) -> list[Units]:
        """What the step was about: a parcel's contents, the units that were given up, or all that is still wanted."""
        if self.shipment is not None:
            code = self.shipment.warehouse.code
            return [Units(content.line, content.quantity, code) for content in self.shipment.contents]
        if self.kind in {self.Kind.CANCELLED, self.Kind.RETURN_CLOSED}:
            given_up = self.details["units"]
            lines = (line for line in self.order.items if line.public_id in given_up)
            return [Units(line, given_up[line.public_id], line.warehouse_code) for line in lines]
        return [Units(line, line.wanted, line.warehouse_code) for line in self.order.items if line.wanted]

    @property
    def received(self) -> list[ReceivedUnits]:
        """Of a return's receipt, or of a parcel that was brought back: the units, each in one condition."""
        lines = {line.public_id: line for line in self.order.items}
        of_parcel = self.shipment.warehouse.code if self.shipment is not None else None
        return [
            ReceivedUnits(Units(lines[line_id], quantity, of_parcel or lines[line_id].warehouse_code), condition)
            for line_id, quantity, condition in self.details["received"]
        ]

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
