"""The rows: who is told (Subscription), what (Event), that this one is owed it (Delivery), and each try (Attempt)."""

from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from webhooks import catalogue, lookups, retry
from webhooks.fields import EncryptedJSONField, PositionField, PublicIdField

SECOND = timedelta(seconds=1)


class PresentSubscriptions(models.Manager["Subscription"]):
    """Without those that were deleted, and stay only until their log has been taken away in batches."""

    def get_queryset(self) -> models.QuerySet["Subscription"]:
        return super().get_queryset().filter(deleted_at=None)


class Subscription(models.Model):
    """A system to be told: where, of what, with which headers and secrets; or the messages that shoppers get."""

    class Channel(models.TextChoices):
        WEBHOOK = "webhook", "Webhook"
        EMAIL = "email", "Message to the shopper by e-mail"

    class State(models.TextChoices):
        DRAFT = "draft", "Draft"
        ACTIVE = "active", "Active"
        PAUSED = "paused", "Paused"
        DISABLED = "disabled", "Disabled"

    class Ordering(models.TextChoices):
        BEST_EFFORT = "best_effort", "Best effort: a failed event does not hold back later ones"
        STRICT = "strict", "Strict: later events of the same subject wait until the failed one has arrived"

    public_id = PublicIdField("sub")
    name = models.CharField(max_length=100)
    channel = models.CharField(max_length=10, choices=Channel, default=Channel.WEBHOOK)
    # Not a URLField: that refuses the bare host names of private networks. `subscriptions.check_url` is the judge.
    url = models.CharField("callback URL", max_length=2000)
    event_types = models.JSONField(default=list, help_text='Names, groups such as "order.*", or "*" for everything.')
    # As `conditions.check` lets them pass: {"field": "channel", "operator": "eq", "value": "pos"}.
    conditions = models.JSONField(default=list, blank=True)
    compact = models.BooleanField("latest wins", default=False)
    # By e-mail only, as `messages.check` lets them pass.
    messages = models.JSONField(default=list, blank=True)
    headers = EncryptedJSONField(default=dict)
    # Newest first, as `signing.new_secret` makes them: {"secret": "whsec_…", "created_at": a moment, "expires_at": one
    # or null}.
    secrets = EncryptedJSONField(default=list)
    ordering = models.CharField(max_length=20, choices=Ordering, default=Ordering.BEST_EFFORT)
    retry_schedule = models.JSONField(
        null=True,
        blank=True,
        help_text="Seconds to wait after each failure. Empty: the default of ten attempts over three days.",
    )
    max_in_flight = models.PositiveSmallIntegerField(
        default=8, validators=[MinValueValidator(1), MaxValueValidator(100)], help_text="Requests under way at once."
    )
    max_per_second = models.PositiveSmallIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(1000)],
        help_text="Requests begun in a second, on average. Empty: as many as there are.",
    )
    state = models.CharField(max_length=10, choices=State, default=State.DRAFT, db_index=True)
    state_reason = models.CharField(max_length=300, blank=True)
    state_changed_at = models.DateTimeField(default=timezone.now)
    state_changed_by = models.CharField(max_length=150, blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now)
    # How it is doing: only `webhooks.health` and `webhooks.parking` write it.
    consecutive_failures = models.PositiveIntegerField(default=0, editable=False)
    failing_since = models.DateTimeField(null=True, editable=False)
    # Not null: the circuit is open, and one probe at a time goes out from then on.
    resting_until = models.DateTimeField(null=True, editable=False)
    # It asked for less: one at a time, until a success.
    throttled = models.BooleanField(default=False, editable=False)
    # Up to when its `max_per_second` is used up.
    paced_until = models.DateTimeField(null=True, editable=False)
    # Not null: what was parked before is being put back, some at a time.
    recovered_at = models.DateTimeField(null=True, editable=False)
    # Nothing parked goes out again before.
    next_return_at = models.DateTimeField(null=True, editable=False)
    deleted_at = models.DateTimeField(null=True, editable=False)
    # The audit can prove nothing about events before it was told of what it is told of now.
    wants_since = models.DateTimeField(default=timezone.now, editable=False)
    # Written by `retention`: it has taken away deliveries of events that were written within this span. Whether it ever
    # had one of another event of that time cannot be told any more.
    pruned_from = models.DateTimeField(null=True, editable=False)
    pruned_until = models.DateTimeField(null=True, editable=False)

    # What one that is doing well has.
    WELL = {"consecutive_failures": 0, "failing_since": None, "resting_until": None, "throttled": False}

    objects = PresentSubscriptions()
    with_deleted = models.Manager["Subscription"]()

    class Meta:
        constraints = [
            models.CheckConstraint(name="subscription_max_in_flight_sane", condition=Q(max_in_flight__range=(1, 100))),
            models.CheckConstraint(
                name="subscription_max_per_second_sane",
                condition=Q(max_per_second=None) | Q(max_per_second__range=(1, 1000)),
            ),
        ]

    def __str__(self) -> str:
        return self.name or self.public_id

    def save(self, **kwargs: Any) -> None:
        written = kwargs.get("update_fields")
        if written is not None and not {"event_types", "conditions"}.isdisjoint(written):
            self.wants_since = timezone.now()
            kwargs["update_fields"] = {*written, "wants_since"}
        super().save(**kwargs)

    def wants(self, event_type: str) -> bool:
        return catalogue.matches(self.event_types, event_type)

    def live_secrets(self, *, now: datetime) -> list[str]:
        """Newest first; a rotated one stays until its overlap has passed."""
        return [
            kept["secret"]
            for kept in self.secrets
            if kept["expires_at"] is None or datetime.fromisoformat(kept["expires_at"]) > now
        ]

    @property
    def max_attempts(self) -> int:
        return len(retry.schedule(self.retry_schedule)) + 1

    @property
    def in_flight_limit(self) -> int:
        """What it gets at once as things stand."""
        return 1 if self.throttled or self.resting_until else self.max_in_flight

    def allowance(self, rate: int, *, now: datetime) -> int:
        """How many a rate per second lets begin now: what has come together since the last, up to a second's worth."""
        used_up = max(self.paced_until - now, timedelta(0)) if self.paced_until else timedelta(0)
        return (SECOND - used_up) * rate // SECOND


class EventSequence(models.Model):
    """The last sequence number given to a subject. Its row lock keeps a subject's events in commit order."""

    subject = models.CharField(max_length=100, primary_key=True)
    last = models.PositiveBigIntegerField()
    # The last one that retention has taken away; those after it are all there.
    pruned = models.PositiveBigIntegerField(default=0, db_default=0)

    def __str__(self) -> str:
        return f"{self.subject} {self.last}"


class Event(models.Model):
    """What happened, as the exact text every subscriber is sent."""

    public_id = PublicIdField("evt")
    position = PositionField()
    type = models.CharField(max_length=100)
    subject = models.CharField(max_length=100)
    label = models.CharField(max_length=200)
    sequence = models.PositiveBigIntegerField()
    body = models.TextField()
    occurred_at = models.DateTimeField()
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint("subject", "sequence", name="event_sequence_once_per_subject")]
        indexes = [
            models.Index(F("type"), F("id").desc(), name="event_by_type"),
            models.Index("label", F("id").desc(), name="event_by_label"),
            models.Index("created_at", name="event_by_time"),
            models.Index("position", "id", name="event_feed"),
            models.Index("type", "position", "id", name="event_feed_by_type"),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.label}"


class Delivery(models.Model):
    """One event owed to one subscription. Its state is written by `claims`, `delivery`, `parking` and `replay` only."""

    class State(models.TextChoices):
        PENDING = "pending", "Pending"
        SENDING = "sending", "Sending"
        DELIVERED = "delivered", "Delivered"
        PARKED = "parked", "Parked"
        SKIPPED = "skipped", "Skipped"
        SUPERSEDED = "superseded", "Superseded"

    class Lane(models.IntegerChoices):
        """Live traffic goes before retries and recoveries."""

        LIVE = 0
        LATE = 1

    public_id = PublicIdField("dlv")
    event = models.ForeignKey(Event, on_delete=models.CASCADE, related_name="deliveries", db_index=False)
    subscription = models.ForeignKey(Subscription, on_delete=models.CASCADE, related_name="deliveries", db_index=False)
    # Copied from the event, so that the log filters and the engine orders by one index.
    event_type = models.CharField(max_length=100)
    subject = models.CharField(max_length=100)
    label = models.CharField(max_length=200)
    state = models.CharField(max_length=10, choices=State, default=State.PENDING)
    lane = models.PositiveSmallIntegerField(choices=Lane, default=Lane.LIVE)
    attempt_count = models.PositiveIntegerField(default=0)
    # Attempts before a resend or recovery do not use up the new run of the schedule.
    attempts_before = models.PositiveIntegerField(default=0)
    next_attempt_at = models.DateTimeField(null=True, default=timezone.now)
    lease_owner = models.CharField(max_length=64, blank=True)
    lease_until = models.DateTimeField(null=True)
    claimed_at = models.DateTimeField(null=True)
    last_status_code = models.PositiveSmallIntegerField(null=True)
    last_reason = models.CharField(max_length=20, blank=True)
    resent_by = models.CharField(max_length=150, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    delivered_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name_plural = "deliveries"
        permissions = [("resend_delivery", "Can resend a delivery")]
        constraints = [
            models.UniqueConstraint("event", "subscription", name="delivery_once_per_subscription"),
            models.CheckConstraint(
                name="delivery_due_exactly_while_pending",
                condition=Q(state="pending", next_attempt_at__isnull=False)
                | (~Q(state="pending") & Q(next_attempt_at__isnull=True)),
            ),
        ]
        indexes = [
            models.Index(
                "subscription", "lane", "next_attempt_at", "id", name="delivery_due", condition=Q(state="pending")
            ),
            models.Index("subscription", "lease_until", name="delivery_leased", condition=Q(state="sending")),
            models.Index(
                "subscription",
                "subject",
                "id",
                name="delivery_open",
                condition=Q(state__in=["pending", "sending", "parked"]),
            ),
            models.Index("subscription", "id", name="delivery_parked", condition=Q(state="parked")),
            models.Index("subscription", "subject", "id", name="delivery_skipped", condition=Q(state="skipped")),
            models.Index("subscription", F("id").desc(), name="delivery_by_subscription"),
            models.Index("state", F("id").desc(), name="delivery_by_state"),
            models.Index("event_type", F("id").desc(), name="delivery_by_type"),
            models.Index("label", F("id").desc(), name="delivery_by_label"),
            models.Index("subject", F("id").desc(), name="delivery_by_subject"),
            models.Index("created_at", name="delivery_by_time"),
            *lookups.INDEXES,
        ]

    def __str__(self) -> str:
        return f"{self.event_type} {self.label}"

    @property
    def max_attempts(self) -> int:
        return self.attempts_before + self.subscription.max_attempts


class Attempt(models.Model):
    """One request and what came of it. Added when it has ended, never changed."""

    delivery = models.ForeignKey(Delivery, on_delete=models.CASCADE, related_name="attempts", db_index=False)
    number = models.PositiveIntegerField()
    started_at = models.DateTimeField()
    duration_ms = models.PositiveIntegerField()
    status_code = models.PositiveSmallIntegerField(null=True)
    # Empty: it succeeded. Else one of `transport.Reason`.
    reason = models.CharField(max_length=20, blank=True)
    detail = models.CharField(max_length=500, blank=True)
    url = models.CharField(max_length=2000)
    # Lists of [name, value], secrets masked.
    request_headers = models.JSONField(default=list)
    response_headers = models.JSONField(default=list)
    response_body = models.TextField(blank=True)
    response_truncated = models.BooleanField(default=False)
    worker = models.CharField(max_length=64, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint("delivery", "number", name="attempt_number_once")]

    def __str__(self) -> str:
        return f"attempt {self.number}"

    @property
    def succeeded(self) -> bool:
        return not self.reason


class Replay(models.Model):
    """Old events on their way to one subscription, some at a time, behind live traffic."""

    class Kind(models.TextChoices):
        FAILED = "failed", "What failed, was parked or skipped"
        MISSING = "missing", "Events it never had a delivery of"
        SKIPPED = "skipped", "What was skipped while it was disabled"

    # What somebody may ask for; what was skipped is put back by `subscriptions.resume`.
    ASKED_FOR = [(kind.value, kind.label) for kind in (Kind.FAILED, Kind.MISSING)]

    public_id = PublicIdField("rpl")
    subscription = models.ForeignKey(Subscription, on_delete=models.CASCADE, related_name="replays")
    kind = models.CharField(max_length=10, choices=Kind)
    since = models.DateTimeField()
    # Not included. None: up to when it was started.
    until = models.DateTimeField(null=True)
    # Keys of deliveries, or of events: how far it has looked, and where it ends.
    after_id = models.BigIntegerField(default=0)
    until_id = models.BigIntegerField()
    total = models.PositiveIntegerField(help_text="How many there were to send when it was started.")
    # False: counting ended at `total`, and there may be more. Made true by the end.
    is_exact = models.BooleanField(default=True)
    # Events written within this span are neither counted nor sent: `Subscription.pruned_from` says why.
    left_out_from = models.DateTimeField(null=True)
    left_out_until = models.DateTimeField(null=True)
    done = models.PositiveIntegerField(default=0)
    started_by = models.CharField(max_length=150)
    started_at = models.DateTimeField()
    advanced_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    # Who ended it before its end.
    cancelled_by = models.CharField(max_length=150, blank=True)

    class Meta:
        indexes = [models.Index("id", name="replay_running", condition=Q(finished_at=None))]

    def __str__(self) -> str:
        return f"{self.done:,} of {max(self.total, self.done):,}{'' if self.is_exact else ' or more'}"

    @property
    def counted(self) -> str:
        return f"{self.total:,}{'' if self.is_exact else ' or more'}"

    @property
    def left_out(self) -> dict[str, datetime | None] | None:
        return {"since": self.left_out_from, "until": self.left_out_until} if self.left_out_from else None


class Tally(models.Model):
    """How many attempts begun in the same few minutes ended alike: rates and percentiles are read here, not in the log.

    `webhooks.tallies` writes it.
    """

    # Of all that is too old to be told apart.
    LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)

    subscription = models.ForeignKey(Subscription, on_delete=models.CASCADE, related_name="+", db_index=False)
    at = models.DateTimeField()
    # As of an attempt: empty for a success.
    reason = models.CharField(max_length=20, blank=True)
    # Which of `tallies.BOUNDS` the time from commit to receipt keeps within; -1 where it says nothing about us.
    latency = models.SmallIntegerField()
    count = models.PositiveBigIntegerField()
    milliseconds = models.PositiveBigIntegerField(help_text="From commit to receipt, all of them together.")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["subscription", "at", "reason", "latency"], name="tally_once_per_outcome")
        ]
        indexes = [models.Index("at", name="tally_by_time")]

    def __str__(self) -> str:
        return f"{self.count} × {self.reason or 'delivered'}"


class TallyMark(models.Model):
    """The one row that says up to which attempt the tallies count, and which was the latest when last looked at."""

    THE_ONE = 1

    counted = models.BigIntegerField(default=0)
    seen = models.BigIntegerField(default=0)
    looked_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.counted} of {self.seen}"


class Notice(models.Model):
    """A mail to an operator, until the mail server has taken it. `notices` writes it."""

    address = models.EmailField()
    title = models.CharField(max_length=200)
    text = models.TextField()
    made_at = models.DateTimeField()
    # Nobody tries to send it before.
    next_attempt_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.title} (to {self.address})"
