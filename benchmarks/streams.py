"""Open streams of one web process: how soon a commit is seen on those it is about, and what each of them costs.

Nine in ten are of a tracking page each, of as many orders; the others of the whole feed. While they are open, another
process confirms and packs orders at a steady pace: each change is to be seen on its order's page and on every feed. A
wait is from the commit to the arrival of the bytes that show it. Then more pages are opened, and the process is looked
at: its threads, its connections to the database, and what its memory has grown by.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil
import psycopg

from benchmarks import harness
from commerce.processes import is_listening
from commerce.web import allow_open_files

PAGES, FEEDS = 450, 50
# By then its threads and its connections are all there, and none of its memory is a stream's.
WARM_UP = 20
CHANGES = 300
PER_SECOND = 20.0
OPEN_IN_ALL = 1_000
OPENED_AT_ONCE = 20
# The server lets an address have no more than 100: these come from addresses of their own, as shoppers do.
PER_ADDRESS = 50
PORT = 8767
WITHIN_S = 60.0


@dataclass(frozen=True)
class Measured:
    """`waits` are milliseconds, one for each change and stream that shows it; the rest is of OPEN_IN_ALL streams."""

    waits: list[float]
    threads: int
    connections: int
    kilobytes: float


@dataclass(frozen=True)
class Sighting:
    """A message of a stream: its position there, and when it came."""

    stream: str
    position: str
    seen_at: float


def measure(kind: str) -> Measured:
    allow_open_files(OPEN_IN_ALL * 2)
    with harness.database(kind) as environment, _web(environment) as process:
        orders = dict(harness.in_django(environment, "place_orders", PAGES))
        token = harness.in_django(environment, "issue_token", ["events"])
        return asyncio.run(_measure(environment, process, orders, token))


@contextmanager
def _web(environment: dict[str, str]) -> Iterator[psutil.Process]:
    """The program's own web server."""
    command = [sys.executable, "-m", "commerce.web", "--port", str(PORT)]
    process = subprocess.Popen(command, cwd=harness.ROOT, env=environment)
    try:
        ends = time.monotonic() + WITHIN_S
        while not is_listening(PORT):
            if time.monotonic() > ends:
                raise TimeoutError("The web server does not listen.")
            time.sleep(0.1)
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(20)


async def _measure(
    environment: dict[str, str], process: psutil.Process, orders: dict[str, str], token: str
) -> Measured:
    readers = _Readers(token)
    pages = [(order, f"track/{tracking}/stream") for order, tracking in orders.items()]
    await readers.open(pages[:WARM_UP])
    before = process.memory_info().rss
    await readers.open(pages[WARM_UP:])
    await readers.open([("", "events/stream")] * FEEDS)
    await readers.wait_until_all_pages_are_shown()
    changes = await asyncio.to_thread(harness.in_django, environment, "change_orders", CHANGES, PER_SECOND)
    waits = await readers.wait_for(changes)
    await readers.open((pages * 2)[: OPEN_IN_ALL - PAGES - FEEDS])
    # What opened them has been given back.
    await asyncio.sleep(2)
    grown = process.memory_info().rss - before
    measured = Measured(
        waits, process.num_threads(), _connections(process, environment), grown / 1e3 / (OPEN_IN_ALL - WARM_UP)
    )
    readers.close()
    return measured


class _Readers:
    """Many readers of streams, each with a connection of its own. `stream` is the id of an order; empty: the feed."""

    def __init__(self, token: str) -> None:
        self._token = token
        self._tasks: list[asyncio.Task[None]] = []
        self._sightings: list[Sighting] = []

    async def open(self, wanted: list[tuple[str, str]]) -> None:
        for start in range(0, len(wanted), OPENED_AT_ONCE):
            batch = wanted[start : start + OPENED_AT_ONCE]
            opened = await asyncio.gather(*(self._open(path) for _, path in batch))
            for (stream, _), reader in zip(batch, opened, strict=True):
                self._tasks.append(asyncio.create_task(self._read(stream, *reader)))

    async def _open(self, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        home = f"127.0.1.{1 + len(self._tasks) // PER_ADDRESS}"
        reader, writer = await asyncio.open_connection("127.0.0.1", PORT, local_addr=(home, 0))
        head = f"GET /api/v1/{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {self._token}\r\n\r\n"
        writer.write(head.encode())
        status = await reader.readline()
        if b" 200 " not in status:
            raise RuntimeError(f"No stream was opened: {status!r}")
        await reader.readuntil(b": still here\n")
        return reader, writer

    async def _read(self, stream: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The writer is held on to: a connection ends with it."""
        position = ""
        while not writer.is_closing() and (line := await reader.readline()):
            name, _, value = line.decode().strip().partition(": ")
            if name == "id":
                position = value
            elif name == "data":
                self._sightings.append(Sighting(stream, position, time.time()))

    async def wait_until_all_pages_are_shown(self) -> None:
        """Each begins with the whole of its order, which the server reads one after the other."""
        async with asyncio.timeout(WITHIN_S):
            while len({each.stream for each in self._sightings}) < PAGES:
                await asyncio.sleep(0.2)

    async def wait_for(self, changes: list[tuple[str, str, int, float]]) -> list[float]:
        """Until each has been seen wherever it is to be seen; how long each took there, in milliseconds."""
        committed = {(order, str(sequence)): at for _, order, sequence, at in changes}
        committed |= {("", event): at for event, _, _, at in changes}
        ends = time.monotonic() + WITHIN_S
        while True:
            seen = [(each, committed.get((each.stream, each.position))) for each in self._sightings]
            waits = [(each.seen_at - at) * 1000 for each, at in seen if at]
            if len(waits) == len(changes) * (1 + FEEDS):
                return waits
            if time.monotonic() > ends:
                raise TimeoutError(f"{len(waits)} of {len(changes) * (1 + FEEDS)} sightings in {WITHIN_S:.0f} s.")
            await asyncio.sleep(0.2)

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()


# What happens inside Django, in a process of its own


def place_orders(count: int) -> list[tuple[str, str]]:
    """(order id, tracking token) of as many orders to be paid on delivery."""
    from tests.factories import make_product, place_order

    make_product("SKU", on_hand=count)
    orders = [place_order(("SKU", 1), method="cod", now=datetime.now(UTC)) for _ in range(count)]
    return [(order.public_id, order.tracking_token) for order in orders]


def change_orders(count: int, per_second: float) -> list[tuple[str, str, int, float]]:
    """(event id, order id, sequence, moment of the commit) of as many changes, evenly spaced."""
    from django.db import transaction

    from orders import checkout, fulfilment
    from orders.models import Order
    from webhooks.models import Event

    order_ids = Order.objects.order_by("pk").values_list("public_id", flat=True)[: count // 2]
    steps = [(verb, order_id) for verb in (checkout.confirm, fulfilment.pack) for order_id in order_ids]
    committed = []
    started = time.time()
    for n, (verb, order_id) in enumerate(steps):
        time.sleep(max(started + n / per_second - time.time(), 0))
        with transaction.atomic():
            verb(order_id, actor="bench", now=datetime.now(UTC))
            event = Event.objects.filter(subject=order_id).latest("sequence")
        committed.append((event.public_id, order_id, event.sequence, time.time()))
    return committed


def _connections(process: psutil.Process, environment: dict[str, str]) -> int:
    """To the database, by the only process that is at it."""
    url = environment["DATABASE_URL"]
    if url.startswith("sqlite"):
        return sum(Path(each.path).suffix == ".sqlite3" for each in process.open_files())
    with psycopg.connect(url) as connection:
        others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        [count] = connection.execute(others).fetchone() or (0,)
    return int(count)


if __name__ == "__main__":
    for kind in sys.argv[1:] or ["postgres", "sqlite"]:
        started = time.monotonic()
        found = measure(kind)
        p50, p99 = (harness.percentile(found.waits, share) for share in (0.5, 0.99))
        print(kind, json.dumps({"p50": p50, "p99": p99, "threads": found.threads, "connections": found.connections}))
        print(f"{found.kilobytes:.0f} KB a stream ({time.monotonic() - started:.0f} s)")
