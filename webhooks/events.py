"""The engine's own event types."""

from dataclasses import dataclass
from datetime import datetime

from rest_framework import serializers

from webhooks.catalogue import EventType, Subject, declare
from webhooks.models import Subscription


@dataclass(frozen=True)
class Ping:
    """The fact behind `webhook.test`: somebody asked whether a subscription works."""

    subscription_id: str
    subscription_name: str
    requested_by: str
    at: datetime


class PingSerializer(serializers.Serializer[Ping]):
    subscription_id = serializers.CharField()
    subscription_name = serializers.CharField()
    requested_by = serializers.CharField()
    message = serializers.SerializerMethodField()

    def get_message(self, ping: Ping) -> str:
        return "If you can read this and its signature verifies, you are connected."


TEST = EventType(
    name="webhook.test",
    summary="Somebody pressed “Send test event”: proves that address, headers and signature work.",
    subject=Subject(
        kind="subscription",
        example="sub_01jdcq9v8k3x5w2m7r4t6y8z0a",
        id=lambda ping: ping.subscription_id,
        label=lambda ping: ping.subscription_name,
    ),
    serializer=PingSerializer,
    example={
        "subscription_id": "sub_01jdcq9v8k3x5w2m7r4t6y8z0a",
        "subscription_name": "Warehouse system",
        "requested_by": "ann",
        "message": "If you can read this and its signature verifies, you are connected.",
    },
)


@dataclass(frozen=True)
class Wellbeing:
    """The fact behind `subscription.*`: how one is doing since a moment, or how it had done until then."""

    subscription: Subscription
    consecutive_failures: int
    failing_since: datetime | None
    at: datetime


class WellbeingSerializer(serializers.Serializer[Wellbeing]):
    subscription_id = serializers.CharField(source="subscription.public_id")
    subscription_name = serializers.CharField(source="subscription.name")
    state = serializers.ChoiceField(choices=Subscription.State.choices, source="subscription.state")
    state_reason = serializers.CharField(source="subscription.state_reason")
    state_changed_by = serializers.CharField(source="subscription.state_changed_by")
    consecutive_failures = serializers.IntegerField()
    failing_since = serializers.DateTimeField(allow_null=True)
    changed_at = serializers.DateTimeField(source="at")


_TOLD_OF = Subject(
    kind="subscription",
    example="sub_01jdcq9v8k3x5w2m7r4t6y8z0a",
    id=lambda fact: fact.subscription.public_id,
    label=lambda fact: fact.subscription.name,
)
_FAILING = {
    "subscription_id": "sub_01jdcq9v8k3x5w2m7r4t6y8z0a",
    "subscription_name": "Warehouse system",
    "state": "active",
    "state_reason": "",
    "state_changed_by": "ann",
    "consecutive_failures": 10,
    "failing_since": "2026-11-23T18:04:05.123000Z",
    "changed_at": "2026-11-23T18:09:10.456000Z",
}
FAILING = EventType(
    name="subscription.failing",
    summary="A system failed ten times in a row: its events wait, and it is tried now and then.",
    subject=_TOLD_OF,
    serializer=WellbeingSerializer,
    example=_FAILING,
)
RECOVERED = EventType(
    name="subscription.recovered",
    summary="A system that was failing has answered well again; failing_since tells since when it had not.",
    subject=_TOLD_OF,
    serializer=WellbeingSerializer,
    example=_FAILING | {"changed_at": "2026-11-23T21:30:00.000000Z"},
)
DISABLED = EventType(
    name="subscription.disabled",
    summary="A system is told nothing any more: staff, its own answer (410) or five days without a success ended it.",
    subject=_TOLD_OF,
    serializer=WellbeingSerializer,
    example=_FAILING
    | {"state": "disabled", "state_reason": "The receiver answered 410 Gone.", "state_changed_by": "system"},
)

declare(TEST, FAILING, RECOVERED, DISABLED)
