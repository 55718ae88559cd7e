"""Real processes of the product on a database of ours."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any
from urllib.parse import urlsplit

import psutil
from django.conf import settings
from django.db import connection


def database_url() -> str:
    name = str(connection.settings_dict["NAME"])
    if connection.vendor == "sqlite":
        return f"sqlite:///{name}"
    return urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}").geturl()


def start(*command: str, log: IO[bytes] | None = None, url: str | None = None) -> subprocess.Popen[bytes]:
    """A Python with the product's settings, on the database at `url`, or ours; `command` is what follows `python`."""
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.chaos.settings",
        "DATABASE_URL": url or database_url(),
        "WORKERS": "2",
    }
    return subprocess.Popen(
        [sys.executable, *command],
        cwd=settings.BASE_DIR,
        env=environment,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )


def run(code: str, *, url: str | None = None) -> int:
    """Run `code` in a process of its own, with Django set up; its return code, negative for a signal."""
    with start("-c", f"import django; django.setup()\n{code}", url=url) as process:
        return process.wait(30)


class Running:
    """A process of the product with all it has started."""

    def __init__(self, *command: str, log: IO[bytes] | None = None, url: str | None = None) -> None:
        self._command, self._log, self._url = command, log, url
        self.start()

    def start(self) -> None:
        self.process = start(*self._command, log=self._log, url=self._url)

    def kill(self) -> None:
        """All of it at once, as when its machine goes down; orphans too."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    def revive(self) -> bool:
        """Start it again if it has ended, as `manage.py up` and systemd do; whether it had."""
        if self.process.poll() is None:
            return False
        self.kill()
        self.start()
        return True

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


class Cluster(Running):
    """A running `qcluster`."""

    SIZE = 6  # Sentinel, two workers, monitor, pusher and clock.

    def __init__(self, log: IO[bytes] | None = None, url: str | None = None) -> None:
        super().__init__("-m", "django", "qcluster", log=log, url=url)

    def workers(self) -> list[int]:
        """And, last, monitor, pusher and clock: the sentinel starts its workers first, and replaces what dies."""
        [sentinel] = psutil.Process(self.process.pid).children()
        started = sorted(sentinel.children(), key=lambda child: (child.create_time(), child.pid))
        return [child.pid for child in started]

    def is_whole(self) -> bool:
        return len(family(self.process.pid)) >= self.SIZE


@contextmanager
def running_cluster(*, url: str | None = None) -> Iterator[Cluster]:
    """Up and waiting for work; whatever is left of it is ended."""
    cluster = Cluster(url=url)
    try:
        wait_until(cluster.is_whole, what="cluster with two workers", timeout_s=60)
        yield cluster
    finally:
        cluster.kill()


def family(pid: int) -> list[int]:
    try:
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def wait_until(is_so: Callable[[], Any], *, what: str, timeout_s: float = 30.0) -> Any:
    """The first truth `is_so` tells; fails the test if there is none in time."""
    ends = time.monotonic() + timeout_s
    while not (found := is_so()):
        assert time.monotonic() < ends, f"no {what} within {timeout_s:.0f} s"
        time.sleep(0.02)
    return found
