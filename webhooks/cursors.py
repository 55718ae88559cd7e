"""Statements that are asked for every order, by a cursor that each connection keeps.

To make one costs as much as what is then asked of it, on our side of the database.
"""

from collections.abc import Sequence
from typing import Any

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
        cursor = database.cursor()
        database.kept_cursor = (database.connection, cursor)
    return cursor
