"""django-q2's ORM broker, made instant on PostgreSQL, with the doorbell of the delivery engine.

The rows of the domain are the truth; a task on this queue only says that something is due. Losing one loses nothing:
once a second `webhooks.clock` looks for itself.
"""

import logging
import time
from collections.abc import Callable
from datetime import datetime
from functools import cache
from typing import Any

from django.db import DatabaseError, connection, transaction
from django.utils import timezone
from django_q.brokers.orm import ORM
from django_q.conf import Conf
from django_q.models import OrmQ
from django_q.tasks import async_task

logger = logging.getLogger(__name__)

CHANNEL = "django_q"
BELL = "bell"
# What a ring of each bell runs. Another app hangs its own here: a ring for one kind of work says nothing of another.
bells = {BELL: "webhooks.tasks.drain"}
# How long the queue listens before it looks whether it is to stop.
WAIT_S = 1.0
RECONNECT_S = 0.5


def ring(bell: str = BELL) -> None:
    """Wake a worker once the running transaction has committed; many rings in one are one."""
    ringer = _ringer(bell)
    if not any(function is ringer for _, function, *_ in connection.run_on_commit):
        transaction.on_commit(ringer, robust=True)


@cache
def _ringer(bell: str) -> Callable[[], None]:
    def ring_it() -> None:
        ring_now(bell)

    return ring_it


def ring_now(bell: str = BELL) -> None:
    async_task(bells[bell], broker=_Bell(bell))


class _Claiming(ORM):  # type: ignore[misc]
    """Tasks are rows; enqueueing one wakes the clusters that listen."""

    def enqueue(self, task: str) -> int | None:
        return self._put("SELECT %s, %s, %s", [self.list_key, task, self._moment(timezone.now())])

    def _put(self, row: str, values: list[Any]) -> int | None:
        wakes = f", pg_notify('{CHANNEL}', '')" if connection.vendor == "postgresql" else ""
        with connection.cursor() as cursor:
            cursor.execute(f"INSERT INTO django_q_ormq (key, payload, lock) {row} RETURNING id{wakes}", values)
            added = cursor.fetchone()
        return added[0] if added else None

    @staticmethod
    def _moment(moment: datetime) -> Any:
        return connection.ops.adapt_datetimefield_value(moment)


class _Bell(_Claiming):
    """Holds one waiting task at most: a burst of commits wakes the cluster once."""

    # A wake-up that a crash of the database loses is made up for by the clock: it need not wait for the disk.
    _WAITING = "SELECT 1 FROM django_q_ormq WHERE key = %s AND lock <= %s"
    _RELAXED = "FROM (SELECT set_config('synchronous_commit', 'off', true)) AS relaxed"

    def enqueue(self, task: str) -> int | None:
        """On SQLite a look first: what would write waits for its turn, behind everybody who places an order."""
        now = self._moment(timezone.now())
        if connection.vendor == "sqlite" and self._is_waiting(now):
            return None
        relaxed = self._RELAXED if connection.vendor == "postgresql" else ""
        return self._put(
            f"SELECT %s, %s, %s {relaxed} WHERE NOT EXISTS ({self._WAITING})",
            [self.list_key, task, now, self.list_key, now],
        )

    def _is_waiting(self, now: Any) -> bool:
        with connection.cursor() as cursor:
            cursor.execute(self._WAITING, [self.list_key, now])
            return cursor.fetchone() is not None


class InstantBroker(_Claiming):
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
        self._listener: Any = None

    def dequeue(self) -> list[tuple[int, str]]:
        """Tasks, or none after at most a second. Outlives a restart of the database."""
        try:
            tasks = self._claim()
            if not tasks:
                self._wait()
        except DatabaseError as error:
            logger.warning("The queue cannot reach the database, and tries again: %s", error)
            self._disconnect()
            time.sleep(RECONNECT_S)
            return []
        return tasks

    def _claim(self) -> list[tuple[int, str]]:
        """One statement, and two clusters never get the same task. On SQLite a look first: an UPDATE takes the lock."""
        now, keys = timezone.now(), [self.list_key, *bells]
        waiting = OrmQ.objects.filter(key__in=keys, lock__lte=now)
        if connection.vendor == "sqlite" and not waiting.exists():
            return []
        with connection.cursor() as cursor:
            skip = "FOR UPDATE SKIP LOCKED" if connection.vendor == "postgresql" else ""
            cursor.execute(
                self._TAKE.format(keys=", ".join(["%s"] * len(keys)), skip=skip),
                [*keys, self._moment(now), Conf.BULK, self._moment(self.timeout(None))],
            )
            return list(cursor.fetchall())

    def _wait(self) -> None:
        """Until something is enqueued, or for WAIT_S."""
        if connection.vendor != "postgresql":
            time.sleep(Conf.POLL)
            return
        if self._listener is None:
            self._listener = connection.copy()
            with self._listener.cursor() as cursor:
                cursor.execute(f"LISTEN {CHANNEL}")
            return  # What was enqueued before is claimed first.
        with self._listener.wrap_database_errors:
            for _ in self._listener.connection.notifies(timeout=WAIT_S, stop_after=1):
                return

    def _disconnect(self) -> None:
        connection.close()
        if self._listener is not None:
            self._listener.close()
            self._listener = None
