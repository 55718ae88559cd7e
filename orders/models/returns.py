"""Delivered units that come back: announced by whoever opens the return, counted by whoever receives it."""

from dataclasses import dataclass

from django.db import models
from django.db.models import F, Q
from django.utils.functional import cached_property

from orders.models.line import OrderLine, Units
from orders.models.order import Order
from webhooks.sources import PublicIdField


class Return(models.Model):
    class State(models.TextChoices):
        INITIATED = "initiated", "Awaited"
        PARTIALLY_RECEIVED = "partially_received", "Partially received"
        RECEIVED = "received", "Received"
        CLOSED = "closed", "Closed"

    public_id = PublicIdField("ret")
    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="returns")
    number = models.CharField(max_length=30, unique=True, help_text="The order's, and which return of it this is.")
    state = models.CharField(max_length=20, choices=State, default=State.INITIATED)
    reason = models.CharField(max_length=500)
    expected_refund_minor = models.PositiveBigIntegerField(help_text="The units' worth, as far as they are paid.")
    initiated_at = models.DateTimeField()
    initiated_by = models.CharField(max_length=150)
    received_at = models.DateTimeField(null=True, blank=True, help_text="When the latest units came.")
    received_by = models.CharField(max_length=150, blank=True)

    class Meta:
        indexes = [models.Index(fields=["state", "-id"], name="return_by_state")]
        constraints = [
            models.CheckConstraint(
                name="return_came_when_received",
                condition=Q(state__in=["initiated", "closed"]) | Q(received_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return self.number

    @cached_property
    def contents(self) -> "list[ReturnLine]":
        """What is sent back. Their lines are the very objects of the order's `items`."""
        return self.order.joined(self.lines.all())

    @property
    def is_complete(self) -> bool:
        """Nothing of it is still to come."""
        return self.state in {self.State.RECEIVED, self.State.CLOSED}


class ReturnLine(models.Model):
    """Units of a line on their way back, and in what condition those were that came."""

    goods_return = models.ForeignKey(Return, on_delete=models.PROTECT, related_name="lines")
    line = models.ForeignKey(OrderLine, on_delete=models.PROTECT, related_name="return_lines")
    quantity = models.PositiveIntegerField()
    reason = models.CharField(max_length=500, blank=True)
    sellable = models.PositiveIntegerField(default=0, help_text="Came back, and are on sale again.")
    damaged = models.PositiveIntegerField(default=0, help_text="Came back, and are written off.")
    let_go = models.PositiveIntegerField(default=0, help_text="Never came, and can be sent back in another return.")

    class Meta:
        constraints = [
            models.UniqueConstraint("goods_return", "line", name="return_line_once"),
            models.CheckConstraint(name="return_line_quantity_positive", condition=Q(quantity__gte=1)),
            models.CheckConstraint(
                name="return_line_received_within_quantity",
                condition=Q(quantity__gte=F("sellable") + F("damaged") + F("let_go")),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.quantity} × {self.line.sku}"

    @property
    def received(self) -> int:
        return self.sellable + self.damaged

    @property
    def awaited(self) -> int:
        is_closed = self.goods_return.state == Return.State.CLOSED
        return 0 if is_closed else self.quantity - self.received

    @property
    def kept(self) -> int:
        """Units that are in this return and in no other."""
        return self.quantity - self.let_go

    @property
    def units(self) -> Units:
        return Units(self.line, self.quantity, self.line.warehouse_code)


class Condition(models.TextChoices):
    """Each is also the name of the counter of a ReturnLine."""

    SELLABLE = "sellable", "Sellable"
    DAMAGED = "damaged", "Damaged"


@dataclass(frozen=True)
class ReceivedUnits:
    """Units that came back, in one condition."""

    units: Units
    condition: str
