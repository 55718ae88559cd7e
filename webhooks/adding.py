"""New rows by a statement that is put together once for each model: as `bulk_create` adds them, for half the time."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from django.db import connection, models
from django.db.backends.base.base import BaseDatabaseWrapper

from webhooks.cursors import execute, here

# PostgreSQL takes 65,535 parameters in one statement, and SQLite half of that.
ROWS_PER_STATEMENT = 200
# What Django's own fields make of a value after many questions, where its type alone answers them.
Way = Callable[[Any], Any]
# Stored just as they are; a moment only where the database has a type for it.
_KEPT = (
    (models.CharField, str),
    (models.TextField, str),
    (models.BooleanField, bool),
    (models.DateTimeField, datetime),
)


def add(rows: Sequence[models.Model], *, calling: str = "") -> None:
    """All of one model. They know then what the database has given them, such as their keys; no signal is sent.

    One statement for each ROWS_PER_STATEMENT of them. `calling` is SQL that it calls for each row.
    """
    database = here()
    for start in range(0, len(rows), ROWS_PER_STATEMENT):
        batch = rows[start : start + ROWS_PER_STATEMENT]
        addition = _addition(type(batch[0]), database.vendor)
        for row, given in zip(batch, addition.run(batch, calling), strict=True):
            for field, value in zip(addition.returned, given, strict=not calling):
                setattr(row, field.attname, value)
            row._state.adding, row._state.db = False, database.alias


class CompiledInsert(models.Model):
    """`save` adds a new row by such a statement too."""

    class Meta:
        abstract = True

    def _do_insert(self, *how: Any) -> Any:
        """Of a key of its own. Fixtures bring theirs."""
        if self.pk is None:
            return _addition(type(self), connection.vendor).run([self])
        return super()._do_insert(*how)  # type: ignore[misc]


@dataclass(frozen=True)
class _Addition:
    """An INSERT into all columns of a model, and of which fields it gives values and gets them back."""

    head: str
    row: str
    tail: str
    given: Sequence["_Given"]
    returned: Sequence[models.Field[Any, Any]]

    def run(self, rows: Sequence[models.Model], calling: str = "") -> list[tuple[Any, ...]]:
        tail = f"{self.tail}, {calling}" if calling else self.tail
        statement = f"{self.head} {', '.join([self.row] * len(rows))} {tail}"
        database = here()
        found: list[tuple[Any, ...]] = execute(database, statement, list(self._values(rows, database))).fetchall()
        return found

    def _values(self, rows: Sequence[models.Model], database: BaseDatabaseWrapper) -> Iterator[Any]:
        for row in rows:
            for each in self.given:
                value = getattr(row, each.name) if each.name else each.field.pre_save(row, True)
                way = each.ways.get(type(value))
                yield way(value) if way else each.field.get_db_prep_save(value, database)


@dataclass(frozen=True)
class _Given:
    """A field, where its value is found unless it makes one itself, and what becomes of values of these types."""

    field: models.Field[Any, Any]
    name: str
    ways: Mapping[type, Way]


@lru_cache(maxsize=64)
def _addition(model: type[models.Model], vendor: str) -> _Addition:
    meta = model._meta
    fields = [field for field in meta.local_concrete_fields if not field.generated and field is not meta.auto_field]
    compiler: Any = models.sql.InsertQuery(model).get_compiler(connection=connection)
    cells, given = [], []
    for field in fields:
        # What a column is filled with may be an expression, which is the same for every row.
        value = field.pre_save(model(), True)
        is_expression = hasattr(value, "resolve_expression")
        cells.append(compiler.compile(compiler.prepare_value(field, value))[0] if is_expression else "%s")
        given += [] if is_expression else [_given(field)]
    quote = connection.ops.quote_name
    columns = ", ".join(quote(field.column) for field in fields)
    returned = list(meta.db_returning_fields)
    return _Addition(
        head=f"INSERT INTO {quote(meta.db_table)} ({columns}) VALUES",
        row=f"({', '.join(cells)})",
        tail=f"RETURNING {', '.join(quote(field.column) for field in returned)}",
        given=given,
        returned=returned,
    )


def _given(field: models.Field[Any, Any]) -> _Given:
    ways = _ways(field)
    return _Given(field, "" if _makes_its_own(field) else field.attname, ways and {type(None): _as_it_is, **ways})


def _makes_its_own(field: models.Field[Any, Any]) -> bool:
    """A value, when it is saved."""
    if isinstance(field, models.DateField):
        return field.auto_now or field.auto_now_add
    return type(field).pre_save is not models.Field.pre_save


def _ways(field: models.Field[Any, Any]) -> dict[type, Way]:
    """None of a field of our own, such as one that encrypts."""
    if type(field) is models.ForeignKey:
        return _ways(field.target_field)
    if not type(field).__module__.startswith("django.db.models."):
        return {}
    if isinstance(field, models.IntegerField):
        sized = getattr(connection.ops, "integerfield_type_map", {})
        kind = "BigIntegerField" if isinstance(field, models.BigAutoField) else field.get_internal_type()
        return {int: sized.get(kind, _as_it_is)}
    kept = _KEPT if connection.vendor == "postgresql" else _KEPT[:-1]
    return {value: _as_it_is for kind, value in kept if isinstance(field, kind)}


def _as_it_is(value: Any) -> Any:
    return value
