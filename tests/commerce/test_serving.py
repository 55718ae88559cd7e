import asyncio
import threading
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import pytest
from django.conf import settings
from django.db import connections
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import path, reverse
from django.views.decorators.csrf import csrf_exempt

from commerce.serving import Pages


@csrf_exempt
def echo(request: HttpRequest) -> HttpResponse:
    answer = HttpResponse(request.body, headers={"X-Thread": threading.current_thread().name})
    answer.set_cookie("seen", "yes")
    answer.set_cookie("again", "no")
    return answer


closed = threading.Event()


class Pieces(StreamingHttpResponse):
    def close(self) -> None:
        super().close()
        closed.set()


def in_pieces(request: HttpRequest) -> HttpResponse:
    def pieces() -> Iterator[bytes]:
        yield b"one,"
        if "break" in request.GET:
            raise RuntimeError("the disk is gone")
        yield b"two"

    return Pieces(pieces())  # type: ignore[return-value]


def where(request: HttpRequest) -> HttpResponse:
    return HttpResponse(reverse("where"))


urlpatterns = [
    path("echo", echo),
    path("api/echo", echo),
    path("pieces", in_pieces),
    path("where", where, name="where"),
]

pytestmark = pytest.mark.urls("tests.commerce.test_serving")


class Call:
    """One request to an application of its own, and what it says and reads."""

    def __init__(self, address: str, *, body: tuple[bytes, ...] = (b"",), leaves: bool = False, **head: Any) -> None:
        self.said: list[dict[str, Any]] = []
        self.read = 0
        self.to_come = list(body)
        self.leaves = leaves
        resource, _, query = address.partition("?")
        headers = {"host": "localhost", **{name.replace("_", "-"): value for name, value in head.items()}}
        self.scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "POST" if any(body) or head else "GET",
            "scheme": "http",
            "path": resource,
            "query_string": query.encode("latin-1"),
            "root_path": "",
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
            "client": ("127.0.0.1", 1),
            "server": ("localhost", 80),
        }

    def made(self) -> "Call":
        pages = Pages(threads=1)
        try:
            asyncio.run(pages(self.scope, self._receive, self._send))
        finally:
            pages.pool.threads.submit(connections.close_all)
            pages.pool.close()
        return self

    async def _receive(self) -> dict[str, Any]:
        self.read += 1
        if self.leaves:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": self.to_come.pop(0), "more_body": bool(self.to_come)}

    async def _send(self, message: dict[str, Any]) -> None:
        self.said.append(message)

    @property
    def status(self) -> int:
        return int(self.said[0]["status"])

    @property
    def body(self) -> bytes:
        return b"".join(message["body"] for message in self.said[1:])

    def headers(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.said[0]["headers"] if key == name]


class TestPages:
    def test_answers_what_came_in_pieces_from_a_thread_of_its_own(self) -> None:
        call = Call("/echo", body=(b"a", b"b", b"c")).made()

        assert (call.status, call.body) == (HTTPStatus.OK, b"abc")
        assert call.headers(b"x-thread") != [threading.current_thread().name.encode()]

    def test_sets_every_cookie(self) -> None:
        cookies = Call("/echo").made().headers(b"set-cookie")

        assert [cookie.partition(b";")[0] for cookie in cookies] == [b"seen=yes", b"again=no"]

    def test_sends_what_is_made_as_it_goes_piece_by_piece_and_closes_it(self) -> None:
        closed.clear()

        call = Call("/pieces").made()

        assert [(message["body"], message.get("more_body", False)) for message in call.said[1:]] == [
            (b"one,", True),
            (b"two", True),
            (b"", False),
        ]
        assert closed.is_set()

    def test_never_says_that_an_answer_which_broke_off_is_whole(self) -> None:
        closed.clear()
        call = Call("/pieces?break=1")

        with pytest.raises(RuntimeError, match="the disk is gone"):
            call.made()

        assert call.said[-1] == {"type": "http.response.body", "body": b"one,", "more_body": True}
        assert closed.is_set()

    def test_answers_nobody_who_has_gone(self) -> None:
        assert Call("/echo", leaves=True).made().said == []

    def test_refuses_an_address_that_is_no_text(self) -> None:
        assert Call("/echo?\xff").made().status == HTTPStatus.BAD_REQUEST

    def test_links_stay_below_the_path_it_is_served_at(self) -> None:
        call = Call("/shop/where")
        call.scope["root_path"] = "/shop"

        assert call.made().body == b"/shop/where"

    @pytest.mark.parametrize(
        ("head", "status"),
        [
            ({"content_length": str(settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1)}, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
            ({"transfer_encoding": "chunked"}, HTTPStatus.LENGTH_REQUIRED),
        ],
    )
    def test_reads_no_byte_of_a_call_that_is_refused_by_its_head(self, head: dict[str, Any], status: int) -> None:
        call = Call("/api/echo", **head).made()

        assert (call.status, call.read) == (status, 0)

    def test_reads_a_call_of_the_longest_there_may_be(self) -> None:
        longest = b"x" * settings.DATA_UPLOAD_MAX_MEMORY_SIZE

        assert Call("/api/echo", body=(longest,), content_length=str(len(longest))).made().body == longest
