"""The cursor each connection keeps."""

import threading
from typing import Any

import pytest
from django.db import DatabaseError, connection
from django.test.utils import CaptureQueriesContext

from webhooks.cursors import execute, here

pytestmark = pytest.mark.django_db(transaction=True)


def ask(value: int) -> Any:
    return execute(here(), "SELECT %s", [value])


class TestKeptCursor:
    def test_is_the_same_for_one_statement_after_another(self) -> None:
        first, second = ask(1), ask(2)

        assert first is second
        assert [int(value) for (value,) in second.fetchall()] == [2]

    def test_goes_with_its_connection(self) -> None:
        first = ask(1)
        connection.close()

        second = ask(2)

        assert second is not first
        assert [int(value) for (value,) in second.fetchall()] == [2]

    def test_is_each_thread_s_own(self) -> None:
        theirs = []

        def elsewhere() -> None:
            theirs.append(ask(1))
            connection.close()

        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()

        assert theirs[0] is not ask(1)

    def test_puts_every_value_in_its_place(self) -> None:
        marks = ", ".join(["%s"] * 60)

        (row,) = execute(here(), f"SELECT {marks}, '100%%', %s", [*range(60), 60]).fetchall()

        assert [*map(int, row[:60]), row[60], int(row[61])] == [*range(60), "100%", 60]

    def test_is_fit_for_use_after_a_statement_that_failed(self) -> None:
        with pytest.raises(DatabaseError):
            execute(here(), "SELECT nothing_of_that_name", [])

        assert [int(value) for (value,) in ask(1).fetchall()] == [1]

    def test_hides_no_statement_from_those_who_count(self) -> None:
        with CaptureQueriesContext(connection) as captured:
            ask(1)

        assert len(captured) == 1
