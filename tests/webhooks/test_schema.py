"""Strict JSON Schemas of every event's body, derived from its serializer."""

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker  # type: ignore[import-untyped]
from jsonschema.exceptions import ValidationError  # type: ignore[import-untyped]
from rest_framework import serializers

from tests.factories import ship_order
from webhooks import catalogue
from webhooks.catalogue import EventType, Subject
from webhooks.models import Event
from webhooks.schema import NoSchema, body_example, body_schema


def validate(body: Any, event_type: EventType) -> None:
    Draft202012Validator(body_schema(event_type), format_checker=FormatChecker()).validate(body)


def declared(serializer: type[serializers.Serializer[Any]]) -> EventType:
    subject = Subject(kind="thing", example="thi_1", id=str, label=str)
    return EventType(name="thing.made", summary="Made.", subject=subject, serializer=serializer, example={})


def data_schema(serializer: type[serializers.Serializer[Any]]) -> dict[str, Any]:
    data: dict[str, Any] = body_schema(declared(serializer))["properties"]["data"]
    return data


def every(event_type: EventType) -> str:
    return event_type.name


class TestTheCatalogue:
    @pytest.mark.parametrize("event_type", catalogue.all_types(), ids=every)
    def test_each_schema_is_valid_and_its_example_fits(self, event_type: EventType) -> None:
        Draft202012Validator.check_schema(body_schema(event_type))
        validate(json.loads(json.dumps(body_example(event_type))), event_type)

    @pytest.mark.parametrize("event_type", catalogue.all_types(), ids=every)
    def test_a_field_may_be_neither_missing_nor_unknown(self, event_type: EventType) -> None:
        body = body_example(event_type)
        first = next(iter(body["data"]))
        for wrong in (
            {**body, "surprise": 1},
            {**body, "data": {**body["data"], "surprise": 1}},
            {**body, "data": {name: value for name, value in body["data"].items() if name != first}},
            {**body, "type": "order.eaten"},
            {**body, "sequence": 0},
        ):
            with pytest.raises(ValidationError):
                validate(wrong, event_type)

    @pytest.mark.django_db
    def test_what_is_really_told_fits(self) -> None:
        ship_order()

        events = list(Event.objects.all())
        for event in events:
            validate(json.loads(event.body), catalogue.get(event.type))
        assert {"order.created", "order.packed", "order.shipped", "inventory.updated"} <= {each.type for each in events}


class Line(serializers.Serializer[Any]):
    sku = serializers.CharField(help_text="As in the catalogue.")


class Thing(serializers.Serializer[Any]):
    note = serializers.CharField(allow_null=True)
    size = serializers.ChoiceField(["s", "m"], allow_null=True)
    on = serializers.DateField()
    lines = Line(many=True)
    tags = serializers.ListField(child=serializers.IntegerField())
    ratio = serializers.FloatField()
    maybe = serializers.SerializerMethodField()
    names = serializers.SerializerMethodField()

    def get_maybe(self, _: object) -> bool | None:
        return None

    def get_names(self, _: object) -> list[str]:
        return []


class TestFields:
    def test_say_their_type_and_whether_they_may_be_null(self) -> None:
        properties = data_schema(Thing)["properties"]

        assert properties["note"] == {"type": ["string", "null"]}
        assert properties["size"] == {"type": ["string", "null"], "enum": ["s", "m", None]}
        assert properties["on"] == {"type": "string", "format": "date"}
        assert properties["tags"] == {"type": "array", "items": {"type": "integer"}}
        assert properties["ratio"] == {"type": "number"}
        assert properties["maybe"] == {"type": ["boolean", "null"]}
        assert properties["names"] == {"type": "array", "items": {"type": "string"}}

    def test_nested_ones_are_strict_too(self) -> None:
        line = data_schema(Thing)["properties"]["lines"]["items"]

        assert line["properties"] == {"sku": {"type": "string", "description": "As in the catalogue."}}
        assert (line["required"], line["additionalProperties"]) == (["sku"], False)

    def test_one_that_says_nothing_of_itself_is_a_mistake(self) -> None:
        class Vague(serializers.Serializer[Any]):
            anything = serializers.JSONField()

        class Untold(serializers.Serializer[Any]):
            what = serializers.SerializerMethodField()

            def get_what(self, _):  # type: ignore[no-untyped-def]
                return 1

        for serializer in (Vague, Untold):
            with pytest.raises(NoSchema):
                data_schema(serializer)
