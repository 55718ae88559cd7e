import json
from datetime import datetime
from typing import Any

import pytest

from tests.factories import NOW
from tests.told import DataOf, Told
from webhooks.models import Event


@pytest.fixture
def now() -> datetime:
    return NOW


@pytest.fixture
def told() -> Told:
    """The types of the events about a subject, in their sequence."""

    def types_of(subject: str) -> list[str]:
        return list(Event.objects.filter(subject=subject).order_by("sequence").values_list("type", flat=True))

    return types_of


@pytest.fixture
def data_of() -> DataOf:
    """The `data` of the latest event of a type."""

    def read(event_type: str) -> dict[str, Any]:
        event = Event.objects.filter(type=event_type).latest("pk")
        data: dict[str, Any] = json.loads(event.body)["data"]
        return data

    return read
