"""The public shapes of subscriptions, deliveries and attempts."""

from collections.abc import Callable
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from webhooks import catalogue, feed, subscriptions
from webhooks.bodies import Body, Moment, Query
from webhooks.catalogue import EventType
from webhooks.conditions import Operator
from webhooks.doctor import Check, Finding
from webhooks.models import Attempt, Delivery, Replay, Subscription
from webhooks.schema import body_example, body_schema
from webhooks.signing import Scheme, scheme_of
from webhooks.subscriptions import InvalidSubscription, KeyInUse
from webhooks.transport import MASK


class HeadersField(serializers.DictField):
    """Write-only values: a reader gets the names, each with a mask. A mask that is written back keeps the value."""

    child = serializers.CharField(allow_blank=True, trim_whitespace=False, max_length=subscriptions.MAX_HEADER_VALUE)

    def to_representation(self, value: dict[str, str]) -> dict[str, str]:
        return dict.fromkeys(value, MASK)


class KeyInUseSerializer(serializers.Serializer[KeyInUse]):
    signature = serializers.ChoiceField(choices=Scheme.choices)
    public_key = serializers.CharField(allow_null=True, help_text="`whpk_…`, to verify v1a with; null for v1.")
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(allow_null=True, help_text="null: it signs until it is replaced.")


_SCALARS = [{"type": "string"}, {"type": "number"}, {"type": "boolean"}]


@extend_schema_field({"oneOf": [*_SCALARS, {"type": "null"}, {"type": "array", "items": {"oneOf": _SCALARS}}]})
class ComparedValueField(serializers.JSONField):
    """What a field of `data` is compared with; `conditions` knows which values fit which field."""


class ConditionSerializer(Body):
    """What an event's `data` must hold for it to be sent."""

    field = serializers.CharField(
        max_length=100, help_text="A name in `data`; a dot leads into a part, as in `shipping_address.country`."
    )
    operator = serializers.ChoiceField(choices=Operator.choices, help_text="Texts and booleans have no order.")
    value = ComparedValueField(
        allow_null=True,
        help_text="As it stands in a body: amounts, dates and moments are texts, and are compared as what they are;"
        " `in` and `not_in` take a list; null, with `eq` and `ne`, is a field that holds nothing.",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Whole, even where the subscription is changed in part."""
        if missing := self.fields.keys() - attrs.keys():
            raise serializers.ValidationError(dict.fromkeys(missing, "This field is required."), code="required")
        return attrs


class SubscriptionSerializer(Body, serializers.ModelSerializer[Subscription]):
    id = serializers.CharField(source="public_id", read_only=True)
    url = serializers.CharField(max_length=2000)
    event_types = serializers.ListField(child=serializers.CharField(max_length=100), max_length=200)
    conditions = ConditionSerializer(
        many=True,
        required=False,
        help_text="All must hold. Each speaks of the events that have its field; the others are sent as without it.",
    )
    compact = serializers.BooleanField(
        required=False,
        help_text="Latest wins: of the events with `is_snapshot` that have not gone out yet, only the newest of each"
        " subject and type is sent; the older ones become `superseded`.",
    )
    headers = HeadersField(required=False)
    retry_schedule = serializers.ListField(
        child=serializers.IntegerField(),
        required=False,
        allow_null=True,
        help_text="Seconds after each failure; null: the default.",
    )
    secrets = serializers.SerializerMethodField(help_text="Those that sign now, newest first; never their values.")

    class Meta:
        model = Subscription
        fields = (
            "id",
            "name",
            "url",
            "event_types",
            "conditions",
            "compact",
            "headers",
            "ordering",
            "retry_schedule",
            "max_in_flight",
            "max_per_second",
            "state",
            "state_reason",
            "state_changed_at",
            "created_at",
            "secrets",
        )
        read_only_fields = ("state", "state_reason", "state_changed_at", "created_at")

    @extend_schema_field(KeyInUseSerializer(many=True))
    def get_secrets(self, subscription: Subscription) -> list[dict[str, Any]]:
        return [KeyInUseSerializer(key).data for key in subscriptions.keys_in_use(subscription, now=timezone.now())]

    def validate_url(self, url: str) -> str:
        _in_words(subscriptions.check_url, url)
        return url

    def validate_event_types(self, event_types: list[str]) -> list[str]:
        chosen = list(dict.fromkeys(event_types))
        _in_words(subscriptions.check_event_types, chosen)
        return chosen

    def validate_headers(self, headers: dict[str, str]) -> dict[str, str]:
        stored = self.instance.headers if self.instance else {}
        kept = {name: stored[name] if value == MASK and name in stored else value for name, value in headers.items()}
        _in_words(subscriptions.check_headers, kept)
        return kept

    def validate_retry_schedule(self, steps: list[int] | None) -> list[int] | None:
        _in_words(subscriptions.check_retry_schedule, steps)
        return steps

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """A condition fits some choices of events only: neither changes without the other being looked at."""
        if not {"event_types", "conditions"}.isdisjoint(attrs):
            wished = attrs.get("conditions", self.instance.conditions if self.instance else [])
            event_types = attrs.get("event_types", self.instance.event_types if self.instance else [])
            try:
                subscriptions.check_conditions(wished, event_types)
            except InvalidSubscription as error:
                raise serializers.ValidationError({error.field: str(error)}, code=error.code) from error
        return attrs

    def create(self, validated_data: dict[str, Any]) -> Subscription:
        wishes = {"headers": {}} | validated_data
        return subscriptions.create(**wishes, by=str(self.context["request"].user), now=timezone.now())

    def update(self, instance: Subscription, validated_data: dict[str, Any]) -> Subscription:
        """Only what was written: its state may change meanwhile."""
        for name, value in validated_data.items():
            setattr(instance, name, value)
        instance.save(update_fields=validated_data)
        return instance


def _in_words(check: Callable[[Any], None], value: Any) -> None:
    try:
        check(value)
    except InvalidSubscription as error:
        raise serializers.ValidationError(str(error), code=error.code) from error


class NewSubscriptionSerializer(SubscriptionSerializer):
    """With its secret, which no other answer shows."""

    signature = serializers.ChoiceField(choices=Scheme.choices, required=False, write_only=True)
    secret = serializers.SerializerMethodField(
        help_text="null for v1a: its private key is never told, and its public key is among `secrets`."
    )

    class Meta(SubscriptionSerializer.Meta):
        fields = (*SubscriptionSerializer.Meta.fields, "signature", "secret")  # type: ignore[assignment]

    def validate_signature(self, signature: str) -> Scheme:
        return Scheme(signature)

    def get_secret(self, subscription: Subscription) -> str | None:
        newest = subscription.live_secrets(now=timezone.now())[0]
        return newest if scheme_of(newest) is Scheme.HMAC else None


class RotationSerializer(Body):
    signature = serializers.ChoiceField(
        choices=Scheme.choices, required=False, help_text="Absent: the kind that it has now."
    )


class ResumeBody(Body):
    recover = serializers.BooleanField(
        default=True, help_text="false: what was skipped while it was disabled stays skipped."
    )


class RecoverBody(Body):
    since = Moment(help_text="Nothing older is sent.")
    until = Moment(required=False, allow_null=True, help_text="Nothing of that moment or later is sent. Absent: now.")
    kind = serializers.ChoiceField(
        Replay.ASKED_FOR,
        default=Replay.Kind.FAILED,
        help_text="failed: what failed, was parked or skipped. missing: events it never had a delivery of.",
    )
    dry_run = serializers.BooleanField(default=False, help_text="true: only count.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs.get("until") is not None and attrs["until"] <= attrs["since"]:
            raise serializers.ValidationError({"until": "This is not after `since`."}, code="out_of_range")
        return attrs


class SpanSerializer(serializers.Serializer[Any]):
    """Both ends are included."""

    since = serializers.DateTimeField()
    until = serializers.DateTimeField()


class ReplaySerializer(serializers.ModelSerializer[Replay]):
    id = serializers.SerializerMethodField(help_text="null: they were only counted.")
    count = serializers.IntegerField(source="total", help_text="How many there were when it was started.")
    is_exact = serializers.BooleanField(
        help_text="false: counting ended at `count`, and there may be more; the end of the run tells."
    )
    done = serializers.IntegerField(help_text="How many of them are on their way.")
    left_out = SpanSerializer(
        allow_null=True,
        help_text="Of `missing`: events of that time are neither counted nor sent, as deliveries of that time are"
        " forgotten and nobody can tell which it never had. null: none.",
    )
    started_at = serializers.DateTimeField(allow_null=True, help_text="null: they were only counted.")

    class Meta:
        model = Replay
        fields = (
            "id",
            "kind",
            "since",
            "until",
            "count",
            "is_exact",
            "done",
            "left_out",
            "started_by",
            "started_at",
            "finished_at",
            "cancelled_by",
        )

    def get_id(self, replay: Replay) -> str | None:
        return replay.public_id if replay.pk else None


class ReplaysSerializer(serializers.Serializer[Any]):
    results = ReplaySerializer(many=True)


class FindingSerializer(serializers.Serializer[Finding]):
    check = serializers.ChoiceField(choices=Check.choices)
    ok = serializers.BooleanField()
    words = serializers.CharField(help_text="What was seen; if it is not ok, what is wrong and how to mend it.")
    duration_ms = serializers.IntegerField()


class ExaminationSerializer(serializers.Serializer[Any]):
    ok = serializers.BooleanField(help_text="Whether every finding is.")
    findings = FindingSerializer(many=True, help_text="Ends early where further checks would prove nothing.")


class AttemptSerializer(serializers.ModelSerializer[Attempt]):
    reason = serializers.SerializerMethodField(help_text="null: it succeeded.")

    class Meta:
        model = Attempt
        fields = (
            "number",
            "started_at",
            "duration_ms",
            "status_code",
            "reason",
            "detail",
            "url",
            "request_headers",
            "response_headers",
            "response_body",
            "response_truncated",
        )

    def get_reason(self, attempt: Attempt) -> str | None:
        return attempt.reason or None


class DeliverySerializer(serializers.ModelSerializer[Delivery]):
    id = serializers.CharField(source="public_id")
    event_id = serializers.CharField(source="event.public_id")
    subscription_id = serializers.CharField(source="subscription.public_id")
    last_reason = serializers.SerializerMethodField(help_text="null: it has not failed, or the last attempt succeeded.")

    class Meta:
        model = Delivery
        fields = (
            "id",
            "event_id",
            "event_type",
            "subject",
            "label",
            "subscription_id",
            "state",
            "attempt_count",
            "last_status_code",
            "last_reason",
            "next_attempt_at",
            "created_at",
            "delivered_at",
        )

    def get_last_reason(self, delivery: Delivery) -> str | None:
        return delivery.last_reason or None


class DeliveryDetailSerializer(DeliverySerializer):
    attempts = serializers.SerializerMethodField()

    class Meta(DeliverySerializer.Meta):
        fields = (*DeliverySerializer.Meta.fields, "attempts")  # type: ignore[assignment]

    def get_attempts(self, delivery: Delivery) -> list[dict[str, Any]]:
        """In order; `attempts` has no order of its own."""
        return list(AttemptSerializer(delivery.attempts.order_by("number"), many=True).data)


class EventTypeSerializer(serializers.Serializer[EventType]):
    name = serializers.CharField()
    summary = serializers.CharField()
    subject = serializers.CharField(source="subject.kind", help_text="What its `sequence` is counted per.")
    is_snapshot = serializers.BooleanField(help_text="The newest of a subject tells all: `compact` sends only that.")
    schema = serializers.SerializerMethodField(help_text="JSON Schema (2020-12) of the body.")
    example = serializers.SerializerMethodField(help_text="A whole body.")

    def get_schema(self, event_type: EventType) -> dict[str, Any]:
        return body_schema(event_type)

    def get_example(self, event_type: EventType) -> dict[str, Any]:
        return body_example(event_type)


class EventTypesSerializer(serializers.Serializer[Any]):
    results = EventTypeSerializer(many=True)


class EnvelopeSerializer(serializers.Serializer[Any]):
    """The body that a receiver is sent (its `data` is described with the webhook of its `type`)."""

    id = serializers.CharField()
    type = serializers.CharField()
    api_version = serializers.CharField()
    timestamp = serializers.DateTimeField()
    subject = serializers.CharField()
    sequence = serializers.IntegerField(min_value=1)
    data = serializers.DictField()  # type: ignore[assignment]


class FeedPageSerializer(serializers.Serializer[Any]):
    next = serializers.URLField(allow_null=True, help_text="null: nothing more has happened yet.")
    previous = serializers.URLField(allow_null=True, help_text="Always null: the feed is read forwards.")
    results = EnvelopeSerializer(many=True)


class FeedQuery(Query):
    after = serializers.CharField(
        default=feed.FROM_ZERO, max_length=40, help_text="`id` of the last event that was read; without it, from zero."
    )
    type = serializers.ListField(
        child=serializers.CharField(max_length=100),
        default=list,
        max_length=200,
        help_text="Names or groups, such as order.shipped or order.*; may be given several times.",
    )
    subject = serializers.CharField(default="", max_length=100, help_text="Of one order, customer, product, …")
    page_size = serializers.IntegerField(default=50, min_value=1, max_value=200)

    def validate_type(self, patterns: list[str]) -> list[str]:
        if unknown := catalogue.unknown(patterns):
            raise serializers.ValidationError(f"There is no event type {unknown[0]}.")
        return patterns


class StreamQuery(FeedQuery):
    after = serializers.CharField(
        default="",
        max_length=40,
        help_text="`id` of the last event that was read; without it, what happens from now on.",
    )
    page_size = None  # type: ignore[assignment]  # How Django REST framework takes a field away.
