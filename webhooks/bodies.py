"""What callers of the API may send: a field that nobody reads is refused by its name, never ignored quietly."""

import threading
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from django.core.exceptions import ValidationError
from django_filters import rest_framework as filters
from django_filters.fields import IsoDateTimeField
from rest_framework import serializers
from rest_framework.request import Request

MOST_NAMED = 20
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Body(serializers.Serializer[Any]):
    """The body of a call; also a base beside ModelSerializer. Nested ones are bodies too."""

    @classmethod
    def read(cls, request: Request, instance: Any = None) -> dict[str, Any]:
        """What was sent, checked. Raises ValidationError."""
        with _of_this_thread(cls) as body:
            body.instance, body.initial_data, body._context = instance, request.data, {"request": request}
            body.is_valid(raise_exception=True)
            return dict(body.validated_data)

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping):
            self._refuse_unknown(data)
        return super().to_internal_value(data)

    def _refuse_unknown(self, data: Mapping[str, Any]) -> None:
        writable = [name for name, field in self.fields.items() if not field.read_only]
        no_such = f"There is no such field. {_there_are(writable)}"
        refusals = {
            name: "This cannot be written." if name in self.fields else no_such
            for name in [name for name in data if name not in writable][:MOST_NAMED]
        }
        if refusals:
            raise serializers.ValidationError(refusals, code="unknown_field")


class _Kept(threading.local):
    """What each thread has of its own."""

    def __init__(self) -> None:
        self.bodies: dict[type[Body], Body] = {}


_kept = _Kept()


@contextmanager
def _of_this_thread(kind: type[Body]) -> Iterator[Any]:
    """A body of this kind, as new: making its fields each time costs a tenth of what placing an order does."""
    body = _kept.bodies.pop(kind, None) or kind()
    fields = body.fields
    try:
        yield body
    finally:
        # Nothing of what was sent stays.
        vars(body).clear()
        kind.__init__(body)
        vars(body)["fields"] = fields
        _kept.bodies[kind] = body


def refuse_unknown(sent: Iterable[str], known: Collection[str]) -> None:
    """The parameters of a query, by their names. Raises ValidationError."""
    unknown = [name for name in sent if name not in known][:MOST_NAMED]
    if unknown:
        refusals = dict.fromkeys(unknown, f"There is no such parameter. {_there_are(known)}")
        raise serializers.ValidationError(refusals, code="unknown_parameter")


def _there_are(names: Collection[str]) -> str:
    return f"There are: {', '.join(names)}." if names else "There are none here."


class Query(serializers.Serializer[Any]):
    """The parameters of a call that no filter back end looks at."""

    def to_internal_value(self, data: Any) -> Any:
        refuse_unknown(data, self.fields.keys())
        return super().to_internal_value(data)


class Moment(serializers.DateTimeField):
    """Of our own time: an older one is a slip, and its year would be told with fewer digits than the format has."""

    def to_internal_value(self, value: Any) -> datetime:
        moment: datetime = super().to_internal_value(value)
        if moment < EPOCH:
            raise serializers.ValidationError("This moment is before 1970.", code="out_of_range")
        return moment


class _MomentField(IsoDateTimeField):  # type: ignore[misc]
    def to_python(self, value: Any) -> datetime | None:
        moment: datetime | None = super().to_python(value)
        try:
            return moment and moment.astimezone(UTC)
        except OverflowError:
            raise ValidationError("This moment is out of range.", code="overflow") from None


class MomentFilter(filters.IsoDateTimeFilter):  # type: ignore[misc]
    """Refuses a moment whose zone takes it beyond the calendar, which the database could not be asked for."""

    field_class = _MomentField
