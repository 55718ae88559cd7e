"""An order: what was bought, by whom, for how much, and how far it has come."""

import secrets
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Self

from django.conf import settings
from django.db import models
from django.db.models import F, Prefetch, Q
from django.db.models.functions import Cast
from django.utils import timezone
from django.utils.functional import cached_property

from orders.models.customer import Customer
from orders.models.line import OrderLine
from webhooks.adding import CompiledInsert
from webhooks.sources import PublicIdField

if TYPE_CHECKING:
    from orders.models.payment import Payment

FIRST_NUMBER = 1001


def new_tracking_token() -> str:
    return secrets.token_urlsafe(24)


class OrderQuerySet(models.QuerySet["Order"]):
    def with_items(self) -> Self:
        """Each with its customer and its `items`, for two statements in all."""
        lines = OrderLine.objects.select_related("product").order_by("pk")
        return self.select_related("customer").prefetch_related(Prefetch("lines", lines, to_attr="items"))


class Order(CompiledInsert):
    """Written by the verbs alone (`checkout`, `payments`, `fulfilment`), each under `transitions.lock`."""

    class Channel(models.TextChoices):
        """Where an order may be placed. Older ones may have come by others."""

        WEB = "web", "Web shop"
        POS = "pos", "Till"
        MARKETPLACE = "marketplace", "Marketplace"
        ERP = "erp", "ERP"

    class State(models.TextChoices):
        PENDING = "pending", "Pending"
        CONFIRMED = "confirmed", "Confirmed"
        COMPLETED = "completed", "Completed"
        CANCELLED = "cancelled", "Cancelled"

    class Fulfilment(models.TextChoices):
        UNFULFILLED = "unfulfilled", "Unfulfilled"
        PARTIALLY_PACKED = "partially_packed", "Partially packed"
        PACKED = "packed", "Packed"
        PARTIALLY_SHIPPED = "partially_shipped", "Partially shipped"
        SHIPPED = "shipped", "Shipped"
        PARTIALLY_DELIVERED = "partially_delivered", "Partially delivered"
        DELIVERED = "delivered", "Delivered"
        RETURNED = "returned", "Returned"

    class PaymentStatus(models.TextChoices):
        UNPAID = "unpaid", "Unpaid"
        AUTHORISED = "authorised", "Authorised"
        PAID = "paid", "Paid"
        COD_PENDING = "cod_pending", "Cash on delivery"
        FAILED = "failed", "Failed"
        PARTIALLY_REFUNDED = "partially_refunded", "Partially refunded"
        REFUNDED = "refunded", "Refunded"

    class Status(models.TextChoices):
        """The one public word, made of the three above and the hold."""

        PENDING = "pending", "Pending"
        CONFIRMED = "confirmed", "Confirmed"
        ON_HOLD = "on_hold", "On hold"
        PACKED = "packed", "Packed"
        SHIPPED = "shipped", "Shipped"
        DELIVERED = "delivered", "Delivered"
        RETURNED = "returned", "Returned"
        CANCELLED = "cancelled", "Cancelled"

    # Part of an order packed, shipped or delivered leaves the whole at the stage before.
    STAGES: ClassVar = {
        Fulfilment.PARTIALLY_SHIPPED: Status.PACKED,
        Fulfilment.PACKED: Status.PACKED,
        Fulfilment.PARTIALLY_DELIVERED: Status.SHIPPED,
        Fulfilment.SHIPPED: Status.SHIPPED,
        Fulfilment.DELIVERED: Status.DELIVERED,
        Fulfilment.RETURNED: Status.RETURNED,
    }
    CASH_ON_DELIVERY: ClassVar = frozenset({"cod", "cash_on_delivery"})

    public_id = PublicIdField("ord")
    number = models.GeneratedField(
        expression=Cast(F("id") + FIRST_NUMBER - 1, models.CharField(max_length=20)),
        output_field=models.CharField(max_length=20),
        db_persist=True,
        unique=True,
    )
    tracking_token = models.CharField(max_length=64, unique=True, default=new_tracking_token, editable=False)
    channel = models.CharField(max_length=40, default=Channel.WEB)
    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="orders")

    contact_name = models.CharField(max_length=200, blank=True)
    contact_email = models.EmailField()
    contact_phone = models.CharField(max_length=40, blank=True)
    locale = models.CharField(max_length=20, default="en")

    address_name = models.CharField(max_length=200)
    address_line1 = models.CharField(max_length=200)
    address_line2 = models.CharField(max_length=200, blank=True)
    address_city = models.CharField(max_length=100)
    address_region = models.CharField(max_length=100, blank=True)
    address_postal_code = models.CharField(max_length=20, blank=True)
    address_country = models.CharField(max_length=2)
    address_phone = models.CharField(max_length=40, blank=True)

    currency = models.CharField(max_length=3)
    subtotal_minor = models.PositiveBigIntegerField()
    shipping_minor = models.PositiveBigIntegerField(default=0)
    discount_minor = models.PositiveBigIntegerField(default=0)
    tax_minor = models.PositiveBigIntegerField(default=0)
    total_minor = models.PositiveBigIntegerField()
    cancelled_minor = models.PositiveBigIntegerField(default=0, help_text="What cancelled units take off the total.")
    credited_minor = models.PositiveBigIntegerField(
        default=0, help_text="What refunds and unpaid returns take off the total beyond that."
    )
    authorised_minor = models.PositiveBigIntegerField(default=0)
    paid_minor = models.PositiveBigIntegerField(default=0)
    refunded_minor = models.PositiveBigIntegerField(default=0)
    refund_pending_minor = models.PositiveBigIntegerField(default=0, help_text="Requested, and not yet given back.")
    item_count = models.PositiveIntegerField(help_text="Units ordered.")

    payment_method = models.CharField(max_length=40)
    payment_gateway = models.CharField(max_length=40, blank=True)
    payment_reference = models.CharField(
        max_length=200, blank=True, help_text="The checkout's own, as the gateway knows it."
    )

    state = models.CharField(max_length=10, choices=State, default=State.PENDING)
    fulfilment_status = models.CharField(max_length=20, choices=Fulfilment, default=Fulfilment.UNFULFILLED)
    payment_status = models.CharField(max_length=20, choices=PaymentStatus, default=PaymentStatus.UNPAID)
    on_hold = models.BooleanField(default=False)
    status = models.CharField(max_length=10, choices=Status, default=Status.PENDING)

    warehouse_code = models.CharField(max_length=32, blank=True, help_text="Empty when several warehouses share it.")
    shipment_count = models.PositiveIntegerField(default=0)
    placed_at = models.DateTimeField(default=timezone.now, db_index=True)
    hold_expires_at = models.DateTimeField(null=True, blank=True, help_text="Unpaid by then, the stock is given back.")
    ship_by_at = models.DateTimeField()
    promised_from = models.DateField()
    promised_to = models.DateField()
    # What we promise by ourselves, while a courier's estimate is beyond it. None: `promised_…` is ours.
    pledged_from = models.DateField(null=True, editable=False)
    pledged_to = models.DateField(null=True, editable=False)
    version = models.PositiveIntegerField(default=1, editable=False)
    updated_at = models.DateTimeField(default=timezone.now, editable=False, db_index=True)

    # Where the next step of its history begins: as it was locked, for a verb may roll it up before it records the step.
    # None: as it is.
    status_before: str | None = None

    objects = OrderQuerySet.as_manager()

    class Meta:
        permissions = [
            ("confirm_order", "Can confirm orders"),
            ("pack_order", "Can mark orders packed"),
            ("unpack_order", "Can unpack parcels"),
            ("ship_order", "Can mark orders shipped"),
            ("deliver_order", "Can mark orders delivered"),
            ("bring_back_order", "Can bring parcels back"),
            ("cancel_order", "Can cancel orders"),
            ("hold_order", "Can put orders on hold"),
            ("release_order", "Can release orders from their holds"),
            ("pay_order", "Can record payments for orders"),
            ("collect_order", "Can record cash collected for orders"),
            ("return_order", "Can open and receive returns"),
            ("refund_order", "Can refund orders"),
        ]
        constraints = [
            models.CheckConstraint(
                name="order_total_adds_up",
                condition=Q(
                    total_minor=F("subtotal_minor") + F("shipping_minor") + F("tax_minor") - F("discount_minor")
                ),
            ),
            models.CheckConstraint(
                name="order_cancelled_and_credited_within_total",
                condition=Q(total_minor__gte=F("cancelled_minor") + F("credited_minor")),
            ),
            models.CheckConstraint(
                name="order_refunds_within_paid",
                condition=Q(paid_minor__gte=F("refunded_minor") + F("refund_pending_minor")),
            ),
        ]
        indexes = [
            models.Index(fields=["status", "-placed_at"], name="order_by_status"),
            models.Index(fields=["state", "-id"], name="order_by_state"),
            models.Index(fields=["contact_email", "placed_at"], name="order_by_contact"),
            models.Index(fields=["payment_reference"], name="order_by_reference"),
            models.Index(fields=["-id"], name="order_on_hold", condition=Q(on_hold=True)),
            # The orders that are late or at risk are found among those that are still open.
            models.Index(fields=["ship_by_at"], name="order_to_leave", condition=Q(state="confirmed")),
            models.Index(fields=["promised_to"], name="order_to_arrive", condition=Q(state="confirmed")),
            models.Index(
                fields=["hold_expires_at"],
                name="order_expiring",
                condition=Q(state="pending", hold_expires_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return str(self.number)

    @cached_property
    def items(self) -> "list[OrderLine]":
        """Its lines with their products, in the order they were bought. The verbs count on these very objects."""
        return list(self.lines.select_related("product").order_by("pk"))

    def joined(self, rows: Iterable[Any]) -> list[Any]:
        """What a parcel or a return holds of its lines, by key; their lines are the very objects of `items`."""
        lines = {line.pk: line for line in self.items}
        contents = sorted(rows, key=lambda content: content.pk)
        for content in contents:
            content.line = lines[content.line_id]
        return contents

    @cached_property
    def payment(self) -> "Payment | None":
        """The latest attempt to pay for it."""
        return self.payments.order_by("-pk").first()

    @property
    def is_cash_on_delivery(self) -> bool:
        return self.payment_method in self.CASH_ON_DELIVERY

    @property
    def due_minor(self) -> int:
        """What the customer owes in all, paid or not."""
        return self.total_minor - self.cancelled_minor - self.credited_minor

    @property
    def refundable_minor(self) -> int:
        """Paid, and neither given back nor on its way."""
        return self.paid_minor - self.refunded_minor - self.refund_pending_minor

    @property
    def outstanding_minor(self) -> int:
        return max(0, self.due_minor - self.refundable_minor)

    @property
    def to_collect_minor(self) -> int | None:
        """The cash that is still due at the door; None: it is paid in another way."""
        return self.outstanding_minor if self.is_cash_on_delivery else None

    @property
    def overpaid_minor(self) -> int:
        """No longer owed, and nobody has asked for its refund yet."""
        return max(0, self.refundable_minor - self.due_minor)

    @property
    def refund_expected_minor(self) -> int:
        """Paid and no longer owed: cancelled after payment, or paid after cancelling."""
        return max(0, self.paid_minor - self.refunded_minor - self.due_minor)

    @property
    def void_expected_minor(self) -> int:
        """Authorised, and not to be captured any more: the gateway has to let go of it."""
        return max(0, self.authorised_minor - max(self.paid_minor, self.due_minor))

    @property
    def is_covered(self) -> bool:
        return max(self.paid_minor, self.authorised_minor) >= self.due_minor

    @property
    def can_be_confirmed(self) -> bool:
        """Paid for, or to be paid at the door, and kept back by nothing."""
        is_payable = self.is_covered or self.is_cash_on_delivery
        return self.state == self.State.PENDING and is_payable and not self.on_hold

    @property
    def tracking_page_url(self) -> str:
        return f"{settings.BASE_URL}/track/{self.tracking_token}/"

    def end_holds(self, *, actor: str, now: datetime) -> None:
        """Of an order that is given up: nothing is left to keep back."""
        self.on_hold = False
        self.holds.open().update(released_by=actor, released_at=now)

    def settle(self, *, failed: bool = False) -> None:
        """Derive the payment status; `failed` says that the latest attempt was."""
        self.payment_status = self._rolled_up_payment(failed=failed)

    def roll_up(self) -> None:
        """Derive what follows from the lines' counters and from the money: never set by hand."""
        self.settle()
        self.fulfilment_status = self._rolled_up_fulfilment()
        self._complete_if_done()
        self.status = self._public_status()

    def _complete_if_done(self) -> None:
        """An order is completed when all of it is delivered and paid, whichever comes last."""
        has_arrived = self.fulfilment_status in {self.Fulfilment.DELIVERED, self.Fulfilment.RETURNED}
        if self.state == self.State.CONFIRMED and has_arrived and self.outstanding_minor == 0:
            self.state = self.State.COMPLETED

    def _rolled_up_payment(self, *, failed: bool) -> PaymentStatus:
        if self.refunded_minor:
            is_full = self.refunded_minor == self.paid_minor
            return self.PaymentStatus.REFUNDED if is_full else self.PaymentStatus.PARTIALLY_REFUNDED
        if self.paid_minor >= self.due_minor and (self.paid_minor or not self.total_minor):
            return self.PaymentStatus.PAID
        # Cancelled or sent back before it was paid, nothing is to be captured or collected any more.
        if self.outstanding_minor and self.authorised_minor and self.is_covered:
            return self.PaymentStatus.AUTHORISED
        if self.outstanding_minor and self.is_cash_on_delivery:
            return self.PaymentStatus.COD_PENDING
        # Stays so until the money comes.
        if failed or self.payment_status == self.PaymentStatus.FAILED:
            return self.PaymentStatus.FAILED
        return self.PaymentStatus.UNPAID

    def _rolled_up_fulfilment(self) -> Fulfilment:
        wanted = sum(line.wanted for line in self.items)
        if wanted and wanted == sum(line.returned for line in self.items):
            return self.Fulfilment.RETURNED
        stages = (
            (
                sum(line.delivered for line in self.items),
                self.Fulfilment.DELIVERED,
                self.Fulfilment.PARTIALLY_DELIVERED,
            ),
            (sum(line.shipped for line in self.items), self.Fulfilment.SHIPPED, self.Fulfilment.PARTIALLY_SHIPPED),
            (sum(line.packed for line in self.items), self.Fulfilment.PACKED, self.Fulfilment.PARTIALLY_PACKED),
        )
        for units, whole, part in stages:
            if units:
                return whole if units == wanted else part
        return self.Fulfilment.UNFULFILLED

    def _public_status(self) -> Status:
        if self.state == self.State.CANCELLED:
            return self.Status.CANCELLED
        stage = self.STAGES.get(self.Fulfilment(self.fulfilment_status))
        if stage is not None:
            return stage
        if self.on_hold:
            return self.Status.ON_HOLD
        return self.Status.PENDING if self.state == self.State.PENDING else self.Status.CONFIRMED
