"""Streams as they are served: over a real web server, of what happens in another process."""

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection, HTTPResponse
from typing import Any
from urllib.request import urlopen

import psutil
import pytest
from django.db import connection
from django.test import Client

from commerce import tokens
from commerce.processes import free_port, is_listening
from orders import checkout
from orders.models import Order
from tests.chaos.processes import Running, wait_until
from tests.factories import NOW, place_order
from tests.webhooks.factories import happen

TIMEOUT_S = 20.0


class Web(Running):
    """The web server, with beats every fifth of a second and few streams at once."""

    SERVE = """
import sys
import django
django.setup()
from commerce import streaming, web
streaming.HEARTBEAT_S = 0.2
streaming.MAX_PER_ADDRESS = 3
vars(streaming).update({options})
sys.argv = ["web", "--port", "{port}"]
web.main()
"""

    def __init__(self, **options: float) -> None:
        self.port = free_port()
        super().__init__("-c", self.SERVE.format(port=self.port, options=options))

    def start(self) -> None:
        super().start()
        wait_until(lambda: is_listening(self.port), what="web server", timeout_s=60)

    def threads(self) -> int:
        return int(psutil.Process(self.process.pid).num_threads())

    def connections(self) -> int:
        """To the database, those of the test included."""
        if connection.vendor == "sqlite":
            files = psutil.Process(self.process.pid).open_files()
            return sum(file.path == str(connection.settings_dict["NAME"]) for file in files)
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
            return int(cursor.fetchone()[0])


@contextmanager
def serving(**options: float) -> Iterator[Web]:
    web = Web(**options)
    try:
        yield web
    finally:
        web.kill()


@pytest.fixture
def web(db: None) -> Iterator[Web]:
    with serving() as web:
        yield web


class Stream:
    """A reader of one, as a browser is."""

    def __init__(self, web: Web, path: str, *, last: str = "", token: str = "") -> None:
        self._connection = HTTPConnection("127.0.0.1", web.port, timeout=TIMEOUT_S)
        headers = {"Accept": "text/event-stream"}
        headers |= {"Last-Event-ID": last} if last else {}
        headers |= {"Authorization": f"Bearer {token}"} if token else {}
        self._connection.request("GET", f"/api/v1/{path}", headers=headers)
        self.answer: HTTPResponse = self._connection.getresponse()
        self.last = last

    def block(self) -> str:
        """The next lines, up to an empty one; empty at the end."""
        lines = []
        while line := self.answer.readline().decode().rstrip("\n"):
            lines.append(line)
        return "\n".join(lines)

    def next(self) -> Any:
        """The data of the next message."""
        while block := self.block():
            fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
            self.last = fields.get("id", self.last)
            if "data" in fields:
                return json.loads(fields["data"])
        raise EOFError("The stream has ended.")

    def problem(self) -> Any:
        return json.loads(self.answer.read())

    def close(self) -> None:
        self._connection.close()


@contextmanager
def reading(web: Web, path: str, **options: str) -> Iterator[Stream]:
    stream = Stream(web, path, **options)
    try:
        yield stream
    finally:
        stream.close()


def path_of(order: Order) -> str:
    return f"track/{order.tracking_token}/stream"


def confirm(order: Order) -> None:
    checkout.confirm(order.public_id, actor="ann", now=NOW)


@pytest.mark.processes
@pytest.mark.django_db(transaction=True)
class TestStreams:
    def test_of_an_order_tell_it_whole_and_then_what_another_process_does(self, web: Web) -> None:
        order = place_order(method="cod")

        with reading(web, path_of(order)) as stream:
            assert stream.answer.status == 200
            assert stream.answer.headers["Content-Type"] == "text/event-stream"
            assert stream.answer.headers["Access-Control-Allow-Origin"] == "*"
            assert stream.block().splitlines()[0] == "retry: 3000"
            assert (stream.next()["status"], stream.last) == ("pending", "1")
            confirm(order)
            assert (stream.next()["status"], stream.last) == ("confirmed", "2")
            assert Client().get(f"/api/v1/track/{order.tracking_token}/").json()["status"] == "confirmed"

    def test_beat_while_nothing_happens_and_say_up_to_where(self, web: Web) -> None:
        order = place_order(method="cod")

        with reading(web, path_of(order)) as stream:
            stream.next()
            assert stream.block() == ": still here\nid: 1"
            assert stream.block() == ": still here\nid: 1"

    def test_go_on_where_they_were_after_the_server_was_killed(self, web: Web) -> None:
        order = place_order(method="cod")
        with reading(web, path_of(order)) as stream:
            stream.next()

            web.kill()
            confirm(order)
            web.start()

        with reading(web, path_of(order), last=stream.last) as again:
            assert again.next()["status"] == "confirmed"
        with reading(web, path_of(order), last=again.last) as quiet:
            assert quiet.block() == "retry: 3000\n: still here\nid: 2"
            assert quiet.block() == ": still here\nid: 2"

    def test_of_the_feed_tell_every_event_once_across_a_kill(self, web: Web) -> None:
        token = tokens.issue("BI", scopes=["events"])
        first = happen("sub_1")
        with reading(web, f"events/stream?after={first.public_id}&type=webhook.*", token=token) as stream:
            second = happen("sub_2")
            assert stream.next() == json.loads(second.body)
            assert stream.last == second.public_id
            web.kill()
        third, fourth = happen("sub_3"), happen("sub_1")
        web.start()

        with reading(web, "events/stream?type=webhook.*", last=stream.last, token=token) as again:
            assert [again.next()["id"], again.next()["id"]] == [third.public_id, fourth.public_id]

    def test_end_when_the_server_stops(self, web: Web) -> None:
        order = place_order(method="cod")
        with reading(web, path_of(order)) as stream:
            stream.next()

            web.stop()

            with pytest.raises(EOFError):
                stream.next()

    @pytest.mark.parametrize("limits", [{"MAX_PER_ADDRESS": 3}, {"MAX_PER_ADDRESS": 100, "MAX_STREAMS": 3}])
    def test_beyond_as_many_as_there_may_be_are_told_when_to_come_back_and_can_be_polled(
        self, limits: dict[str, float]
    ) -> None:
        order = place_order(method="cod")
        path = path_of(order)
        with serving(**limits) as web:
            held = [Stream(web, path) for _ in range(3)]

            with reading(web, path) as refused:
                assert refused.answer.status == 503
                assert refused.answer.headers["Retry-After"] == "10"
                assert refused.answer.headers["Content-Type"] == "application/problem+json"
                assert refused.problem()["code"] == "too_many_streams"
            with urlopen(f"http://127.0.0.1:{web.port}/api/v1/track/{order.tracking_token}/") as polled:
                assert json.load(polled)["status"] == "pending"
            held[0].close()

            wait_until(lambda: _opens(web, path), what="place")
            for stream in held[1:]:
                stream.close()

    def test_end_when_they_are_read_too_slowly_and_no_other_is_harmed(self) -> None:
        path = f"events/stream?after={happen('sub_0').public_id}"
        token = tokens.issue("BI", scopes=["events"])
        with serving(MAX_STREAMS=2, PATIENCE_S=0.5) as web, reading(web, path, token=token) as brisk:
            slow = open_and_do_not_read(web, path, token)

            # More than the kernel keeps on the way to it.
            for n in range(12):
                happen("sub_1", by="x" * 1_000_000)
                assert brisk.next()["sequence"] == n + 1
            wait_until(lambda: _opens(web, path, token), what="place of the slow one")

            happen("sub_2")
            assert brisk.next()["subject"] == "sub_2"
            read = b"".join(iter(lambda: slow.recv(65_536), b""))
            assert 0 < read.count(b"data: ") < 13
            slow.close()

    def test_are_refused_in_problem_documents(self, web: Web) -> None:
        gone = f"events/stream?after=evt_{'0' * 26}"
        wrong, right = tokens.issue("Till", scopes=["inventory"]), tokens.issue("BI", scopes=["events"])

        for path, token, status, code in (
            ("track/nobody-has-this-one/stream", "", 404, "not_found"),
            ("nothing/stream", "", 404, "not_found"),
            ("events/stream", "", 401, "not_authenticated"),
            ("events/stream", wrong, 403, "permission_denied"),
            (gone, right, 410, "cursor_gone"),
        ):
            with reading(web, path, token=token) as stream:
                assert stream.answer.headers["Content-Type"] == "application/problem+json", path
                assert (stream.answer.status, stream.problem()["code"]) == (status, code), path

    def test_take_neither_a_thread_nor_a_connection_each(self) -> None:
        path = path_of(place_order(method="cod"))
        with serving(MAX_PER_ADDRESS=1_000) as web, ExitStack() as opened:
            for _ in range(30):
                opened.enter_context(reading(web, path)).next()
            threads, connections = web.threads(), web.connections()
            for _ in range(120):
                opened.enter_context(reading(web, path)).next()

            assert (web.threads(), web.connections()) == (threads, connections)
            assert max(threads, connections) < 30

    def test_of_readers_that_went_away_are_forgotten(self, web: Web) -> None:
        path = path_of(place_order(method="cod"))

        for _ in range(5):
            with reading(web, path) as stream:
                if stream.answer.status == 200:
                    stream.next()

        wait_until(lambda: _opens(web, path), what="place")


def _opens(web: Web, path: str, token: str = "") -> bool:
    with reading(web, path, token=token) as stream:
        return stream.answer.status == 200


def open_and_do_not_read(web: Web, path: str, token: str) -> socket.socket:
    """As a telephone that has gone into a tunnel."""
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.settimeout(TIMEOUT_S)
    slow.connect(("127.0.0.1", web.port))
    slow.sendall(f"GET /api/v1/{path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
    return slow


@pytest.mark.django_db
class TestOtherServers:
    def test_answer_with_what_is_new_and_end(self) -> None:
        order = place_order(method="cod")
        path = f"/api/v1/{path_of(order)}"

        first: Any = Client().get(path)
        again: Any = Client().get(path, headers={"Last-Event-ID": "1"})

        assert b"".join(first.streaming_content).startswith(b"retry: 3000\n: still here\n\nid: 1\ndata: {")
        assert b"".join(again.streaming_content) == b"retry: 3000\n: still here\nid: 1\n\n"
