"""Writers of a SQLite file; each test has files of its own, whatever the suite runs on."""

import gc
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from commerce.sqlite import turns
from commerce.sqlite.base import Connection, Cursor

pytestmark = pytest.mark.once

HOLD = """
import sys, time
from commerce.sqlite.base import Connection, Cursor
connection = Connection(sys.argv[1], isolation_level=None)
connection.cursor(factory=Cursor).execute("BEGIN IMMEDIATE")
print("mine", flush=True)
time.sleep(60)
"""


@pytest.fixture
def path(tmp_path: Path) -> str:
    path = str(tmp_path / "shop.sqlite3")
    with closing(opened(path)) as connection:
        write(connection, "CREATE TABLE sale (buyer)")
    return path


def opened(path: str, *, timeout_s: float = 10.0) -> Connection:
    return sqlite3.connect(path, factory=Connection, isolation_level=None, timeout=timeout_s, check_same_thread=False)


def write(connection: Connection, statement: str) -> list[tuple[Any]]:
    return list(connection.cursor(factory=Cursor).execute(statement))


def is_free(path: str) -> bool:
    """Whether somebody who is in a hurry gets the turn."""
    taken = turns.at(path).take(0.05)
    if taken:
        turns.at(path).give_back()
    return taken


class TestTurn:
    @pytest.mark.parametrize("ends", ["commit", "rollback", "close"])
    def test_is_held_for_as_long_as_a_transaction_is_open(self, path: str, ends: str) -> None:
        connection = opened(path)
        write(connection, "BEGIN IMMEDIATE")
        write(connection, "INSERT INTO sale VALUES ('a')")
        was_free = is_free(path)
        getattr(connection, ends)()

        assert (was_free, is_free(path)) == (False, True)
        connection.close()

    def test_is_given_back_after_a_single_statement(self, path: str) -> None:
        with closing(opened(path)) as connection:
            write(connection, "INSERT INTO sale VALUES ('a')")

            assert is_free(path)

    def test_is_given_back_after_a_statement_that_fails(self, path: str) -> None:
        with closing(opened(path)) as connection:
            with pytest.raises(sqlite3.OperationalError, match="no such table"):
                write(connection, "INSERT INTO missing VALUES (1)")

            assert is_free(path)

    @pytest.mark.parametrize(
        "statement", [" select buyer FROM sale", "WITH s AS (\n SELECT buyer FROM sale\n) SELECT * FROM s"]
    )
    def test_is_not_needed_for_reading(self, path: str, statement: str) -> None:
        with closing(opened(path)) as writes, closing(opened(path, timeout_s=0.05)) as reads:
            write(writes, "BEGIN IMMEDIATE")

            assert write(reads, statement) == []

    @pytest.mark.parametrize(
        "statement", ["WITH s (b) AS (\n VALUES (1)\n)\n INSERT INTO sale SELECT b FROM s", "VACUUM"]
    )
    def test_is_needed_for_whatever_writes(self, path: str, statement: str) -> None:
        with closing(opened(path)) as connection:
            turns.at(path).take(0)
            connection.timeout_s = 0.05
            with pytest.raises(sqlite3.OperationalError, match="database is locked"):
                write(connection, statement)
            turns.at(path).give_back()

    def test_comes_in_the_order_of_arrival(self, path: str) -> None:
        first, arrived = opened(path), []
        write(first, "BEGIN IMMEDIATE")

        def buy(name: str) -> None:
            with closing(opened(path)) as connection:
                write(connection, "BEGIN IMMEDIATE")
                arrived.append(name)
                connection.commit()

        buyers = [threading.Thread(target=buy, args=(name,)) for name in "abcde"]
        for waiting, buyer in enumerate(buyers, 1):
            buyer.start()
            while len(turns.at(path).waiting) < waiting:
                time.sleep(0.001)
        first.commit()
        for buyer in buyers:
            buyer.join()
        first.close()

        assert arrived == list("abcde")

    def test_passes_on_when_whoever_waits_is_interrupted(self, path: str) -> None:
        def interrupt(*_: object) -> None:
            raise TimeoutError("enough")

        before = signal.signal(signal.SIGALRM, interrupt)
        with closing(opened(path)) as first, closing(opened(path)) as second:
            write(first, "BEGIN IMMEDIATE")
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            with pytest.raises(TimeoutError, match="enough"):
                write(second, "INSERT INTO sale VALUES ('b')")
            signal.signal(signal.SIGALRM, before)
            first.commit()

            assert is_free(path)

    def test_passes_on_when_a_connection_is_forgotten(self, path: str) -> None:
        write(opened(path), "BEGIN IMMEDIATE")
        gc.collect()

        assert is_free(path)

    def test_is_nobodys_where_the_file_cannot_be_opened(self, path: str) -> None:
        """And nothing but that is complained of."""
        with pytest.raises(sqlite3.OperationalError, match="unable to open database file"):
            opened(f"{path}/below")
        gc.collect()

    def test_does_not_come_while_another_writes_for_too_long(self, path: str) -> None:
        with closing(opened(path)) as first, closing(opened(path, timeout_s=0.05)) as second:
            write(first, "BEGIN IMMEDIATE")
            with pytest.raises(sqlite3.OperationalError, match="database is locked"):
                write(second, "INSERT INTO sale VALUES ('b')")
            first.commit()

            write(second, "INSERT INTO sale VALUES ('b')")

            assert write(first, "SELECT buyer FROM sale") == [("b",)]

    def test_is_nobodys_in_a_process_that_was_forked_meanwhile(self, path: str) -> None:
        with closing(opened(path)) as connection:
            write(connection, "BEGIN IMMEDIATE")
            child = os.fork()
            if not child:
                # In the child it waits for its parent, and is not told that it is its own.
                os._exit(int(is_free(path)))
            _, status = os.waitpid(child, 0)
            connection.commit()

            assert os.waitstatus_to_exitcode(status) == 0
            assert is_free(path)


class TestProcesses:
    @pytest.fixture
    def holder(self, path: str) -> Iterator["subprocess.Popen[bytes]"]:
        """Another process, amid a transaction."""
        with subprocess.Popen([sys.executable, "-c", HOLD, path], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"mine\n"
            yield process
            process.kill()

    def test_wait_for_each_other(self, path: str, holder: "subprocess.Popen[bytes]") -> None:
        assert not is_free(path)

    def test_leave_nothing_behind_when_they_are_killed(self, path: str, holder: "subprocess.Popen[bytes]") -> None:
        holder.send_signal(signal.SIGKILL)
        holder.wait()

        assert is_free(path)

    def test_who_has_waited_comes_before_who_has_just_written(self, path: str) -> None:
        """Two that write as often as they can have written about as often."""
        write_often = """
import sys, time
from commerce.sqlite.base import Connection, Cursor
connection = Connection(sys.argv[1], isolation_level=None, timeout=20)
cursor, count = connection.cursor(factory=Cursor), 0
print("ready", flush=True)
sys.stdin.readline()
while count < 150:
    cursor.execute("BEGIN IMMEDIATE")
    cursor.execute("INSERT INTO sale VALUES (?)".replace("?", sys.argv[2]))
    time.sleep(0.002)
    connection.commit()
    count += 1
"""
        command = [sys.executable, "-c", write_often, path]
        both = [subprocess.Popen([*command, str(n)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) for n in (1, 2)]
        for process in both:
            assert process.stdout is not None
            process.stdout.readline()
        for process in both:
            assert process.stdin is not None
            process.stdin.write(b"go\n")
            process.stdin.flush()
        for process in both:
            process.communicate()

        with closing(opened(path)) as connection:
            order = write(connection, "SELECT buyer FROM sale ORDER BY rowid")
        first_to_end = order[-1][0] % 2 + 1
        until_then = order[: len(order) - order[::-1].index((first_to_end,))]
        assert len(until_then) - 150 >= 120
