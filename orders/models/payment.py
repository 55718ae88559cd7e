"""The attempts to pay for an order, each one kept and none changed; and what is given back of them."""

from typing import ClassVar

from django.db import models
from django.db.models import Q

from orders.models.order import Order
from orders.models.returns import Return
from webhooks.sources import Fact, PublicIdField


class Payment(Fact):
    """One attempt, as the gateway told it: a success and a failure are both rows. `at` is when it was processed."""

    class Kind(models.TextChoices):
        AUTHORISATION = "authorisation", "Authorisation"
        CAPTURE = "capture", "Capture"
        COD_COLLECTION = "cod_collection", "Cash collected on delivery"

    class Result(models.TextChoices):
        SUCCESS = "success", "Success"
        FAILED = "failed", "Failed"
        # Whatever the gateway says came of it: the amount, the currency or the reference is not the order's.
        REFUSED = "refused", "Refused"

    # What a gateway can tell; the rest is ours.
    TOLD: ClassVar = [(result.value, result.label) for result in (Result.SUCCESS, Result.FAILED)]
    # These brought money in.
    INCOME: ClassVar = Q(result="success", kind__in=["capture", "cod_collection"])
    # The customer cannot mend these by trying the same again.
    FINAL_FAILURES: ClassVar = frozenset(
        {
            *("stolen_card", "lost_card", "pickup_card", "fraudulent", "restricted_card", "expired_card"),
            *("invalid_account", "payment_mismatch"),
        }
    )

    public_id = PublicIdField("pay")
    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="payments")
    kind = models.CharField(max_length=20, choices=Kind)
    result = models.CharField(max_length=10, choices=Result)
    amount_minor = models.PositiveBigIntegerField()
    currency = models.CharField(max_length=3)
    method = models.CharField(max_length=40)
    gateway = models.CharField(max_length=40)
    gateway_reference = models.CharField(max_length=200)
    failure_code = models.CharField(max_length=60, blank=True)
    failure_message = models.CharField(max_length=500, blank=True)
    attempt_number = models.PositiveIntegerField(help_text="1 for the order's first attempt.")
    attempts_24h = models.PositiveIntegerField(help_text="The order's attempts in the 24 hours that end with this one.")
    actor = models.CharField(max_length=150)

    class Meta:
        constraints = [
            # A gateway may use one reference for a payment's decline, authorisation and capture, but tells each once.
            # What was refused may be told again, and be right then.
            models.UniqueConstraint(
                "gateway",
                "gateway_reference",
                "kind",
                "result",
                name="payment_told_once",
                condition=Q(result__in=["success", "failed"]),
            ),
            models.UniqueConstraint("order", "attempt_number", name="payment_attempt_once"),
            models.CheckConstraint(
                name="payment_amount_positive", condition=Q(amount_minor__gt=0) | Q(result="refused")
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.gateway_reference}"

    @property
    def is_retryable(self) -> bool:
        return self.failure_code not in self.FINAL_FAILURES


class Refund(models.Model):
    """Money of one payment on its way back: asked for here, sent by the gateway or by hand."""

    class State(models.TextChoices):
        REQUESTED = "requested", "Requested"
        PROCESSED = "processed", "Processed"
        FAILED = "failed", "Failed"

    public_id = PublicIdField("rfd")
    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="refunds")
    payment = models.ForeignKey(Payment, on_delete=models.PROTECT, related_name="refunds")
    goods_return = models.ForeignKey(Return, on_delete=models.PROTECT, null=True, blank=True, related_name="refunds")
    amount_minor = models.PositiveBigIntegerField()
    reason = models.CharField(max_length=500)
    # The cancelled or returned units whose money this is: line public id -> how many. A goodwill refund has none.
    units = models.JSONField(default=dict, blank=True)
    state = models.CharField(max_length=10, choices=State, default=State.REQUESTED)
    requested_at = models.DateTimeField()
    requested_by = models.CharField(max_length=150)
    settled_at = models.DateTimeField(null=True, blank=True, help_text="When it was processed, or failed.")
    settled_by = models.CharField(max_length=150, blank=True)
    gateway = models.CharField(max_length=40, help_text="The payment's.")
    gateway_reference = models.CharField(max_length=200, blank=True)
    failure_code = models.CharField(max_length=60, blank=True)
    failure_message = models.CharField(max_length=500, blank=True)

    class Meta:
        indexes = [models.Index(fields=["state", "-id"], name="refund_by_state")]
        constraints = [
            models.UniqueConstraint(
                "gateway", "gateway_reference", name="refund_told_once", condition=Q(state="processed")
            ),
            models.CheckConstraint(name="refund_amount_positive", condition=Q(amount_minor__gt=0)),
            models.CheckConstraint(
                name="refund_settled_at_a_moment", condition=Q(state="requested") | Q(settled_at__isnull=False)
            ),
        ]

    def __str__(self) -> str:
        return str(self.public_id)

    @property
    def is_full(self) -> bool:
        """With it, all that was paid has been given back."""
        return self.order.refunded_minor == self.order.paid_minor
