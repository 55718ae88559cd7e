"""A parcel on its way: one warehouse, one tracking number, and what the courier said about it."""

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils.functional import cached_property

from inventory.models import StockLevel, Warehouse
from orders.models.line import OrderLine
from orders.models.order import Order
from webhooks.sources import Fact, PublicIdField


class TrackingStatus(models.TextChoices):
    LABEL_CREATED = "label_created", "Label created"
    PICKED_UP = "picked_up", "Picked up"
    IN_TRANSIT = "in_transit", "In transit"
    DELAYED = "delayed", "Delayed"
    ARRIVED_AT_HUB = "arrived_at_hub", "Arrived at hub"
    OUT_FOR_DELIVERY = "out_for_delivery", "Out for delivery"
    ATTEMPT_FAILED = "attempt_failed", "Delivery attempt failed"
    READY_FOR_PICKUP = "ready_for_pickup", "Ready for pick-up"
    DELIVERED = "delivered", "Delivered"
    RETURN_TO_SENDER = "return_to_sender", "On its way back"
    RETURNED = "returned", "Returned to sender"
    LOST = "lost", "Lost"


# When a courier says so, it will not be delivered any more: somebody has to look at the goods, or to give them up.
NOT_TO_ARRIVE = frozenset({TrackingStatus.RETURNED, TrackingStatus.LOST})


class Fate(models.TextChoices):
    """What has become of units of a parcel that did not reach its customer."""

    SELLABLE = "sellable", "Sellable"
    DAMAGED = "damaged", "Damaged"
    LOST = "lost", "Lost"


class Shipment(models.Model):
    class State(models.TextChoices):
        PACKED = "packed", "Packed"
        UNPACKED = "unpacked", "Unpacked"
        SHIPPED = "shipped", "Shipped"
        DELIVERED = "delivered", "Delivered"
        RETURNED = "returned", "Brought back"

    ON_THE_WAY: ClassVar = frozenset({State.PACKED, State.SHIPPED, State.DELIVERED})

    public_id = PublicIdField("shp")
    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="shipments")
    warehouse = models.ForeignKey(Warehouse, on_delete=models.PROTECT, related_name="+")
    index = models.PositiveIntegerField(help_text="1 for the order's first parcel.")
    state = models.CharField(max_length=10, choices=State, default=State.PACKED)

    packed_at = models.DateTimeField()
    packed_by = models.CharField(max_length=150)
    package_count = models.PositiveIntegerField(default=1)
    weight_grams = models.PositiveIntegerField(null=True, blank=True)

    carrier = models.CharField(max_length=60, blank=True)
    carrier_service = models.CharField(max_length=60, blank=True)
    tracking_number = models.CharField(max_length=80, blank=True, db_index=True, help_text="Empty: sent untracked.")
    tracking_url = models.URLField(max_length=500, blank=True)
    shipped_at = models.DateTimeField(null=True, blank=True)
    estimated_delivery_at = models.DateTimeField(null=True, blank=True)
    tracking_status = models.CharField(max_length=20, choices=TrackingStatus, blank=True)

    delivered_at = models.DateTimeField(null=True, blank=True)
    received_by = models.CharField(max_length=150, blank=True)
    returned_at = models.DateTimeField(
        null=True, blank=True, help_text="When it was brought back, or given up as lost."
    )
    delivery_source = models.CharField(max_length=60, blank=True, help_text="Who said so: a courier, a 3PL or staff.")

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="shipment_back_when_returned", condition=~Q(state="returned") | Q(returned_at__isnull=False)
            ),
            models.UniqueConstraint("order", "index", name="shipment_index_once_per_order"),
            models.CheckConstraint(
                name="shipment_left_when_shipped",
                condition=Q(state__in=["packed", "unpacked"]) | Q(shipped_at__isnull=False),
            ),
            models.CheckConstraint(
                name="shipment_arrived_when_delivered", condition=~Q(state="delivered") | Q(delivered_at__isnull=False)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.order.number}-{self.index}"

    @cached_property
    def contents(self) -> "list[ShipmentLine]":
        """What is in it. Their lines are the very objects of the order's `items`."""
        return self.order.joined(self.lines.all())

    @property
    def order_complete(self) -> bool:
        """Whether all of the order has come as far as this parcel has; False once it is no parcel any more."""
        if self.state not in self.ON_THE_WAY:
            return False
        # Such a state of a parcel is also the name of the lines' counter of units that reached it.
        return all(getattr(line, self.state) == line.wanted for line in self.order.items)

    @property
    def is_to_be_brought_back(self) -> bool:
        """Its courier has it no more, and its customer will not get it."""
        return self.state == self.State.SHIPPED and self.tracking_status in NOT_TO_ARRIVE

    @property
    def value_minor(self) -> int:
        return sum(content.line.unit_minor * content.quantity for content in self.contents)


class ShipmentLine(models.Model):
    """Units of a line in a parcel, and the stock level they leave."""

    shipment = models.ForeignKey(Shipment, on_delete=models.PROTECT, related_name="lines")
    line = models.ForeignKey(OrderLine, on_delete=models.PROTECT, related_name="shipment_lines")
    level = models.ForeignKey(StockLevel, on_delete=models.PROTECT, related_name="+")
    quantity = models.PositiveIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint("shipment", "line", name="shipment_line_once"),
            models.CheckConstraint(name="shipment_line_quantity_positive", condition=Q(quantity__gte=1)),
        ]

    def __str__(self) -> str:
        return f"{self.quantity} × {self.line.sku}"


class TrackingUpdate(Fact):
    """What a courier said about a parcel, and when it happened. `at` is when we heard."""

    shipment = models.ForeignKey(Shipment, on_delete=models.PROTECT, related_name="tracking_updates", db_index=False)
    status = models.CharField(max_length=20, choices=TrackingStatus)
    previous_status = models.CharField(max_length=20, choices=TrackingStatus, blank=True)
    occurred_at = models.DateTimeField()
    message = models.CharField(max_length=500, blank=True)
    location = models.CharField(max_length=200, blank=True)
    estimated_delivery_at = models.DateTimeField(null=True, blank=True)
    source = models.CharField(max_length=60)
    is_late = models.BooleanField(
        default=False, help_text="Overtaken by a later scan: in the timeline, but told to nobody."
    )

    class Meta:
        constraints = [
            models.UniqueConstraint("shipment", "occurred_at", "status", name="tracking_scan_once"),
        ]

    def __str__(self) -> str:
        return f"{self.shipment_id}: {self.get_status_display()}"

    @property
    def order(self) -> Order:
        return self.shipment.order
