from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import Client

from commerce.inbound import processing, sources
from commerce.models import InboundMessage, InboundSource
from tests.inbound.senders import SECRETS, Sender

# Far more than any test needs: what can never be processed would keep it here for ever.
MOST_RUNS = 100

OPTIONS: dict[str, dict[str, Any]] = {
    "hmac": {
        "header": "X-Courier-Signature",
        "prefix": "sha256=",
        "paths": {
            "id": "notification.uuid",
            "tracking_number": "notification.parcels.0.barcode",
            "status": "notification.parcels.0.events.-1.code",
            "occurred_at": "notification.parcels.0.events.-1.at",
            "message": "notification.parcels.0.events.-1.text",
            "location": "notification.parcels.0.events.-1.place",
        },
        "words": {"ZUGESTELLT": "delivered", "DEPOT_IN": "arrived_at_hub"},
    }
}


def make_source(scheme: str, **changed: Any) -> InboundSource:
    options = OPTIONS.get(scheme, {}) | changed
    return sources.create(scheme, scheme=scheme, secrets=[SECRETS[scheme]], now=datetime.now(UTC), **options)


@pytest.fixture
def connect(client: Client, now: datetime) -> Callable[..., Sender]:
    """A sender of a scheme, and the source that knows it."""

    def make(scheme: str, **options: Any) -> Sender:
        make_source(scheme, **options)
        return Sender(client, scheme, int(now.timestamp()))

    return make


def take_in() -> None:
    """What the queue would do, by hand: a run is short, and rings for the next one."""
    processing.work_off()
    for _ in range(MOST_RUNS):
        if not processing.due(datetime.now(UTC)).exists():
            return
        processing.work_off()


def make_due() -> None:
    """What waits to be tried again is due now."""
    InboundMessage.objects.exclude(next_attempt_at=None).update(next_attempt_at=datetime.now(UTC))


def only_message() -> InboundMessage:
    return InboundMessage.objects.get()


def last_message() -> InboundMessage:
    return InboundMessage.objects.latest("pk")
