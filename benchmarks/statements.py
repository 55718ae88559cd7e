"""SQL statements of an event and of its delivery, counted: fan-out 1, a backlog of 1,000."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from unittest.mock import patch

import psycopg

from benchmarks import harness

COUNT = 1_000
_WITHOUT_WORK = ("BEGIN", "SAVEPOINT", "RELEASE", "COMMIT", "PRAGMA")


def measure(kind: str) -> tuple[int, float]:
    """In the transaction that emits an event; in the worker, for each delivery."""
    with harness.FastReceiver() as receiver, harness.database(kind) as environment:
        emitting, sending = harness.in_django(environment, "count_statements", receiver.url)
    return emitting, sending


def count(url: str) -> tuple[int, float]:
    """Runs inside Django, with a worker's sender in this process."""
    from django.db import connections

    from benchmarks import work
    from webhooks.drain import drain, sender
    from webhooks.models import Delivery

    work.subscribe(url, 100)
    with _counted() as executed:
        _emit()
        executed.clear()
        emitting = _emit(executed)
    work.backlog(COUNT)
    waiting = Delivery.objects.filter(state=Delivery.State.PENDING).count()
    with _counted() as executed:
        drain()
        while sender().in_flight:
            drain()
        sending = len(executed)
    assert not Delivery.objects.exclude(state=Delivery.State.DELIVERED).exists()
    sender().close()
    connections.close_all()
    return emitting, sending / waiting


def _emit(executed: list[str] | None = None) -> int:
    from django.db import transaction

    from webhooks.events import TEST, Ping
    from webhooks.outbox import emit

    with transaction.atomic():
        emit(TEST, Ping("sub_0", "Bench", "bench", datetime.now(UTC)))
        return len(executed or [])


@contextmanager
def _counted() -> Iterator[list[str]]:
    """The statements of all threads, those that only begin or end a transaction left out."""
    from django.db.backends.utils import CursorWrapper

    executed: list[str] = []
    execute, executemany, copy = CursorWrapper.execute, CursorWrapper.executemany, psycopg.Cursor.copy

    def note(sql: Any) -> None:
        if not str(sql).startswith(_WITHOUT_WORK):
            executed.append(str(sql))

    def _execute(self: Any, sql: str, params: Any = None) -> Any:
        note(sql)
        return execute(self, sql, params)

    def _executemany(self: Any, sql: str, params: Any) -> Any:
        note(sql)
        return executemany(self, sql, params)

    def _copy(self: Any, statement: Any, *arguments: Any, **options: Any) -> Any:
        note(statement)
        return copy(self, statement, *arguments, **options)

    with (
        patch.object(CursorWrapper, "execute", _execute),
        patch.object(CursorWrapper, "executemany", _executemany),
        patch.object(psycopg.Cursor, "copy", _copy),
    ):
        yield executed


if __name__ == "__main__":
    for kind in sys.argv[1:] or ["postgres", "sqlite"]:
        emitting, sending = measure(kind)
        print(f"{kind}: {emitting} statements in the emitting transaction, {sending:.2f} a delivery in the worker")
