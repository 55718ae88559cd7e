"""Shapes show what DRF's own serializers show."""

from types import SimpleNamespace
from typing import Any

import pytest
from rest_framework import serializers

from webhooks.shapes import Shape


class Line(Shape):
    sku = serializers.CharField()


class Shown(Shape):
    name = serializers.CharField()
    city = serializers.CharField(source="address.city", allow_null=True)
    country = serializers.CharField(source="address.country", default="DE")
    note = serializers.CharField(required=False)
    total = serializers.IntegerField(source="get_total")
    letter = serializers.SerializerMethodField()
    lines = Line(many=True)
    first = Line(source="lines.first", allow_null=True)
    secret = serializers.CharField(write_only=True)

    def get_letter(self, row: Any) -> str:
        return str(row["name"] if isinstance(row, dict) else row.name)[0]


class Rows(list[Any]):
    @property
    def first(self) -> Any:
        return self[0] if self else None


def thing(**changes: Any) -> SimpleNamespace:
    address = SimpleNamespace(city="Berlin", country="AT")
    lines = Rows([SimpleNamespace(sku="MUG"), {"sku": "CUP"}])
    return SimpleNamespace(**{"name": "Ada", "address": address, "get_total": lambda: 5, "lines": lines, **changes})


@pytest.mark.parametrize(
    "row",
    [
        thing(),
        thing(note="Ring twice"),
        thing(lines=Rows()),
        thing(address=None),
        thing(address=SimpleNamespace(city=None, country=None)),
        vars(thing(get_total=7)),
    ],
)
def test_show_what_a_serializer_shows(row: Any) -> None:
    shape = Shown()

    shown = shape.to_representation(row)

    assert shown == serializers.Serializer.to_representation(shape, row)
    assert list(shown)[:3] == ["name", "city", "country"]


def test_name_what_is_missing() -> None:
    with pytest.raises(AttributeError, match="value for field `sku` on serializer `Line`"):
        Line().to_representation(object())
