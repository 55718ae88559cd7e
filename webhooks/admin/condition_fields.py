"""The form field of a subscription's conditions: rows of field, comparison and value, typed as texts."""

import csv
import json
from typing import Any, NamedTuple

from django import forms

from webhooks import catalogue, conditions
from webhooks.admin.fields import BLANK_ROWS, ProjectWidget
from webhooks.conditions import BOOLEAN, LISTING, NUMBER, Condition, Kind, Operator
from webhooks.events import TEST


class TypedCondition(NamedTuple):
    field: str
    operator: str
    value: str


class ConditionsWidget(ProjectWidget):
    template_name = "admin/webhooks/widgets/conditions.html"
    use_fieldset = True

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        others = [event_type.name for event_type in catalogue.all_types() if event_type is not TEST]
        return super().get_context(name, None, attrs) | {
            "rows": [*(value or ()), *[TypedCondition("", Operator.EQ, "")] * BLANK_ROWS],
            "operators": Operator.choices,
            "known": sorted(conditions.fields_of(others)),
        }

    def value_from_datadict(self, data: Any, files: Any, name: str) -> list[TypedCondition]:
        columns = [data.getlist(f"{name}-{column}") for column in TypedCondition._fields]
        rows = [TypedCondition(*row) for row in zip(*columns, strict=False)]
        return [row for row in rows if row.field or row.value]

    def id_for_label(self, id_: str) -> str:
        return ""


class ConditionsField(forms.Field):
    """Cleans to a subscription's conditions, each value as the field it is compared with holds it."""

    widget = ConditionsWidget

    def prepare_value(self, value: Any) -> list[TypedCondition]:
        return [each if isinstance(each, TypedCondition) else _typed(each) for each in value or ()]

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(self.prepare_value(initial) != data)

    def clean(self, value: list[TypedCondition]) -> list[Condition]:
        known = conditions.fields_of([catalogue.EVERYTHING])
        return [_meant(row, known.get(row.field.strip())) for row in value]


def _meant(row: TypedCondition, kind: Kind | None) -> Condition:
    if not row.field.strip():
        raise forms.ValidationError(f"Name the field that is compared with {row.value}.")
    if row.operator in LISTING:
        meant: Any = [_value(text, kind) for text in _split(row.value)]
    else:
        meant = _value(row.value, kind)
    return Condition(field=row.field.strip(), operator=row.operator, value=meant)


def _split(line: str) -> list[str]:
    try:
        return next(csv.reader([line], skipinitialspace=True), [])
    except csv.Error:
        raise forms.ValidationError("Give values with commas between, such as BER, HAM.") from None


def _value(text: str, kind: Kind | None) -> Any:
    """What cannot be read stays a text, for `conditions.check` to say what it must be."""
    text = text.strip()
    if not text:
        return None
    if kind is BOOLEAN:
        return {"true": True, "false": False}.get(text.lower(), text)
    return _number(text) if kind is NUMBER else text


def _number(text: str) -> Any:
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return text


def _typed(condition: Condition) -> TypedCondition:
    value = condition["value"]
    text = ", ".join(_quoted(_text(each)) for each in value) if isinstance(value, list) else _text(value)
    return TypedCondition(condition["field"], condition["operator"], text)


def _quoted(text: str) -> str:
    """As `_split` reads it back."""
    if not {",", '"'}.isdisjoint(text):
        return '"' + text.replace('"', '""') + '"'
    return text


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)
