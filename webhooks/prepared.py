"""Queries that are compiled once, and run with other values each time.

To put a query of the ORM together costs several times what running it does, and what every order and every request
asks is always the same. What comes back is what the queryset would give, made by the same means.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from django.db import connection, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.query import get_related_populators  # type: ignore[attr-defined]

from webhooks.cursors import execute, here

Row = TypeVar("Row", bound=models.Model)
Value = int | str | Sequence[int] | Sequence[str]

# Of longer lists each length would have to be kept: the queryset itself is asked instead.
LONGEST = 20
# Stand for the values while the query is compiled: no query has one of these of its own.
_INTEGER, _TEXT = 1 << 40, "\ue000"


class Prepared(Generic[Row]):
    """`build` makes the queryset of its values: integers, texts, or sequences of either, each of them a parameter.

    Calling it gives the rows. A value may be used once or more, but it may decide nothing else about the query.
    """

    def __init__(self, build: Callable[..., models.QuerySet[Row]]) -> None:
        self.build = build
        self.compiled: dict[tuple[object, ...], _Compiled] = {}

    def __call__(self, *values: Value) -> list[Row]:
        """Raises what the database raises. One statement; none where a list is empty and so nothing can be found."""
        shape = (here().vendor, *map(_shape, values))
        if any(isinstance(length, int) and not 0 < length <= LONGEST for length in shape):
            return list(self.build(*values))
        compiled = self.compiled.get(shape)
        if compiled is None:
            compiled = self.compiled[shape] = _compile(self.build, values)
        return compiled.run(list(_flat(values)))


class Reader(Generic[Row]):
    """Rows of a model from statements that are written out, with what else these find of each: attributes so named."""

    def __init__(self, model: type[Row], *others: str) -> None:
        self.model = model
        self.others = others
        self.compiled: dict[str, _Compiled] = {}

    def columns_of(self, table: str) -> str:
        """What the statement selects before the others."""
        return ", ".join(f"{table}.{field.column}" for field in self.model._meta.concrete_fields)

    def __call__(self, statement: str, values: Sequence[Any]) -> list[Row]:
        """Raises what the database raises."""
        database = here()
        if database.vendor not in self.compiled:
            self.compiled[database.vendor] = _compile(self.model._default_manager.all, ())
        make, count = self.compiled[database.vendor].row, len(self.others)
        rows = []
        for found in execute(database, statement, values).fetchall():
            rows.append(row := make(found, database))
            row.__dict__.update(zip(self.others, found[-count:], strict=True))
        return rows


def _shape(value: Value) -> object:
    """What the statement depends on: the number of values, or the type of the one."""
    return type(value) if isinstance(value, (int, str)) else len(value)


def _flat(values: Iterable[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, (int, str)):
            yield value
        else:
            yield from value


@dataclass(frozen=True)
class _Compiled:
    """A statement with a gap for each parameter that is not fixed, and how its columns become rows."""

    sql: str
    # The parameter itself, or the place of the value that stands there and the type the database is given it as.
    parameters: Sequence[tuple[Any, int | None]]
    model: type[models.Model]
    columns: slice
    names: Sequence[str]
    related: Sequence[Any]
    converters: Sequence[tuple[int, Sequence[Any], Any]]

    def run(self, values: Sequence[Any]) -> list[Any]:
        given = [fixed if place is None else fixed(values[place]) for fixed, place in self.parameters]
        database = here()
        return [self.row(values, database) for values in execute(database, self.sql, given).fetchall()]

    def row(self, found: Sequence[Any], database: BaseDatabaseWrapper) -> Any:
        values = list(found)
        for place, converters, expression in self.converters:
            for convert in converters:
                values[place] = convert(values[place], expression, database)
        row = self.model.from_db(database.alias, self.names, values[self.columns])
        for populator in self.related:
            populator.populate(values, row)
        return row


def _compile(build: Callable[..., models.QuerySet[Any]], values: Sequence[Value]) -> _Compiled:
    stands_for: dict[object, int] = {}
    queryset: Any = build(*[_stand_in(value, stands_for) for value in values])
    compiler = queryset.query.get_compiler(connection=connection)
    sql, parameters = compiler.as_sql()
    info, select = compiler.klass_info, compiler.select
    start, end = info["select_fields"][0], info["select_fields"][-1] + 1
    missing = set(stands_for) - set(parameters)
    if missing or compiler.annotation_col_map or queryset._prefetch_related_lookups:
        raise ValueError("A prepared query takes each value as a parameter, and nothing is annotated or prefetched.")
    converters = compiler.get_converters([column for column, *_ in select])
    return _Compiled(
        sql=sql,
        parameters=[(type(each), stands_for[each]) if each in stands_for else (each, None) for each in parameters],
        model=info["model"],
        columns=slice(start, end),
        names=[column.target.attname for column, *_ in select[start:end]],
        related=get_related_populators(info, select, connection.alias),
        converters=[(place, each, expression) for place, (each, expression) in converters.items()],
    )


def _stand_in(value: Value, stands_for: dict[object, int]) -> Any:
    if not isinstance(value, (int, str)):
        return [_stand_in(each, stands_for) for each in value]
    place = len(stands_for)
    stand_in: object = _INTEGER + place if isinstance(value, int) else f"{_TEXT}{place}"
    stands_for[stand_in] = place
    return stand_in
