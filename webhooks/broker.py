"""django-q2's ORM broker, made instant on PostgreSQL, with the doorbell of the delivery engine.

The rows of the domain are the truth; a ring only says that something is due. Losing one loses nothing: once a second
`webhooks.clock` looks for itself. On PostgreSQL a ring is a notification, which commits with the change and leaves no
row behind; on SQLite it is a task that waits to be polled.
"""

import logging
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import cache
from typing import Any

from django.db import DatabaseError, connection, transaction
from django.utils import timezone
from django_q.brokers import Broker
from django_q.brokers.orm import ORM
from django_q.conf import Conf
from django_q.models import OrmQ
from django_q.tasks import async_task

logger = logging.getLogger(__name__)

CHANNEL = "django_q"
BELL = "bell"
# What a ring of each bell runs. Another app hangs its own here: a ring for one kind of work says nothing of another.
bells = {BELL: "webhooks.tasks.drain"}
# How long the queue listens before it looks whether it is to stop, and whether a task's time has come.
WAIT_S = 1.0
RECONNECT_S = 0.5
# By how much the clusters that do not answer first are later.
LATER_S = 0.05
_FIRST_LOCK = 0x57EC

# What a cluster takes from the queue: the package, and the key to acknowledge it by, which a ring needs none of.
Task = tuple[int | None, str]


def ring(bell: str = BELL) -> None:
    """Wake a worker once the running transaction has committed; many rings in one are one."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {ringing(bell)}")
        return
    ringer = _ringer(bell)
    if not any(function is ringer for _, function, *_ in connection.run_on_commit):
        transaction.on_commit(ringer, robust=True)


def ringing(bell: str = BELL) -> str:
    """What any statement of the transaction may return to ring it. On PostgreSQL only."""
    return f"pg_notify('{CHANNEL}', '{bell}')"


@cache
def _ringer(bell: str) -> Callable[[], None]:
    def ring_it() -> None:
        async_task(bells[bell], broker=_Bell(bell))

    return ring_it


def _moment(moment: datetime) -> Any:
    return connection.ops.adapt_datetimefield_value(moment)


class _Bell(ORM):  # type: ignore[misc]
    """Holds one waiting task at most: a burst of commits wakes the cluster once."""

    _WAITING = "SELECT 1 FROM django_q_ormq WHERE key = %s AND lock <= %s"
    _ADD = f"INSERT INTO django_q_ormq (key, payload, lock) SELECT %s, %s, %s WHERE NOT EXISTS ({_WAITING})"

    def enqueue(self, task: str) -> None:
        """A look first: what would write waits for its turn, behind everybody who places an order."""
        now = _moment(timezone.now())
        with connection.cursor() as cursor:
            cursor.execute(self._WAITING, [self.list_key, now])
            if cursor.fetchone() is None:
                cursor.execute(self._ADD, [self.list_key, task, now, self.list_key, now])


class InstantBroker(ORM):  # type: ignore[misc]
    """What a cluster takes its tasks from: `Q_CLUSTER["broker_class"]`."""

    # Materialized: a subquery may be run again for each row of the table, and finds the next task each time.
    _TAKE = """
        WITH oldest AS MATERIALIZED (
            SELECT id FROM django_q_ormq WHERE key IN ({keys}) AND lock <= %s ORDER BY id LIMIT %s {skip}
        )
        UPDATE django_q_ormq SET lock = %s WHERE id IN (SELECT id FROM oldest) RETURNING id, payload
    """

    def __init__(self, list_key: str | None = None) -> None:
        super().__init__(list_key)
        self._listener: _Listener | None = None
        self._looks_at = 0.0

    def enqueue(self, task: str) -> int:
        """A row, which wakes the clusters that listen."""
        wakes = f", {ringing('')}" if connection.vendor == "postgresql" else ""
        with connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO django_q_ormq (key, payload, lock) VALUES (%s, %s, %s) RETURNING id{wakes}",  # noqa: S608 (all ours)
                [self.list_key, task, _moment(timezone.now())],
            )
            return int(cursor.fetchone()[0])

    def dequeue(self) -> list[Task]:
        """Tasks, or none after at most a second. Outlives a restart of the database."""
        try:
            return self._listen() if connection.vendor == "postgresql" else self._poll()
        except DatabaseError as error:
            logger.warning("The queue cannot reach the database, and tries again: %s", error)
            self._disconnect()
            time.sleep(RECONNECT_S)
            return []

    def _poll(self) -> list[Task]:
        tasks = self._claim()
        if not tasks:
            time.sleep(Conf.POLL)
        return tasks

    def _listen(self) -> list[Task]:
        """Rows once a second, and when a notification tells of some; to ring leaves none."""
        if self._listener is None:
            # What was enqueued before is claimed first.
            self._listener, self._looks_at = _Listener(), 0.0
        if time.monotonic() >= self._looks_at:
            if tasks := self._claim():
                return tasks
            self._looks_at = time.monotonic() + WAIT_S
            self._listener.stand_first()
        heard = self._listener.hear(within_s=max(self._looks_at - time.monotonic(), 0))
        if "" in heard:
            self._looks_at = 0.0
        return [(None, _package(bells[bell])) for bell in heard if bell in bells]

    def _claim(self) -> list[Task]:
        """One statement, and two clusters never get the same task. On SQLite a look first: an UPDATE takes the lock."""
        now, keys = timezone.now(), [self.list_key, *bells]
        waiting = OrmQ.objects.filter(key__in=keys, lock__lte=now)
        if connection.vendor == "sqlite" and not waiting.exists():
            return []
        with connection.cursor() as cursor:
            skip = "FOR UPDATE SKIP LOCKED" if connection.vendor == "postgresql" else ""
            cursor.execute(
                self._TAKE.format(keys=", ".join(["%s"] * len(keys)), skip=skip),
                [*keys, _moment(now), Conf.BULK, _moment(self.timeout(None))],
            )
            return list(cursor.fetchall())

    def _disconnect(self) -> None:
        connection.close()
        if self._listener is not None:
            self._listener.close()
            self._listener = None


class _Listener:
    """The connection a cluster is notified by, and its place among the clusters of the database.

    All of them hear each ring. One answers at once; the others a moment later, many rings as one: if the first keeps
    up they find nothing left to do, and have not stood in its way; if it does not, they share the work.
    """

    def __init__(self) -> None:
        self.connection = connection.copy()
        self.is_first = False
        self._execute(f"LISTEN {CHANNEL}")

    def stand_first(self) -> None:
        """If nobody does. The place is lost with the connection, and so with the cluster."""
        if not self.is_first:
            [self.is_first] = self._execute("SELECT pg_try_advisory_lock(%s)", _FIRST_LOCK)

    def hear(self, *, within_s: float) -> list[str]:
        """The bells that rang, each once, as soon as one did; "" where a row was added."""
        heard = list(self._notified(within_s))
        if heard and not self.is_first:
            time.sleep(LATER_S)
            heard += self._notified(0)
        return list(dict.fromkeys(heard))

    def close(self) -> None:
        self.connection.close()

    def _notified(self, within_s: float) -> Iterator[str]:
        with self.connection.wrap_database_errors:
            for notification in self.connection.connection.notifies(timeout=within_s, stop_after=1):
                yield notification.payload

    def _execute(self, statement: str, *values: Any) -> Any:
        with self.connection.cursor() as cursor:
            cursor.execute(statement, values or None)
            return cursor.fetchone() if cursor.description else None


class _Envelope(Broker):  # type: ignore[misc]
    """Keeps the package that django-q2 makes of a task, instead of sending it on its way."""

    package = ""

    def enqueue(self, task: str) -> None:
        self.package = task


def _package(function: str) -> str:
    envelope = _Envelope()
    async_task(function, broker=envelope)
    return envelope.package
