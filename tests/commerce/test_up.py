import http.client
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from cryptography.fernet import Fernet
from django.conf import settings

from commerce.processes import free_port
from tests.chaos.processes import wait_until as wait_for
from tests.migrated import migrated_sqlite

pytestmark = [pytest.mark.processes, pytest.mark.once]

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Runs `manage.py up` against a database of its own; what is left of it is ended with the test.

    On one that is empty, it is run by `tests/journeys/test_readme.py`.
    """
    database = migrated_sqlite(tmp_path / "up.sqlite3")
    started: list[subprocess.Popen[str]] = []

    def run(*options: str, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "up", *options],
            cwd=settings.BASE_DIR,
            env={**os.environ, "DEBUG": "true", "DATABASE_URL": database, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.terminate()
        process.communicate(timeout=15)


def wait_until(port: int, path: str) -> None:
    """Until GET `path` is answered 200."""
    deadline = time.monotonic() + 30
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=5).close()
        except OSError:
            assert time.monotonic() < deadline, f"no {path} within 30 s"
            time.sleep(0.1)
        else:
            return


def outcome(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, complaint = process.communicate(timeout=30)
    return process.returncode, complaint


# `up` on a shop whose queue cluster was last heard of an hour ago; it looks for one sooner than it would.
WITHOUT_CLUSTER = """
import sys
from datetime import timedelta
import django
django.setup()
from django.contrib.auth.models import User
from django.core.management import call_command
from django.utils import timezone
from commerce import alarms, database
from commerce.models import Heartbeat
database.migrate()
Heartbeat.objects.create(pk=Heartbeat.THE_ONE, at=timezone.now() - timedelta(hours=1))
User.objects.create_superuser("root", "root@example.com")
alarms.LOOK_EVERY_S = 0.2
call_command("up", "--web-only", "--port", sys.argv[1])
"""


def test_mails_that_no_queue_cluster_is_left(tmp_path: Path) -> None:
    mails = tmp_path / "mails"
    environment = {
        "DJANGO_SETTINGS_MODULE": "commerce.settings",
        "DATABASE_URL": f"sqlite:///{tmp_path}/up.sqlite3",
        "EMAIL_URL": f"filemail:///{mails}",
    }
    command = [sys.executable, "-c", WITHOUT_CLUSTER, str(free_port())]
    with subprocess.Popen(
        command, cwd=settings.BASE_DIR, env={**os.environ, **environment}, stdout=subprocess.DEVNULL
    ) as up:
        try:
            sent = wait_for(lambda: "".join(each.read_text() for each in mails.glob("*.log")), what="mail")
        finally:
            up.terminate()

    assert "Subject: Alarm: No queue cluster" in sent
    assert "To: root@example.com" in sent


def connected_to(port: int, up: subprocess.Popen[str]) -> dict[psutil.Process, int]:
    """The web servers, and how many connections each has."""
    return {
        child: sum(
            each.laddr.port == port and each.status == psutil.CONN_ESTABLISHED for each in child.net_connections("tcp")
        )
        for child in psutil.Process(up.pid).children()
    }


def kept_connection(port: int) -> http.client.HTTPConnection:
    """One that has been answered."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/healthz")
    assert connection.getresponse().read()
    return connection


class TestUp:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_serves_until_a_signal_and_leaves_no_child(self, start: Start, number: signal.Signals) -> None:
        port = free_port()
        up = start("--port", str(port))
        wait_until(port, "readyz")
        children = psutil.Process(up.pid).children(recursive=True)

        asked_at = time.monotonic()
        up.send_signal(number)
        code, _ = outcome(up)

        assert code == 0
        assert time.monotonic() - asked_at < 10
        assert len(children) >= 4
        assert [child for child in children if child.is_running()] == []

    def test_leads_links_to_its_own_port(self, start: Start) -> None:
        port = free_port()
        up = start("--port", str(port), "--web-only")
        wait_until(port, "healthz")

        (web,) = psutil.Process(up.pid).children()

        assert web.environ()["BASE_URL"] == f"http://localhost:{port}"

    def test_serves_by_several_processes_that_have_as_many_connections_each(self, start: Start) -> None:
        port = free_port()
        up = start("--port", str(port), "--web-only", "--web-processes", "2")
        wait_until(port, "healthz")

        def spread() -> bool:
            kept = [kept_connection(port) for _ in range(8)]
            shares = list(connected_to(port, up).values())
            for connection in kept:
                connection.close()
            return shares == [4, 4]

        # The second may be ready a moment after the first.
        wait_for(spread, what="four connections each")

    def test_serves_by_several_processes_of_which_one_may_die(self, start: Start) -> None:
        port = free_port()
        up = start("--port", str(port), "--web-only", "--web-processes", "2")
        wait_until(port, "healthz")
        one, other = connected_to(port, up)

        one.kill()
        one.wait(10)

        for _ in range(20):
            wait_until(port, "healthz")
        assert other.is_running()
        assert one not in wait_for(lambda: len(each := connected_to(port, up)) == 2 and each, what="two web servers")
        up.terminate()
        assert outcome(up)[0] == 0

    def test_leaves_no_web_server_of_a_shared_port_when_it_is_killed(self, start: Start) -> None:
        port = free_port()
        up = start("--port", str(port), "--web-only", "--web-processes", "2")
        wait_until(port, "healthz")
        servers = psutil.Process(up.pid).children()

        up.kill()

        assert psutil.wait_procs(servers, timeout=10)[1] == []

    def test_starts_a_child_that_died_again(self, start: Start) -> None:
        port = free_port()
        up = start("--port", str(port), "--web-only")
        wait_until(port, "healthz")
        (web,) = psutil.Process(up.pid).children()
        web.kill()
        web.wait(10)

        wait_until(port, "healthz")

        up.terminate()
        code, notices = outcome(up)
        assert (code, notices.strip()) == (0, "web ended with code -9; starting it again.")

    def test_says_in_one_sentence_that_the_port_is_taken(self, start: Start) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]

            code, complaint = outcome(start("--port", str(port)))

        assert code == 1
        assert complaint.startswith(f"CommandError: Port {port} on 127.0.0.1 cannot be used: Address already in use.")
        assert len(complaint.splitlines()) == 1

    @pytest.mark.parametrize("url", ["postgres://nobody:secret@127.0.0.1:1/nothing", "sqlite:////proc/nowhere.sqlite3"])
    def test_says_in_one_sentence_that_the_database_does_not_answer(self, start: Start, url: str) -> None:
        code, complaint = outcome(start("--port", str(free_port()), DATABASE_URL=url))

        assert code == 1
        assert complaint.startswith("CommandError: The database of DATABASE_URL cannot be used: ")
        assert len(complaint.splitlines()) == 1
        assert "secret" not in complaint

    def test_says_in_one_sentence_that_the_stored_secrets_need_another_key(self, start: Start) -> None:
        port = free_port()
        up = start("--port", str(port), "--demo", "--web-only")
        wait_until(port, "healthz")
        up.terminate()
        up.wait(15)

        code, complaint = outcome(start("--port", str(port), ENCRYPTION_KEYS=Fernet.generate_key().decode()))

        assert code == 1
        assert complaint.startswith("CommandError: A stored secret cannot be decrypted")
        assert len(complaint.splitlines()) == 1

    @pytest.mark.parametrize("port", ["0", "65535", "http"])
    def test_refuses_a_port_that_is_none(self, start: Start, port: str) -> None:
        code, complaint = outcome(start("--port", port))

        assert code == 2
        assert f"invalid port_number value: '{port}'" in complaint
