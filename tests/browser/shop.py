"""The product as its users run it: `manage.py up`, with web server and queue cluster, on a database of its own."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
from django.conf import settings
from psycopg import sql

from commerce.processes import free_port
from tests.migrated import migrated_sqlite

READY_WITHIN_S = 90.0
STOPPED_WITHIN_S = 15.0


@dataclass(frozen=True)
class Shop:
    url: str
    environment: Mapping[str, str]

    def manage(self, *command: str, **environment: str) -> str:
        """What a command of `manage.py` prints."""
        return subprocess.run(
            [sys.executable, "manage.py", *command],
            cwd=settings.BASE_DIR,
            env={**self.environment, **environment},
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout

    def create_administrator(self, username: str, password: str) -> None:
        named = ("--username", username, "--email", f"{username}@example.com")
        self.manage("createsuperuser", "--noinput", *named, DJANGO_SUPERUSER_PASSWORD=password)

    def token(self, name: str, *scopes: str) -> str:
        return self.manage("token", name, "--scopes", ",".join(scopes)).splitlines()[-1]


@dataclass(frozen=True)
class Curl:
    """A system that speaks to the API with curl and a token."""

    shop: Shop
    token: str

    def get(self, path: str) -> Any:
        return self._run(path)

    def post(self, path: str, **body: Any) -> Any:
        return self._run(
            path,
            "--header",
            f"Idempotency-Key: {uuid4()}",
            "--header",
            "Content-Type: application/json",
            "--data",
            json.dumps(body),
        )

    def _run(self, path: str, *options: str) -> Any:
        """The answer; fails the test, and shows the problem document, if it is no success."""
        command = ["curl", "--silent", "--show-error", "--fail-with-body", "--max-time", "30"]
        authorization = ["--header", f"Authorization: Bearer {self.token}"]
        answer = subprocess.run(
            [*command, *authorization, *options, f"{self.shop.url}/api/v1/{path}"],
            check=False,
            capture_output=True,
            text=True,
        )
        assert answer.returncode == 0, f"{path}: {answer.stderr}{answer.stdout}"
        return json.loads(answer.stdout)


@contextmanager
def running_shop(folder: Path, *options: str) -> Iterator[Shop]:
    """Migrated and empty. What it says goes where the test's own output goes."""
    port = free_port()
    with _own_database(folder) as database_url:
        environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "commerce.settings", "DATABASE_URL": database_url}
        command = [sys.executable, "manage.py", "up", "--port", str(port), *options]
        process = subprocess.Popen(command, cwd=settings.BASE_DIR, env=environment)
        try:
            shop = Shop(f"http://127.0.0.1:{port}", environment)
            _wait_until_it_answers(shop, process)
            yield shop
        finally:
            process.terminate()
            process.wait(STOPPED_WITHIN_S)


def _wait_until_it_answers(shop: Shop, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while True:
        try:
            urllib.request.urlopen(f"{shop.url}/healthz", timeout=5).close()  # noqa: S310
        except OSError:
            assert process.poll() is None, "manage.py up has ended by itself"
            assert time.monotonic() < deadline, f"no answer from manage.py up within {READY_WITHIN_S:g} s"
            time.sleep(0.1)
        else:
            return


@contextmanager
def _own_database(folder: Path) -> Iterator[str]:
    """The URL of a new one: a file, migrated, or a database on the PostgreSQL of DATABASE_URL."""
    server = os.environ.get("DATABASE_URL", "")
    if not server.startswith("postgres"):
        yield migrated_sqlite(folder / "shop.sqlite3")
        return
    name = f"shop_{uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    try:
        yield urlsplit(server)._replace(path=f"/{name}").geturl()
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
