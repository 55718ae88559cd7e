"""How the log is asked, so that each of its filters has an index, and takes it, however long the log is.

PostgreSQL takes filters for independent of each other, and what they find for evenly spread: a page of what is rare or
old then seems to come soon on the way through the whole log. Each function here leaves it no such way.
"""

from datetime import datetime, timedelta
from typing import Any, TypeVar

from django.db import connection
from django.db.models import BigIntegerField, CharField, F, Func, Index, Model, Q, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce
from django.db.models.lookups import GreaterThan
from django.db.models.sql.compiler import SQLCompiler

Row = TypeVar("Row", bound=Model)

# Further than any row's key: what an address bar may hold must not overflow the database's integers.
MAX_KEY = 2**63 - 1
# How long after its `created_at` a row may get its key: transactions take a while, and clocks differ.
LATENESS = timedelta(minutes=10)
# Measured: with fewer the way through the whole log is taken now and then, with more all of a subscription is sorted.
REPETITIONS = 3

OPEN = Q(state__in=["pending", "sending", "parked"])
FAILING = Q(state="parked") | Q(state="pending", attempt_count__gt=0)
_NEWEST = F("id").desc()
# Of two filters together, for a system or a type that has nothing of what is asked. Nearly all are of some rows only: a
# delivery that arrives at once is in none of those of failing, skipped and superseded ones.
INDEXES = [
    Index(_NEWEST, name="delivery_newest_open", condition=OPEN),
    Index(_NEWEST, name="delivery_newest_failing", condition=FAILING),
    Index(_NEWEST, name="delivery_newest_delivered", condition=Q(state="delivered")),
    Index(_NEWEST, name="delivery_newest_parked", condition=Q(state="parked")),
    Index(_NEWEST, name="delivery_newest_skipped", condition=Q(state="skipped")),
    Index(_NEWEST, name="delivery_newest_superseded", condition=Q(state="superseded")),
    Index("subscription", _NEWEST, name="delivery_open_of_system", condition=OPEN),
    Index("subscription", _NEWEST, name="delivery_failing_of_system", condition=FAILING),
    Index("subscription", _NEWEST, name="delivery_delivered_of_system", condition=Q(state="delivered")),
    Index("subscription", _NEWEST, name="delivery_skipped_of_system", condition=Q(state="skipped")),
    Index("subscription", _NEWEST, name="delivery_superseded_of_system", condition=Q(state="superseded")),
    Index("subscription", "event_type", _NEWEST, name="delivery_by_subscription_type"),
    Index("event_type", _NEWEST, name="delivery_failing_of_type", condition=FAILING),
    Index("event_type", _NEWEST, name="delivery_parked_of_type", condition=Q(state="parked")),
    Index("event_type", _NEWEST, name="delivery_skipped_of_type", condition=Q(state="skipped")),
    Index("event_type", _NEWEST, name="delivery_superseded_of_type", condition=Q(state="superseded")),
]


class _Literal(Value):
    """Stands in the statement itself: a name or an integer, nothing that comes from outside."""

    def as_sql(self, compiler: SQLCompiler, connection: Any) -> tuple[str, list[Any]]:
        if isinstance(self.value, int):
            return str(self.value), []
        if not self.value.isidentifier():
            raise ValueError(f"{self.value!r} is no name.")
        return f"'{self.value}'", []


class _Pair(Func):
    template = "(%(expressions)s)"
    output_field = BigIntegerField()


class _Unseen(Func):
    """A value that a plan is made without."""

    template = "(SELECT %(expressions)s)"
    output_field = CharField()


def literally(condition: Q) -> Q:
    """The same without parameters: what is planned for any value cannot use an index of some rows only."""
    children = map(_literal_child, condition.children)
    return Q(*children, _connector=condition.connector, _negated=condition.negated)


def _literal_child(child: Any) -> Any:
    return literally(child) if isinstance(child, Q) else (child[0], _literal(child[1]))


def _literal(value: Any) -> Any:
    return [_literal(each) for each in value] if isinstance(value, (list, tuple)) else _Literal(value)


def told_to(deliveries: QuerySet[Row], key: Any) -> QuerySet[Row]:
    """Those of a subscription by its key, an expression: not by a join, so that its own indexes give them in order."""
    return _narrowed(deliveries, "subscription_id", key)


def of_type(rows: QuerySet[Row], event_type: str, *, column: str = "event_type") -> QuerySet[Row]:
    return _narrowed(rows, column, _Unseen(Value(event_type)))


def _narrowed(rows: QuerySet[Row], column: str, key: Any) -> QuerySet[Row]:
    """On PostgreSQL said again in ways that add nothing: each is taken for a filter that a third of the rows pass."""
    rows = rows.filter(**{column: key})
    if connection.vendor == "postgresql":
        rows = rows.filter(**{f"{column}__gte": key})
        for n in range(1, REPETITIONS):
            rows = rows.filter(GreaterThan(_Pair(F(column), F("id")), _Pair(key, _Literal(-n))))
    return rows


def made_since(rows: QuerySet[Row], moment: datetime) -> QuerySet[Row]:
    """Those of that moment and later. Keys and moments rise together, but for LATENESS: the walk by key ends there."""
    earlier = rows.model._default_manager.filter(created_at__lt=_moved(moment, -LATENESS)).order_by("-created_at")
    return rows.filter(created_at__gte=moment, pk__gt=Coalesce(Subquery(earlier.values("pk")[:1]), 0))


def made_until(rows: QuerySet[Row], moment: datetime) -> QuerySet[Row]:
    """Those before that moment, likewise: the walk by key begins there."""
    later = rows.model._default_manager.filter(created_at__gte=_moved(moment, LATENESS)).order_by("created_at")
    return rows.filter(
        created_at__lt=moment, pk__lt=Coalesce(Subquery(later.values("pk")[:1]), Value(MAX_KEY, BigIntegerField()))
    )


def _moved(moment: datetime, by: timedelta) -> datetime:
    """Itself at either end of the calendar, where no row is."""
    try:
        return moment + by
    except OverflowError:
        return moment
