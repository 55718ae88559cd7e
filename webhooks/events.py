"""The engine's own event types."""

from dataclasses import dataclass
from datetime import datetime

from rest_framework import serializers

from webhooks.catalogue import EventType, Subject, declare


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
        kind="subscription", id=lambda ping: ping.subscription_id, label=lambda ping: ping.subscription_name
    ),
    serializer=PingSerializer,
    example={
        "subscription_id": "sub_01jdcq9v8k3x5w2m7r4t6y8z0a",
        "subscription_name": "Warehouse system",
        "requested_by": "ann",
        "message": "If you can read this and its signature verifies, you are connected.",
    },
)

declare(TEST)
