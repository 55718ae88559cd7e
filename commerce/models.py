"""Rows of the project itself: who may call the API, and what it has already answered."""

from datetime import timedelta
from typing import ClassVar

from django.db import models
from rest_framework_api_key.models import AbstractAPIKey

from webhooks.fields import EncryptedJSONField


class ApiToken(AbstractAPIKey):
    """A caller of the API. The secret is shown once, when it is made; only its hash is kept."""

    scopes = models.JSONField(default=list, help_text="What it may do, such as storefront or fulfilment.")
    warehouse = models.CharField(
        max_length=32, blank=True, help_text="Code of the only warehouse it works for. Empty: all of them."
    )
    channel = models.CharField(
        max_length=32, blank=True, help_text="Sales channel of the orders it places, such as web or pos."
    )

    class Meta(AbstractAPIKey.Meta):
        abstract = False
        verbose_name = "API token"
        verbose_name_plural = "API tokens"


class IdempotencyRecord(models.Model):
    """What was answered to a POST with an Idempotency-Key."""

    KEPT_FOR: ClassVar = timedelta(hours=24)

    # The token's prefix; empty for a caller without one.
    caller = models.CharField(max_length=8, blank=True)
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64)
    # Also the fence: who finds another moment here has lost the record to a later request.
    started_at = models.DateTimeField(db_index=True)
    # None while the first request is still running.
    status_code = models.PositiveSmallIntegerField(null=True)
    content_type = models.CharField(max_length=100, blank=True)
    # An answer may hold a new secret, and the customer's address.
    body = EncryptedJSONField(default=str)

    class Meta:
        constraints = [models.UniqueConstraint("caller", "key", name="idempotency_key_once_per_caller")]

    def __str__(self) -> str:
        return self.key


class Heartbeat(models.Model):
    """The one row by which a queue cluster says that it is working through its tasks."""

    THE_ONE: ClassVar = 1

    at = models.DateTimeField()

    def __str__(self) -> str:
        return self.at.isoformat()


class AuditRun(models.Model):
    """The audit of one night: claimed by the first cluster that comes to it."""

    day = models.DateField(unique=True)
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)
    finding_count = models.PositiveIntegerField(null=True)

    def __str__(self) -> str:
        return self.day.isoformat()
