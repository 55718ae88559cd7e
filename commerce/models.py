"""Rows of the project itself: who may call the API, what it has already answered, and what others have told us."""

from datetime import timedelta
from typing import ClassVar

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from rest_framework_api_key.models import AbstractAPIKey

from orders.models import Order
from webhooks.fields import EncryptedJSONField, PublicIdField
from webhooks.models import Subscription


class ApiToken(AbstractAPIKey):
    """A caller of the API. The secret is shown once, when it is made; only its hash is kept."""

    # What goes by a token's warehouse, and what anybody may do anyhow. Every other scope reaches the whole shop.
    WITHIN_A_WAREHOUSE: ClassVar = frozenset({"fulfilment", "inventory", "storefront"})

    scopes = models.JSONField(default=list, help_text="What it may do, such as storefront or fulfilment.")
    warehouse = models.CharField(
        max_length=32, blank=True, help_text="Code of the only warehouse it works for. Empty: all of them."
    )
    channel = models.CharField(
        max_length=32,
        blank=True,
        help_text="Of its orders and sales: web, pos, marketplace or erp. Empty: as each says.",
    )

    class Meta(AbstractAPIKey.Meta):
        abstract = False
        verbose_name = "API token"
        verbose_name_plural = "API tokens"

    def clean(self) -> None:
        super().clean()
        if self.revoked:
            # Also one that was made before there were these rules.
            return
        if self.channel not in ("", *Order.Channel.values):
            there_are = ", ".join(Order.Channel.values)
            raise ValidationError({"channel": f"There is no channel {self.channel}. There are: {there_are}."})
        beyond = [scope for scope in self.scopes if scope not in self.WITHIN_A_WAREHOUSE]
        if self.warehouse and beyond:
            raise ValidationError(
                {"warehouse": f"A token of one warehouse cannot have the scope {' or '.join(beyond)}: it reaches all."}
            )


class IdempotencyRecord(models.Model):
    """What was answered to a POST with an Idempotency-Key."""

    KEPT_FOR: ClassVar = timedelta(hours=24)

    # The token's prefix; of a caller without one, the address.
    caller = models.CharField(max_length=45, blank=True)
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
    """The one row by which a queue cluster says that its clock runs."""

    THE_ONE: ClassVar = 1

    at = models.DateTimeField()

    def __str__(self) -> str:
        return self.at.isoformat()


class AuditRun(models.Model):
    """The audit of one night: claimed by the first cluster that comes to it, and by another if that one was lost."""

    day = models.DateField(unique=True)
    started_at = models.DateTimeField()
    # When whoever runs it was last heard of.
    renewed_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)
    finding_count = models.PositiveIntegerField(null=True)

    def __str__(self) -> str:
        return self.day.isoformat()


class InboundSource(models.Model):
    """A courier, gateway or 3PL that tells us things: how it signs, and with which secrets."""

    class Scheme(models.TextChoices):
        STANDARD = "standard", "Standard Webhooks: a 3PL, ERP or courier that speaks our words"
        AFTERSHIP = "aftership", "AfterShip: parcels of any courier"
        EASYPOST = "easypost", "EasyPost: parcels of any courier"
        STRIPE = "stripe", "Stripe: payments and refunds"
        HMAC = "hmac", "Any other courier that signs with a shared secret (HMAC)"

    class Algorithm(models.TextChoices):
        SHA256 = "sha256", "SHA-256"
        SHA512 = "sha512", "SHA-512"
        SHA1 = "sha1", "SHA-1"

    class Encoding(models.TextChoices):
        HEX = "hex", "Hexadecimal"
        BASE64 = "base64", "Base64"

    name = models.SlugField(
        max_length=40,
        unique=True,
        help_text="What it is called in the history of an order, and the end of its address: dhl, stripe, berlin-3pl.",
    )
    scheme = models.CharField("sender", max_length=10, choices=Scheme)
    # Any of them verifies; newest first: {"secret": "…", "added_at": a moment}.
    secrets = EncryptedJSONField(default=list)
    warehouse = models.CharField(
        max_length=32, blank=True, help_text="Code of the only warehouse it speaks for. Empty: all of them."
    )
    is_active = models.BooleanField(
        "active", default=True, help_text="While it is not, its address answers 404 and nothing is taken in."
    )
    # Of Scheme.HMAC only.
    header = models.CharField("signature header", max_length=100, blank=True)
    algorithm = models.CharField(max_length=6, choices=Algorithm, default=Algorithm.SHA256)
    encoding = models.CharField(max_length=6, choices=Encoding, default=Encoding.HEX)
    prefix = models.CharField(max_length=40, blank=True, help_text="What stands before the signature, such as sha256=")
    # Our field -> where it stands in the sender's body, such as "data.events.-1.code".
    paths = models.JSONField(default=dict, blank=True)
    # The sender's word for a status -> ours.
    words = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    # A refused message is not kept: what stays of it is that there was one.
    refused_count = models.PositiveIntegerField(default=0, editable=False)
    refused_at = models.DateTimeField(null=True, editable=False)
    refused_reason = models.CharField(max_length=200, blank=True, editable=False)

    def __str__(self) -> str:
        return self.name

    @property
    def url(self) -> str:
        return f"{settings.BASE_URL}/api/v1/inbound/{self.name}/"

    @property
    def live_secrets(self) -> list[str]:
        return [kept["secret"] for kept in self.secrets]


class InboundMessage(models.Model):
    """What a source told us, as it came, and what came of it. Its state is written by `commerce.inbound` alone."""

    class State(models.TextChoices):
        RECEIVED = "received", "Received"
        WAITING = "waiting", "Waiting"
        PROCESSED = "processed", "Processed"
        IGNORED = "ignored", "Ignored"
        PARKED = "parked", "Parked"

    public_id = PublicIdField("inb")
    source = models.ForeignKey(InboundSource, on_delete=models.PROTECT, related_name="messages", db_index=False)
    sender_id = models.CharField(max_length=200, help_text="The sender's own id, or a hash of the body.")
    # Lists of [name, value], secrets masked.
    headers = models.JSONField(default=list)
    body = models.BinaryField()
    state = models.CharField(max_length=10, choices=State, default=State.RECEIVED)
    attempt_count = models.PositiveIntegerField(default=0)
    # Attempts before it was reprocessed do not use up the new run of the ladder.
    attempts_before = models.PositiveIntegerField(default=0)
    next_attempt_at = models.DateTimeField(null=True, default=timezone.now)
    # What it waits for, such as a parcel with its tracking number.
    awaits = models.CharField(max_length=120, blank=True)
    reason = models.CharField(max_length=500, blank=True, help_text="Why it is not processed.")
    effect = models.CharField(max_length=300, blank=True, help_text="What it did.")
    subject = models.CharField(max_length=100, blank=True, help_text="The public id of what it was about.")
    copies = models.PositiveIntegerField(default=0, help_text="How often it came again.")
    reprocessed_by = models.CharField(max_length=150, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    processed_at = models.DateTimeField(null=True)

    class Meta:
        permissions = [("reprocess_inboundmessage", "Can reprocess an inbound message")]
        constraints = [
            models.UniqueConstraint("source", "sender_id", name="inbound_once_per_source"),
            models.CheckConstraint(
                name="inbound_due_exactly_while_open",
                condition=Q(state__in=["received", "waiting"], next_attempt_at__isnull=False)
                | (~Q(state__in=["received", "waiting"]) & Q(next_attempt_at__isnull=True)),
            ),
        ]
        indexes = [
            models.Index("next_attempt_at", "id", name="inbound_due", condition=Q(state__in=["received", "waiting"])),
            models.Index("awaits", name="inbound_awaits", condition=Q(state="waiting")),
            models.Index("state", F("id").desc(), name="inbound_by_state"),
            models.Index("source", F("id").desc(), name="inbound_by_source"),
            models.Index("subject", F("id").desc(), name="inbound_by_subject"),
            models.Index("created_at", name="inbound_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.public_id} from {self.source}"

    @property
    def is_open(self) -> bool:
        return self.next_attempt_at is not None


class Alarm(models.Model):
    """A line that was crossed, for as long as it was. `alarms` writes it."""

    class Kind(models.TextChoices):
        SILENCE = "silence", "No queue cluster"
        OVERDUE = "overdue", "Deliveries overdue"
        BACKLOG = "backlog", "Long backlog"
        FAILING = "failing", "Failing for long"
        FAILURES = "failures", "Many failures"
        SLOW = "slow", "Slow delivery"
        AUDIT = "audit", "Audit not ended"

    KEPT_FOR: ClassVar = timedelta(days=90)

    kind = models.CharField(max_length=10, choices=Kind)
    # None: it is about all of them.
    subscription = models.ForeignKey(Subscription, null=True, on_delete=models.CASCADE, related_name="+")
    words = models.CharField(max_length=300)
    since = models.DateTimeField()
    # When the line was last seen crossed.
    crossed_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, db_index=True)
    # Whether its beginning, or once it has ended its end, has been mailed.
    is_told = models.BooleanField(default=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "subscription"], condition=Q(ended_at=None), name="alarm_open_once_per_subscription"
            ),
            models.UniqueConstraint(
                fields=["kind"], condition=Q(ended_at=None, subscription=None), name="alarm_open_once_for_all"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.subscription}: {self.words}" if self.subscription else self.words
