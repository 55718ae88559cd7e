"""The attempts to pay for an order: each one kept, none changed."""

from typing import ClassVar

from django.db import models
from django.db.models import Q

from orders.models.order import Order
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

    # The customer cannot mend these by trying the same again.
    FINAL_FAILURES: ClassVar = frozenset(
        {"stolen_card", "lost_card", "pickup_card", "fraudulent", "restricted_card", "expired_card", "invalid_account"}
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
            models.UniqueConstraint("gateway", "gateway_reference", "kind", "result", name="payment_told_once"),
            models.UniqueConstraint("order", "attempt_number", name="payment_attempt_once"),
            models.CheckConstraint(name="payment_amount_positive", condition=Q(amount_minor__gt=0)),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.gateway_reference}"

    @property
    def is_retryable(self) -> bool:
        return self.failure_code not in self.FINAL_FAILURES
