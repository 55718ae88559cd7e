import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from tests.factories import NOW
from webhooks.models import Event

Data = dict[str, Any]


@pytest.fixture
def now() -> datetime:
    return NOW


@pytest.fixture
def told() -> Callable[[str], list[str]]:
    """The types of the events about a subject, in their sequence."""

    def types_of(subject: str) -> list[str]:
        return list(Event.objects.filter(subject=subject).order_by("sequence").values_list("type", flat=True))

    return types_of


@pytest.fixture
def data_of() -> Callable[[str], Data]:
    """The `data` of the latest event of a type."""

    def read(event_type: str) -> Data:
        event = Event.objects.filter(type=event_type).latest("pk")
        data: Data = json.loads(event.body)["data"]
        return data

    return read
