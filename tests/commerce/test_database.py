import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from itertools import chain, repeat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.conf import settings
from django.db import OperationalError, connection

from commerce import database
from tests.chaos.processes import Cluster, family, wait_until
from tests.marks import only_on


@only_on("postgresql", because="SQLite has no server that could go")
class TestHealthCheck:
    @pytest.fixture
    def kept(self) -> Iterator[Any]:
        """A connection as a request leaves it for the next."""
        kept: Any = connection.copy()
        kept.ensure_connection()
        kept.health_check_enabled = True
        kept.close_if_unusable_or_obsolete()
        yield kept
        kept.close()

    def session(self, kept: Any) -> int:
        with kept.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            return int(cursor.fetchone()[0])

    def test_asks_nothing_of_a_server_that_is_there(self, db: None, kept: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(kept, "is_usable", lambda: pytest.fail("a statement"))

        assert self.session(kept) == self.session(kept)

    def test_opens_another_where_the_server_has_ended_it(self, db: None, kept: Any) -> None:
        ended = kept.connection.info.backend_pid
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [ended])

        assert self.session(kept) != ended

    def test_keeps_one_that_only_told_something(self, db: None, kept: Any) -> None:
        with kept.cursor() as cursor:
            cursor.execute("LISTEN told")
        kept.close_if_unusable_or_obsolete()
        session = kept.connection.info.backend_pid
        with closing(connection.copy()) as other, other.cursor() as cursor:
            cursor.execute("NOTIFY told")

        assert self.session(kept) == session


class TestAwaitAnswer:
    @pytest.fixture
    def pauses(self, monkeypatch: pytest.MonkeyPatch) -> list[float]:
        slept: list[float] = []
        monkeypatch.setattr(database, "time", SimpleNamespace(sleep=slept.append))
        return slept

    def answer_after(self, failures: int, monkeypatch: pytest.MonkeyPatch) -> None:
        answers = chain([False] * failures, repeat(True))

        def ensure_connection() -> None:
            if not next(answers):
                raise OperationalError("connection refused\nIs the server running?")

        monkeypatch.setattr(database, "connection", SimpleNamespace(ensure_connection=ensure_connection))

    def test_says_nothing_where_it_answers(self, monkeypatch: pytest.MonkeyPatch, pauses: list[float]) -> None:
        self.answer_after(0, monkeypatch)

        database.await_answer(tell=pytest.fail)

        assert pauses == []

    def test_asks_again_after_growing_pauses_and_says_why(
        self, monkeypatch: pytest.MonkeyPatch, pauses: list[float]
    ) -> None:
        self.answer_after(7, monkeypatch)
        told: list[str] = []

        database.await_answer(tell=told.append)

        assert pauses == [0.5, 1, 2, 4, 8, 10, 10]
        assert told[0] == (
            "The database of DATABASE_URL does not answer, and is asked again in 0.5 s: connection refused"
        )


@pytest.mark.processes
def test_a_cluster_that_is_started_before_its_database_waits_for_it(tmp_path: Path) -> None:
    in_the_way = tmp_path / "db.sqlite3"
    in_the_way.mkdir()
    cluster = subprocess.Popen(
        [sys.executable, "-m", "django", "qcluster"],
        cwd=settings.BASE_DIR,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "DATABASE_URL": f"sqlite:///{in_the_way}",
            "WORKERS": "2",
        },
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert cluster.stderr is not None
        assert "does not answer, and is asked again in 0.5 s: unable to open database file" in cluster.stderr.readline()
        assert family(cluster.pid) == []

        in_the_way.rmdir()

        wait_until(lambda: len(family(cluster.pid)) >= Cluster.SIZE, what="cluster", timeout_s=60)
    finally:
        cluster.terminate()
        cluster.communicate(timeout=30)
