"""What every benchmark needs: a database of its own, a cluster, and a receiver that is never the bottleneck."""

import asyncio
import json
import multiprocessing
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet

ROOT = Path(__file__).resolve().parent.parent
# As in production: DEBUG keeps every statement in memory.
ENVIRONMENT = {
    "DEBUG": "false",
    "SECRET_KEY": secrets.token_urlsafe(50),
    "ENCRYPTION_KEYS": Fernet.generate_key().decode(),
    "BASE_URL": "http://127.0.0.1",
    "WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
    "THROTTLE_PUBLIC": "",
    "THROTTLE_TOKEN": "",
}
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@contextmanager
def database(kind: str) -> Iterator[dict[str, str]]:
    """The environment of a fresh, migrated database: `sqlite` or `postgres`."""
    from tests.postgres import running_postgres

    with tempfile.TemporaryDirectory() as folder:
        if kind == "sqlite":
            yield _migrated({"DATABASE_URL": f"sqlite:///{folder}/bench.sqlite3"})
        else:
            with running_postgres() as url:
                yield _migrated({"DATABASE_URL": url})


def _migrated(environment: dict[str, str]) -> dict[str, str]:
    whole = {**os.environ, **ENVIRONMENT, **environment}
    subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], cwd=ROOT, env=whole, check=True)
    in_django(whole, "be_audited")
    return whole


@contextmanager
def cluster(environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "manage.py", "qcluster"], cwd=ROOT, env=environment)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20)


def in_django(environment: dict[str, str], code: str, *arguments: object) -> Any:
    """Run a function of `benchmarks.work` in a process of its own; what it returns comes back as JSON."""
    call = _call(environment, code, arguments)
    finished = subprocess.run(**call, cwd=ROOT, check=True, stdout=subprocess.PIPE)
    return json.loads(finished.stdout.splitlines()[-1])


@contextmanager
def asking(environment: dict[str, str], code: str, *arguments: object) -> Iterator[Callable[[object], Any]]:
    """The same, of one that answers each line of JSON with another, the first of them as soon as it is ready."""
    call = _call(environment, code, arguments)
    with subprocess.Popen(**call, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        asked, told = process.stdin, process.stdout
        assert asked is not None
        assert told is not None
        if not told.readline():
            raise RuntimeError(f"{code} has ended before it was ready: see above.")

        def ask(question: object) -> Any:
            print(json.dumps(question), file=asked, flush=True)
            return json.loads(told.readline())

        yield ask
        # It ends when it is asked no more, and says so to somebody who listens.
        asked.close()
        told.read()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, code)


def _call(environment: dict[str, str], code: str, arguments: tuple[object, ...]) -> dict[str, Any]:
    script = (
        "import django, json, sys; django.setup();"
        "from benchmarks import work;"
        f"print(json.dumps(getattr(work, {code!r})(*json.loads(sys.argv[1]))))"
    )
    return {
        "args": [sys.executable, "-c", script, json.dumps(arguments)],
        "env": {**environment, "DJANGO_SETTINGS_MODULE": "commerce.settings"},
    }


class FastReceiver:
    """An HTTP server in a process of its own. `arrivals()` gives (webhook-id, moment in seconds) so far."""

    def __init__(self) -> None:
        self.pipe, theirs = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=_serve, args=(theirs,), daemon=True)

    def __enter__(self) -> "FastReceiver":
        self.process.start()
        self.url = f"http://127.0.0.1:{self.pipe.recv()}/"
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.join()

    def count(self) -> int:
        self.pipe.send("count")
        return int(self.pipe.recv())

    def arrivals(self) -> list[tuple[str, float]]:
        self.pipe.send("arrivals")
        found: list[tuple[str, float]] = self.pipe.recv()
        return found

    def wait_for(self, count: int, *, timeout_s: float = 120.0) -> list[tuple[str, float]]:
        ends = time.monotonic() + timeout_s
        while self.count() < count:
            if time.monotonic() > ends:
                raise TimeoutError(f"{self.count()} of {count} deliveries came in {timeout_s:.0f} s.")
            time.sleep(0.05)
        return self.arrivals()


class _Server(asyncio.Protocol):
    arrivals: list[tuple[str, float]] = []

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.waiting = b""

    def data_received(self, data: bytes) -> None:
        self.waiting += data
        while (end := self.waiting.find(b"\r\n\r\n")) >= 0:
            head = self.waiting[:end].lower()
            size = end + 4 + int(_header(head, b"content-length"))
            if len(self.waiting) < size:
                return
            self.waiting = self.waiting[size:]
            self.arrivals.append((_header(head, b"webhook-id").decode(), time.time()))
            self.transport.write(ANSWER)


def _header(head: bytes, name: bytes) -> bytes:
    return head.partition(b"\r\n" + name + b": ")[2].partition(b"\r\n")[0]


def _serve(pipe: Connection) -> None:
    asyncio.run(_listen(pipe))


async def _listen(pipe: Connection) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Server, "127.0.0.1", 0, backlog=512)
    pipe.send(server.sockets[0].getsockname()[1])

    def answer() -> None:
        pipe.send(len(_Server.arrivals) if pipe.recv() == "count" else _Server.arrivals)

    loop.add_reader(pipe.fileno(), answer)
    await server.serve_forever()


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]
