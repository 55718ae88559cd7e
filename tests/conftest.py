"""Both databases: SQLite in a file, or the PostgreSQL of DATABASE_URL; `make test` runs the suite on each."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import time_machine
from django.conf import settings
from django.core.cache import cache
from django.db import connections
from django.test import TransactionTestCase

from tests.emptying import empty_tables
from tests.receiver import Receiver, running_receiver
from tests.rings import Rings, listening
from webhooks.drain import _sender_of
from webhooks.garbage import collect_seldom

# Their asserts show what they compare, as those of the tests do.
pytest.register_assert_rewrite("tests.caller", "tests.orders.api.refusals", "tests.orders.invariants")


def pytest_collection_finish() -> None:
    """Looking for cycles as often as Python does by default is an eighth of the time that the admin's tests take."""
    collect_seldom()


@pytest.fixture(scope="session")
def django_db_modify_db_settings(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Threads and other processes must see the test's rows, so SQLite's test database is a file too."""
    database = settings.DATABASES["default"]
    if "sqlite" in database["ENGINE"]:
        path: Path = tmp_path_factory.mktemp("database") / "test.sqlite3"
        database.setdefault("TEST", {})["NAME"] = str(path)


@pytest.fixture(scope="session", autouse=True)
def _tests_that_commit_cost_little() -> None:
    TransactionTestCase._fixture_teardown = empty_tables  # type: ignore[attr-defined]
    # A new connection knows no table yet: all that PostgreSQL first learns of them takes it 20 ms.
    TransactionTestCase._should_reload_connections = lambda _: False  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def _throttles_start_afresh() -> None:
    cache.clear()


@pytest.fixture(scope="session", autouse=True)
def _connections_end_with_the_session() -> Iterator[None]:
    yield
    connections.close_all()


@pytest.fixture
def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def frozen(now: datetime) -> Iterator[None]:
    """It stays `now`, however long the machine takes: for what is told, or decided, by the second."""
    with time_machine.travel(now, tick=False):
        yield


@pytest.fixture(autouse=True)
def _threads_end_with_their_test() -> Iterator[None]:
    """The sender's threads hold database connections, which must not outlive the test's rows."""
    yield
    if _sender_of.cache_info().currsize:
        _sender_of(os.getpid()).close()
        _sender_of.cache_clear()


@pytest.fixture
def rings() -> Iterator[Rings]:
    with listening() as heard:
        yield heard


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with running_receiver() as running:
        yield running
