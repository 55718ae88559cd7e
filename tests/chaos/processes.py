"""Real processes of the product on the database of the running test."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import psutil
from django.conf import settings
from django.db import connection

LEASE_S = 2.0


def database_url() -> str:
    name = str(connection.settings_dict["NAME"])
    if connection.vendor == "sqlite":
        return f"sqlite:///{name}"
    return urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}").geturl()


def start(*command: str) -> subprocess.Popen[bytes]:
    """A Python with the product's settings; `command` is what follows `python`."""
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "DATABASE_URL": database_url(),
        "WORKERS": "2",
    }
    return subprocess.Popen([sys.executable, *command], cwd=settings.BASE_DIR, env=environment, start_new_session=True)


def run(code: str) -> int:
    """Run `code` in a process of its own, with Django set up; its return code, negative for a signal."""
    with start("-c", f"import django; django.setup()\n{code}") as process:
        return process.wait(30)


class Cluster:
    """A running `qcluster`."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process

    def workers(self) -> list[int]:
        """And, last, monitor and pusher: the sentinel starts its workers first, and replaces what dies."""
        [sentinel] = psutil.Process(self.process.pid).children()
        started = sorted(sentinel.children(), key=lambda child: (child.create_time(), child.pid))
        return [child.pid for child in started]

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


@contextmanager
def running_cluster() -> Iterator[Cluster]:
    """Up and waiting for work; whatever is left of it is ended."""
    process = start("-m", "tests.chaos.manage", str(LEASE_S), "qcluster")
    try:
        cluster = Cluster(process)
        wait_until(lambda: len(family(process.pid)) >= 5, what="cluster with two workers", timeout_s=60)
        yield cluster
    finally:
        for one in [process.pid, *family(process.pid)]:
            kill(one)
        process.wait(10)


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
