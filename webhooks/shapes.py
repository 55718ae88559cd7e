"""Serializers of what is read far more often than written: its attributes are found by paths put together once."""

from collections.abc import Callable
from functools import cached_property
from operator import attrgetter
from typing import Any

from rest_framework import serializers
from rest_framework.fields import Field, SkipField


# DRF asks of each value on the way whether it is found in a mapping, or must be called first: half of its time. Where a
# path leads nowhere, or to something to call, it is asked all the same. Not for fields of related objects by key.
# (A docstring would be each shape's description in the schema of the API.)
class Shape(serializers.Serializer[Any]):
    def to_representation(self, instance: Any) -> dict[str, Any]:
        shown = {}
        for field, find, represent in self._columns:
            try:
                value = find(instance)
                is_found = not callable(value)
            except (AttributeError, KeyError):
                is_found = False
            if not is_found:
                try:
                    value = field.get_attribute(instance)
                except SkipField:
                    continue
            shown[field.field_name] = None if value is None else represent(value)
        return shown

    @cached_property
    def _columns(self) -> list[tuple[Any, Callable[[Any], Any], Callable[[Any], Any]]]:
        return [(field, _finder(field), field.to_representation) for field in self._readable_fields]


def _finder(field: Any) -> Callable[[Any], Any]:
    if type(field).get_attribute is not Field.get_attribute:
        return field.get_attribute  # type: ignore[no-any-return]
    path = ".".join(field.source_attrs)
    return attrgetter(path) if path else lambda instance: instance
