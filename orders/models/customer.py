"""Who buys: registered, or a guest whom the first order made known."""

from typing import Any, ClassVar

from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower

from webhooks.sources import PublicIdField, WatchedModel


class Customer(WatchedModel):
    WATCHED: ClassVar[tuple[str, ...]] = ("email", "phone", "name", "locale", "accepts_marketing")

    public_id = PublicIdField("cus")
    email = models.EmailField("e-mail", unique=True)
    name = models.CharField(max_length=200, blank=True)
    phone = models.CharField(max_length=40, blank=True)
    locale = models.CharField(max_length=20, default="en")
    accepts_marketing = models.BooleanField(default=False)

    class Meta:
        constraints = [
            models.CheckConstraint(name="customer_email_in_lower_case", condition=Q(email=Lower("email"))),
        ]

    def __str__(self) -> str:
        return self.email

    def save(self, **kwargs: Any) -> None:
        # One mailbox is one customer, however its address was typed.
        self.email = self.email.lower()
        super().save(**kwargs)
