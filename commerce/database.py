"""The database, there and brought up to date before anything uses it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from webhooks import feed

# Any number that no other program on the same database uses for its own lock.
MIGRATION_LOCK = 7_310_042
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 10.0


def await_answer(*, tell: Callable[[str], object]) -> None:
    """Return when it answers. Until then it is asked after growing pauses, and `tell` is told each time what is wrong.

    For a process that is started beside its database, or after a power cut before it.
    """
    pause = FIRST_PAUSE_S
    while fault := _fault():
        tell(f"The database of DATABASE_URL does not answer, and is asked again in {pause:g} s: {fault}")
        time.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE_S)


def _fault() -> str:
    """In one line; nothing if it answers."""
    try:
        connection.ensure_connection()
    except DatabaseError as error:
        return _in_one_line(error)
    return ""


def _in_one_line(error: DatabaseError) -> str:
    return str(error).strip().splitlines()[0]


def migrate() -> None:
    """Raises CommandError, in one sentence, where the database cannot be used."""
    try:
        with _alone():
            call_command("migrate", interactive=False, verbosity=0)
            feed.resettle()
    except DatabaseError as error:
        raise CommandError(f"The database of DATABASE_URL cannot be used: {_in_one_line(error)}") from None


def pending_migrations() -> int:
    executor = MigrationExecutor(connection)
    return len(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def require_migrated() -> None:
    """Raises CommandError, for a command that works on the tables."""
    if pending_migrations():
        raise CommandError("The database is not up to date: run manage.py migrate first.")


@contextmanager
def _alone() -> Iterator[None]:
    """Several machines may start at once on one PostgreSQL: they migrate one after the other."""
    if connection.vendor != "postgresql":
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [MIGRATION_LOCK])
        yield
        cursor.execute("SELECT pg_advisory_unlock(%s)", [MIGRATION_LOCK])
