"""Conditions on `data`: of the events a subscription has chosen, those it is told.

Each is {"field": "channel", "operator": "eq", "value": "pos"}, and all of them must hold. A condition speaks of the
events that have its field; the others are told as if it were not there. So one of `order.*` for one warehouse is still
told of cancellations, which name none: an event too many can be left aside, one too few is lost.
"""

import json
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from typing import Any, NotRequired, TypedDict

from django.db import models

from webhooks import catalogue, schema
from webhooks.catalogue import EventType
from webhooks.models import Event

MOST_CONDITIONS = 10
MOST_VALUES = 100
MAX_TEXT = 200
MAX_NUMBER = 10**15
_AMOUNT = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class InvalidCondition(ValueError):
    """A condition that could never be checked."""


class Operator(models.TextChoices):
    """The labels read as sentences: channel *is one of* "pos", "web"."""

    EQ = "eq", "is"
    NE = "ne", "is not"
    LT = "lt", "is less than"
    LTE = "lte", "is at most"
    GT = "gt", "is more than"
    GTE = "gte", "is at least"
    IN = "in", "is one of"
    NOT_IN = "not_in", "is none of"


LISTING = frozenset({Operator.IN, Operator.NOT_IN})
_SAME = frozenset({Operator.EQ, Operator.NE})


class Condition(TypedDict):
    """`value` is a list with `in` and `not_in`; None, with `eq` and `ne`, is a field that holds nothing.

    One with an `event_type` speaks of that event only.
    """

    event_type: NotRequired[str]
    field: str
    operator: str
    value: Any


@dataclass(frozen=True)
class Kind:
    """What a field holds: which values it can be compared with, and as what."""

    words: str
    fits: Callable[[Any], bool]
    read: Callable[[Any], Any]
    operators: frozenset[Operator]


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= MAX_TEXT and "\x00" not in value


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= MAX_NUMBER


def _is_amount(value: Any) -> bool:
    return isinstance(value, str) and _AMOUNT.fullmatch(value) is not None


def _is_date(value: Any) -> bool:
    try:
        return isinstance(value, str) and _DATE.fullmatch(value) is not None and bool(date.fromisoformat(value))
    except ValueError:
        return False


def _is_moment(value: Any) -> bool:
    try:
        return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


def _as_it_is(value: Any) -> Any:
    return value


ANY = frozenset(Operator)
TEXT = Kind(f"a text of 1 to {MAX_TEXT} characters", _is_text, _as_it_is, _SAME | LISTING)
BOOLEAN = Kind("true or false", lambda value: isinstance(value, bool), _as_it_is, _SAME)
NUMBER = Kind("a number", _is_number, _as_it_is, ANY)
AMOUNT = Kind('an amount of money as a decimal text such as "49.90"', _is_amount, Decimal, ANY)
DATE = Kind('a date such as "2026-11-23"', _is_date, date.fromisoformat, ANY)
MOMENT = Kind('a moment with its zone such as "2026-11-23T18:04:05Z"', _is_moment, datetime.fromisoformat, ANY)

_BY_FORMAT = {"decimal": AMOUNT, "date": DATE, "date-time": MOMENT}
_BY_TYPE = {"string": TEXT, "boolean": BOOLEAN, "integer": NUMBER, "number": NUMBER}


# Fields


def fields_of(event_types: Iterable[str]) -> dict[str, Kind]:
    """What conditions can name with these choices: names, groups or `*`. A dot leads into a part: `address.country`."""
    chosen = list(event_types)
    fields: dict[str, Kind] = {}
    for event_type in catalogue.all_types():
        if catalogue.matches(chosen, event_type.name):
            fields |= _fields_of(event_type.serializer)
    return fields


@cache
def _fields_of(serializer: Any) -> Mapping[str, Kind]:
    return dict(_kinds(schema.data_schema(serializer)["properties"]))


def _kinds(properties: Mapping[str, schema.Schema], prefix: str = "") -> Iterable[tuple[str, Kind]]:
    for name, described in properties.items():
        kind_of_json = described["type"] if isinstance(described["type"], str) else described["type"][0]
        if kind_of_json == "object":
            yield from _kinds(described["properties"], f"{prefix}{name}.")
        elif kind := _BY_FORMAT.get(described.get("format", "")) or _BY_TYPE.get(kind_of_json):
            yield prefix + name, kind


# When a subscription is saved


def check(conditions: Sequence[Condition], event_types: Iterable[str]) -> None:
    """Raises InvalidCondition."""
    if len(conditions) > MOST_CONDITIONS:
        raise InvalidCondition(f"At most {MOST_CONDITIONS} conditions can be given.")
    fields = fields_of(event_types)
    for place, condition in enumerate(conditions, start=1):
        if fault := _fault(condition, fields.get(condition["field"])):
            raise InvalidCondition(f"Condition {place}: {fault}")


def _fault(condition: Condition, kind: Kind | None) -> str:
    """What is wrong with it; nothing if it can be checked."""
    field, chosen, value = condition["field"], condition["operator"], condition["value"]
    if kind is None:
        return f"none of the chosen events has a field {field!r} that can be compared."
    if chosen not in kind.operators:
        fitting = ", ".join(each for each in Operator if each in kind.operators)
        return f"{chosen!r} does not fit {field}, which holds {kind.words}: use one of {fitting}."
    if chosen in LISTING:
        if not isinstance(value, list) or not 1 <= len(value) <= MOST_VALUES:
            return f"{chosen!r} needs a list of 1 to {MOST_VALUES} values."
        return "" if all(map(kind.fits, value)) else f"each value for {field} must be {kind.words}."
    if value is None and chosen in _SAME:
        return ""
    return "" if kind.fits(value) else f"the value for {field} must be {kind.words}."


# When an event is written, and when it is looked for again


def hold(conditions: Sequence[Condition], event_type: EventType, data: Mapping[str, Any]) -> bool:
    return unmet(conditions, event_type, data) is None


def hold_of(conditions: Sequence[Condition], event: Event) -> bool:
    """The same of an event as it was written."""
    return not conditions or hold(conditions, catalogue.get(event.type), json.loads(event.body)["data"])


def unmet(conditions: Sequence[Condition], event_type: EventType, data: Mapping[str, Any]) -> Condition | None:
    """The first that does not hold."""
    if not conditions:
        return None
    fields = _fields_of(event_type.serializer)
    spoken_of = (
        condition
        for condition in conditions
        if condition["field"] in fields and condition.get("event_type") in (None, event_type.name)
    )
    return next((each for each in spoken_of if not _is_met(each, fields[each["field"]], data)), None)


def _is_met(condition: Condition, kind: Kind, data: Mapping[str, Any]) -> bool:
    value = condition["value"]
    wanted = [kind.read(each) for each in value] if isinstance(value, list) else _read(kind, value)
    return _COMPARE[condition["operator"]](_read(kind, find(data, condition["field"])), wanted)


def _read(kind: Kind, value: Any) -> Any:
    return None if value is None else kind.read(value)


def find(data: Mapping[str, Any], field: str) -> Any:
    """The value of a field; None also in a body that was written before there was such a field."""
    found: Any = data
    for name in field.split("."):
        found = found.get(name) if found else None
    return found


def _in_order(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    return lambda said, wanted: said is not None and compare(said, wanted)


_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    Operator.EQ: operator.eq,
    Operator.NE: operator.ne,
    Operator.LT: _in_order(operator.lt),
    Operator.LTE: _in_order(operator.le),
    Operator.GT: _in_order(operator.gt),
    Operator.GTE: _in_order(operator.ge),
    Operator.IN: lambda said, wanted: said in wanted,
    Operator.NOT_IN: lambda said, wanted: said not in wanted,
}


def in_words(condition: Condition) -> str:
    """`warehouse_code is one of "BER", "HAM"`."""
    value = condition["value"]
    values = value if isinstance(value, list) else [value]
    shown = ", ".join(json.dumps(each, ensure_ascii=False) for each in values)
    whose = f" of {condition['event_type']}" if "event_type" in condition else ""
    return f"{condition['field']}{whose} {Operator(condition['operator']).label} {shown}"
