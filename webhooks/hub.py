"""Wakes the open streams of this process when something has happened to what they are about.

One task listens, and only while a stream is open: on PostgreSQL to the notices that `outbox.emit` commits with each
event, on SQLite by looking. A notice is a hint, so on both the table is looked at as well: what was missed while the
database was away is found there. Whatever the number of streams, one thread reads for all of them by one connection.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import psycopg
from django.db import Error, close_old_connections, connection, connections

from webhooks.models import EventSequence
from webhooks.outbox import CHANNEL

logger = logging.getLogger(__name__)

# The subject of a stream that is about everything.
EVERYTHING = "*"
LOOK_EVERY_S = {"postgresql": 1.0, "sqlite": 0.5}
RECONNECT_S = 0.5

T = TypeVar("T")


@dataclass(frozen=True)
class Page:
    """What is new, as frames to be sent, and up to where that goes. `is_full`: there may be more already."""

    position: str
    frames: bytes = b""
    is_full: bool = False


class Source(Protocol):
    """What a stream tells. Equal ones at one position share a reading, so it must be hashable."""

    @property
    def subject(self) -> str: ...

    def since(self, position: str) -> Page:
        """Read what is new; in the thread of the hub."""
        ...


class Watch:
    """One stream's wait for its subject. Many rings before it looks are one."""

    def __init__(self) -> None:
        self.is_closed = False
        self._rung = asyncio.Event()

    def ring(self) -> None:
        self._rung.set()

    def close(self) -> None:
        self.is_closed = True
        self._rung.set()

    async def wait(self, seconds: float) -> bool:
        """Whether it was rung, or closed, within so many seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._rung.wait()
        was_rung = self._rung.is_set()
        self._rung.clear()
        return was_rung


@dataclass
class _Topic:
    """A subject that streams are open about, and what has been read of it since it was last rung."""

    watches: set[Watch] = field(default_factory=set)
    readings: dict[tuple[Source, str], asyncio.Future[Page]] = field(default_factory=dict)
    position: str = ""

    def ring(self) -> None:
        self.readings.clear()
        for watch in self.watches:
            watch.ring()


class Hub:
    def __init__(self) -> None:
        self._topics: dict[str, _Topic] = {}
        self._listening: asyncio.Task[None] | None = None
        self._reader = ThreadPoolExecutor(1, "streams")

    @contextmanager
    def watching(self, subject: str) -> Iterator[Watch]:
        """From here on no change goes unnoticed: enter first, then read what there is."""
        watch = Watch()
        topic = self._topics.setdefault(subject, _Topic())
        topic.watches.add(watch)
        self._listening = self._listening or asyncio.create_task(self._listen())
        try:
            yield watch
        finally:
            topic.watches.discard(watch)
            if not topic.watches:
                del self._topics[subject]
            if not self._topics:
                self._rest()

    async def read(self, source: Source, position: str) -> Page:
        """What is new since `position`, for whoever watches the source's subject. Raises the database's errors."""
        topic, key = self._topics[source.subject], (source, position)
        if key not in topic.readings:
            topic.readings[key] = asyncio.ensure_future(self._run(source.since, position))
        try:
            # Others may wait for it too: it outlives the stream that asked first.
            page = await asyncio.shield(topic.readings[key])
        except Error:
            topic.readings.pop(key, None)
            raise
        topic.position = page.position
        return page

    def close(self) -> None:
        """End every stream; each resumes elsewhere, or here once the process is back."""
        for topic in self._topics.values():
            for watch in topic.watches:
                watch.close()

    def _rest(self) -> None:
        if self._listening is not None:
            self._listening.cancel()
            self._listening = None
        self._reader.submit(connections.close_all)

    def _ring(self, subject: str) -> None:
        for rung in (subject, EVERYTHING):
            if rung in self._topics:
                self._topics[rung].ring()

    async def _listen(self) -> None:
        """Outlives a restart of the database."""
        listen = self._hear if connection.vendor == "postgresql" else self._poll
        while True:
            try:
                await listen()
            except (Error, psycopg.Error) as reason:
                logger.warning("The streams cannot reach the database, and try again: %s", reason)
                await asyncio.sleep(RECONNECT_S)

    async def _hear(self) -> None:
        parameters = connection.get_connection_params() | {"cursor_factory": psycopg.AsyncCursor}
        bell = await psycopg.AsyncConnection.connect(**parameters, autocommit=True)
        try:
            await bell.execute(f"LISTEN {CHANNEL}")
            while True:
                await self._look()
                async for notice in bell.notifies(timeout=LOOK_EVERY_S["postgresql"]):
                    self._ring(notice.payload)
        finally:
            # Not `async with`: that waits for the server first, and a second cancellation would leave it open.
            await bell.close()

    async def _poll(self) -> None:
        while True:
            await self._look()
            await asyncio.sleep(LOOK_EVERY_S["sqlite"])

    async def _look(self) -> None:
        """Ring for each subject that is not where its streams are. Of everything nobody can tell: it is read."""
        last = await self._run(_last_sequences, list(self._topics))
        for subject, topic in self._topics.items():
            if subject == EVERYTHING or last.get(subject, topic.position) != topic.position:
                topic.ring()

    async def _run(self, function: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._reader, _read, function, *arguments)


def _read(function: Callable[..., T], *arguments: Any) -> T:
    close_old_connections()
    return function(*arguments)


def _last_sequences(subjects: Iterable[str]) -> dict[str, str]:
    rows = EventSequence.objects.filter(subject__in=subjects).values_list("subject", "last")
    return {subject: str(last) for subject, last in rows}


hub = Hub()
