"""The catalogue: every event type there is, declared once by the app that owns it.

The set-up screen's choices, the API's list, the JSON Schemas, the docs and the test events all come from here.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from rest_framework.serializers import Serializer

API_VERSION = "2026-11-01"
EVERYTHING = "*"


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What events are about: their sequence is counted, and their order kept, per `id`.

    `label` is the word a person searches by: an order number, a SKU, an e-mail address. `example` is one such `id`.
    """

    kind: str
    example: str
    id: Callable[[Any], str]
    label: Callable[[Any], str]


@dataclass(frozen=True, kw_only=True)
class Wording:
    """What a shopper can be told of an event, as `messages` reads it; with a `status`, only when it turns to that."""

    subject: str
    text: str
    status: str = ""


@dataclass(frozen=True, kw_only=True)
class EventType:
    """A kind of event. `serializer` turns the fact it is emitted for into `data`; `example` is one such `data`.

    One serializer serves every fact, so it may keep nothing of one: making its fields costs more than reading them.
    `is_snapshot`: `data` is all there is to know of the subject, so that the newest one makes the older ones needless.
    `wording` is the message that a new set of messages to shoppers begins with.
    """

    name: str
    summary: str
    subject: Subject
    serializer: type[Serializer[Any]]
    example: Mapping[str, Any]
    is_snapshot: bool = False
    wording: Wording | None = None

    def data_of(self, fact: Any) -> Any:
        return self._serializer.to_representation(fact)

    @cached_property
    def _serializer(self) -> Serializer[Any]:
        return self.serializer()

    @property
    def group(self) -> str:
        return self.name.rpartition(".")[0]


class UnknownEventType(LookupError):
    """No event type of that name, group or wildcard has been declared."""


_declared: dict[str, EventType] = {}


def declare(*event_types: EventType) -> None:
    for event_type in event_types:
        if _declared.setdefault(event_type.name, event_type) is not event_type:
            raise ValueError(f"The event type {event_type.name} is declared twice.")


def all_types() -> list[EventType]:
    """In the order they were declared, the apps' order in INSTALLED_APPS."""
    return list(_declared.values())


def snapshots() -> list[str]:
    """The names of those whose newest event makes the older ones of its subject needless."""
    return [event_type.name for event_type in all_types() if event_type.is_snapshot]


def get(name: str) -> EventType:
    try:
        return _declared[name]
    except KeyError:
        raise UnknownEventType(name) from None


def groups() -> dict[str, list[EventType]]:
    """The first word of the names, with its types: `order` -> order.created, order.return.initiated, …"""
    found: dict[str, list[EventType]] = {}
    for event_type in all_types():
        found.setdefault(event_type.name.partition(".")[0], []).append(event_type)
    return found


def matches(patterns: Iterable[str], name: str) -> bool:
    """Whether any of a subscription's choices (`order.shipped`, `order.*`, `*`) covers the event type `name`."""
    return any(
        pattern in (name, EVERYTHING) or (pattern.endswith(".*") and name.startswith(pattern[:-1]))
        for pattern in patterns
    )


def unknown(patterns: Iterable[str]) -> list[str]:
    """Those of the choices that cover no declared event type."""
    return [pattern for pattern in patterns if not any(matches([pattern], name) for name in _declared)]
