"""Streams are served here, beside Django and not by it: it would hold a thread and a connection for each.

Django only opens one: its view, run in the pool like any other, sees to tokens, sessions, throttles and refusals, and
answers with what is to be told. From then on a stream is a task that waits.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from io import BytesIO
from typing import Any

from django.db import Error
from django.http import HttpResponse

from commerce import problems
from commerce.serving import Pages, Receive, Scope, Send, start
from webhooks import streams
from webhooks.hub import Watch, hub
from webhooks.streams import Opened

MAX_STREAMS = 2_000
# Many people of one office, or behind one carrier's gateway, share an address.
MAX_PER_ADDRESS = 100
COME_BACK_AFTER_S = 10
HEARTBEAT_S = 15.0
# What a reader may take over a piece before its stream ends: it comes back for the rest.
PATIENCE_S = 30.0
TRY_AGAIN_S = 1.0


class Streams:
    """The ASGI application of the addresses that end in /stream."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._open: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        address = scope["client"][0] if scope["client"] else ""
        if self._is_full(address):
            await _answer(_too_many(), send)
            return
        with self._counting(address):
            response = await self._pages.answer(scope, BytesIO())
            if isinstance(response, Opened):
                await _stream(response, receive, send)
            else:
                await _answer(response, send)

    def _is_full(self, address: str) -> bool:
        return self._open.total() >= MAX_STREAMS or self._open[address] >= MAX_PER_ADDRESS

    @contextmanager
    def _counting(self, address: str) -> Iterator[None]:
        self._open[address] += 1
        try:
            yield
        finally:
            self._open[address] -= 1
            if not self._open[address]:
                del self._open[address]


def _too_many() -> HttpResponse:
    response = problems.respond(
        HTTPStatus.SERVICE_UNAVAILABLE, "too_many_streams", "Too many streams are open. Try again in a moment."
    )
    response.headers["Retry-After"] = str(COME_BACK_AFTER_S)
    return response


async def _stream(opened: Opened, receive: Receive, send: Send) -> None:
    """Until the reader has gone, reads too slowly, or the server stops."""

    async def say(words: bytes) -> None:
        async with asyncio.timeout(PATIENCE_S):
            await send({"type": "http.response.body", "body": words, "more_body": True})

    await start(opened, send)
    with hub.watching(opened.source.subject) as watch:
        gone = asyncio.create_task(_until_gone(receive))
        gone.add_done_callback(lambda _: watch.close())
        try:
            with suppress(TimeoutError):
                await _tell(opened, watch, say)
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            gone.cancel()


async def _tell(opened: Opened, watch: Watch, say: Callable[[bytes], Awaitable[None]]) -> None:
    source, position = opened.source, opened.position
    await say(streams.opening(position))
    while not watch.is_closed:
        try:
            page = await hub.read(source, position)
        except Error:
            # The database is away. Nothing is lost: it is read from here on when it is back.
            await watch.wait(TRY_AGAIN_S)
            continue
        position = page.position
        if page.frames:
            await say(page.frames)
        if not page.is_full and not await watch.wait(HEARTBEAT_S):
            await say(streams.heartbeat(position))


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _answer(response: Any, send: Send) -> None:
    """What a view answers that opens no stream: a refusal, or the way to the login."""
    await start(response, send)
    await send({"type": "http.response.body", "body": response.content, "more_body": False})
