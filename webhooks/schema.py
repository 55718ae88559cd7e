"""JSON Schema (2020-12) of every event's body, derived from the serializer that makes its `data`.

Strict: no field may be missing or unknown, and only those that may be null can be.
"""

import types
from collections.abc import Callable
from typing import Any, Union, get_args, get_origin, get_type_hints

from rest_framework import serializers
from rest_framework.fields import Field

from webhooks.catalogue import API_VERSION, EventType

DIALECT = "https://json-schema.org/draft/2020-12/schema"
Schema = dict[str, Any]


class NoSchema(TypeError):
    """A field says nothing of what it gives; declare it with a field that does, or annotate its method."""


def body_schema(event_type: EventType) -> Schema:
    """Of the whole envelope."""
    return {
        "$schema": DIALECT,
        "title": event_type.name,
        "description": event_type.summary,
        **_object(
            {
                "id": {"type": "string", "pattern": "^evt_[0-9a-z]{26}$"},
                "type": {"const": event_type.name},
                "api_version": {"const": API_VERSION},
                "timestamp": {"type": "string", "format": "date-time"},
                "subject": {"type": "string", "minLength": 1},
                "sequence": {"type": "integer", "minimum": 1},
                "data": data_schema(event_type.serializer),
            }
        ),
    }


def data_schema(serializer: type[serializers.Serializer[Any]]) -> Schema:
    """Of `data` alone."""
    return _of_serializer(serializer())


def body_example(event_type: EventType) -> dict[str, Any]:
    return {
        "id": "evt_01jdcq9v8k3x5w2m7r4t6y8z0a",
        "type": event_type.name,
        "api_version": API_VERSION,
        "timestamp": "2026-11-23T18:04:05.123Z",
        "subject": event_type.subject.example,
        "sequence": 1,
        "data": event_type.example,
    }


def _object(properties: dict[str, Schema]) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _of_serializer(serializer: serializers.Serializer[Any]) -> Schema:
    return _object({name: _of_field(field) for name, field in serializer.fields.items() if not field.write_only})


def _of_field(field: Field[Any, Any, Any, Any]) -> Schema:
    schema = next((make(field) for kind, make in _KINDS if isinstance(field, kind)), None)
    if schema is None:
        raise NoSchema(f"{type(field).__name__} {field.field_name} has no JSON Schema.")
    if field.help_text:
        schema = schema | {"description": str(field.help_text)}
    return _nullable(schema) if field.allow_null else schema


def _nullable(schema: Schema) -> Schema:
    if "enum" in schema:
        return schema | {"type": [schema["type"], "null"], "enum": [*schema["enum"], None]}
    return schema | {"type": [schema["type"], "null"]}


def _text(form: str) -> Callable[[Any], Schema]:
    return lambda _: {"type": "string", "format": form}


def _of_text(field: serializers.CharField) -> Schema:
    """A text with a form of its own names it: `schema_format`."""
    form = getattr(field, "schema_format", None)
    return {"type": "string", "format": form} if form else {"type": "string"}


def _of_list(field: serializers.ListSerializer[Any] | serializers.ListField) -> Schema:
    items: Any = field.child
    return {"type": "array", "items": _of_field(items)}


def _of_choice(field: serializers.ChoiceField) -> Schema:
    return {"type": "string", "enum": list(field.choices)}


def _of_method(field: serializers.SerializerMethodField) -> Schema:
    method = getattr(field.parent, str(field.method_name))
    hint = get_type_hints(method).get("return")
    if hint is None:
        raise NoSchema(f"{method.__qualname__} must say what it returns.")
    return _of_hint(hint)


def _of_hint(hint: Any) -> Schema:
    if get_origin(hint) in (Union, types.UnionType):
        (only,) = (part for part in get_args(hint) if part is not type(None))
        return _nullable(_of_hint(only))
    if get_origin(hint) is list:
        return {"type": "array", "items": _of_hint(get_args(hint)[0])}
    if hint not in _HINTS:
        raise NoSchema(f"{hint} has no JSON Schema.")
    return {"type": _HINTS[hint]}


_HINTS = {str: "string", bool: "boolean", int: "integer", float: "number"}

# The most particular first: DRF's fields inherit from one another.
_KINDS: list[tuple[type[Any], Callable[[Any], Schema]]] = [
    (serializers.ListSerializer, _of_list),
    (serializers.Serializer, _of_serializer),
    (serializers.SerializerMethodField, _of_method),
    (serializers.ListField, _of_list),
    (serializers.ChoiceField, _of_choice),
    (serializers.EmailField, _text("email")),
    (serializers.URLField, _text("uri")),
    (serializers.DateTimeField, _text("date-time")),
    (serializers.DateField, _text("date")),
    (serializers.BooleanField, lambda _: {"type": "boolean"}),
    (serializers.IntegerField, lambda _: {"type": "integer"}),
    (serializers.FloatField, lambda _: {"type": "number"}),
    (serializers.CharField, _of_text),
]
