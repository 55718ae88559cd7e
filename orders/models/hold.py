"""What keeps an order from being confirmed and packed until somebody has looked at it, and the rules that see to it."""

from typing import ClassVar

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from inventory.models import validate_countries
from inventory.money import display, validate_currency
from orders.models.order import Order
from webhooks.sources import PublicIdField


class HoldKind(models.TextChoices):
    PAYMENT = "payment", "Payment"
    FRAUD = "fraud", "Fraud"
    ADDRESS = "address", "Address"
    STOCK = "stock", "Stock"
    VERIFICATION = "verification", "Verification"
    MANUAL = "manual", "Other"


class HoldRule(models.Model):
    """What staff want looked at: a test of each new order or failed payment, with the one threshold that it needs."""

    class Test(models.TextChoices):
        FAILED_PAYMENTS = "failed_payments", "Failed payments of a customer within 24 hours"
        FIRST_ORDER_ABOVE = "first_order_above", "A customer's first order, of at least an amount"
        MANY_ORDERS = "many_orders", "Orders from one e-mail address within an hour"
        SHIPS_TO = "ships_to", "Ships to one of some countries"
        SHIPS_BEYOND = "ships_beyond", "Ships to any other than some countries"

    # The field that holds the threshold of each test.
    THRESHOLDS: ClassVar = {
        Test.FAILED_PAYMENTS: "count",
        Test.MANY_ORDERS: "count",
        Test.FIRST_ORDER_ABOVE: "amount_minor",
        Test.SHIPS_TO: "countries",
        Test.SHIPS_BEYOND: "countries",
    }

    name = models.CharField(max_length=100, unique=True, help_text="Staff see it as the reason of the hold.")
    test = models.CharField("holds orders on", max_length=20, choices=Test)
    count = models.PositiveIntegerField(
        "this many or more", null=True, blank=True, validators=[MinValueValidator(1), MaxValueValidator(10_000)]
    )
    amount_minor = models.PositiveBigIntegerField("amount", null=True, blank=True)
    currency = models.CharField(max_length=3, blank=True, validators=[validate_currency])
    countries = models.JSONField(default=list, blank=True, validators=[validate_countries])
    kind = models.CharField("kind of hold", max_length=20, choices=HoldKind, default=HoldKind.FRAUD)
    is_active = models.BooleanField("active", default=True, help_text="Only active rules hold orders.")

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="hold_rule_has_its_threshold",
                # A comparison with null would let the row pass.
                condition=Q(test__in=["failed_payments", "many_orders"], count__isnull=False, count__gte=1)
                | (Q(test="first_order_above", amount_minor__isnull=False, amount_minor__gte=1) & ~Q(currency=""))
                | Q(test__in=["ships_to", "ships_beyond"]),
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def in_words(self) -> str:
        """What it holds, as a sentence for staff."""
        countries = ", ".join(self.countries)
        amount = display(self.amount_minor or 0, self.currency) if self.currency else ""
        return {
            self.Test.FAILED_PAYMENTS: f"{self.count} or more failed payments of a customer within 24 hours",
            self.Test.MANY_ORDERS: f"{self.count} or more orders from one e-mail address within an hour",
            self.Test.FIRST_ORDER_ABOVE: f"A customer's first order, of {amount} or more",
            self.Test.SHIPS_TO: f"Ships to {countries}",
            self.Test.SHIPS_BEYOND: f"Ships to any country but {countries}",
        }[self.Test(self.test)]


class HoldQuerySet(models.QuerySet["Hold"]):
    def open(self) -> "HoldQuerySet":
        return self.filter(released_at__isnull=True)


class Hold(models.Model):
    """One reason to stop. An order is on hold while one of its holds is open; of each kind at most one is."""

    Kind = HoldKind

    public_id = PublicIdField("hld")
    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="holds")
    kind = models.CharField(max_length=20, choices=HoldKind)
    reason = models.CharField(max_length=500)
    rule = models.ForeignKey(HoldRule, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    placed_by = models.CharField(max_length=150)
    placed_at = models.DateTimeField(default=timezone.now)
    released_by = models.CharField(max_length=150, blank=True)
    released_at = models.DateTimeField(null=True, blank=True)

    objects = HoldQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                "order", "kind", name="hold_open_once_per_kind", condition=Q(released_at__isnull=True)
            ),
            models.CheckConstraint(
                name="hold_released_by_somebody", condition=Q(released_at__isnull=True) | ~Q(released_by="")
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {self.reason}"
