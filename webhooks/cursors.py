"""Statements that are asked for every order, by a cursor that each connection keeps.

To make one costs as much as what is then asked of it, on our side of the database.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import count
from typing import Any

import psycopg
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.asyncio import async_unsafe


def here() -> BaseDatabaseWrapper:
    """This thread's connection itself: `django.db.connection` looks for it anew at each word that is said to it."""
    return connections[DEFAULT_DB_ALIAS]


@async_unsafe
def execute(database: BaseDatabaseWrapper, statement: str, parameters: Sequence[Any]) -> Any:
    """The cursor, with what came of it; to be read before anything else is asked. Raises what the database raises."""
    # As `database.cursor()` does.
    database.close_if_health_check_failed()
    database.ensure_connection()
    cursor = database.cursor() if database.queries_logged else _kept(database)
    cursor.execute(statement, parameters)
    return cursor


def _kept(database: Any) -> Any:
    """It goes with the connection it was made for."""
    connection, cursor = getattr(database, "kept_cursor", (None, None))
    if cursor is None or connection is not database.connection:
        cursor = database.make_cursor(_Numbered(database.connection)) if _is_postgres(database) else database.cursor()
        database.kept_cursor = (database.connection, cursor)
    return cursor


def _is_postgres(database: BaseDatabaseWrapper) -> bool:
    return database.vendor == "postgresql"


class _Numbered(psycopg.RawCursor[Any]):
    """Given the placeholders that PostgreSQL has itself.

    psycopg puts them in anew each time that a statement has more than 50, as the INSERT of several rows does.
    """

    def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        return super().execute(_numbered(query), params, **options)


@lru_cache(maxsize=1024)
def _numbered(statement: str) -> str:
    """`$1` for the first `%s`."""
    numbers = count(1)
    return re.sub("%(.)", lambda found: f"${next(numbers)}" if found[1] == "s" else found[1], statement)
