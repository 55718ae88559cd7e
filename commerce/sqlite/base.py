"""Where Django looks for it."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from django.db.backends.sqlite3 import base

from commerce.sqlite.turns import Turns, at

_READS = re.compile(r"\s*(SELECT|PRAGMA|EXPLAIN|WITH(?!.*\b(INSERT|UPDATE|DELETE)\b))\b", re.IGNORECASE | re.DOTALL)


class Connection(sqlite3.Connection):
    """It is its turn for as long as a transaction of it is open, or a single statement of it writes."""

    turns: Turns | None = None
    is_our_turn = False

    def __init__(self, database: str, timeout: float = 5.0, **options: Any) -> None:
        super().__init__(database, timeout=timeout, **options)
        self.timeout_s = timeout
        self.turns = _turns_at(str(database))

    @contextmanager
    def in_turn(self, statement: str) -> Iterator[None]:
        if self.turns is None or self.in_transaction or _reads(statement):
            yield
            return
        if not self.turns.take(self.timeout_s):
            raise sqlite3.OperationalError("database is locked")
        self.is_our_turn = True
        try:
            yield
        finally:
            self._end_turn()

    def _end_turn(self) -> None:
        if not self.in_transaction:
            self._give_back()

    def _give_back(self) -> None:
        if self.turns is not None and self.is_our_turn:
            self.is_our_turn = False
            self.turns.give_back()

    def commit(self) -> None:
        try:
            super().commit()
        finally:
            self._end_turn()

    def rollback(self) -> None:
        try:
            super().rollback()
        finally:
            self._end_turn()

    def close(self) -> None:
        super().close()
        self._give_back()

    def __del__(self) -> None:
        """Of a thread that ended amid a transaction, perhaps."""
        self._give_back()


@lru_cache(maxsize=1024)
def _reads(statement: str) -> bool:
    return _READS.match(statement) is not None


def _turns_at(database: str) -> Turns | None:
    """None of what is in memory, or named by an address with options, or stands where no file may be made."""
    if not database or database.startswith((":", "file:")):
        return None
    try:
        return at(database)
    except OSError:
        return None


class Cursor(base.SQLiteCursorWrapper):
    connection: Connection

    def execute(self, query: str, params: Any = None) -> Any:
        with self.connection.in_turn(query):
            return super().execute(query, params)

    def executemany(self, query: str, param_list: Any) -> Any:
        with self.connection.in_turn(query):
            return super().executemany(query, param_list)

    def convert_query(self, query: str, *, param_names: Any = None) -> str:
        if param_names is not None:
            return str(super().convert_query(query, param_names=param_names))  # type: ignore[misc]
        return _with_question_marks(query)


@lru_cache(maxsize=1024)
def _with_question_marks(query: str) -> str:
    return str(base.FORMAT_QMARK_REGEX.sub("?", query)).replace("%%", "%")


class DatabaseWrapper(base.DatabaseWrapper):
    def get_connection_params(self) -> dict[str, Any]:
        return super().get_connection_params() | {"factory": Connection}

    def create_cursor(self, name: Any = None) -> Any:
        return self.connection.cursor(factory=Cursor)
