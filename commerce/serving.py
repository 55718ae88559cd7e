"""Django as an ASGI application that answers from a bounded pool of threads.

Its own handler would run every view on one thread. A request changes threads twice, whatever it answers with: each
further change waits for the interpreter, behind all the threads that are at work.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from io import BytesIO
from typing import IO, Any

from django.conf import settings
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.core.handlers.base import BaseHandler
from django.core.signals import request_started
from django.http.response import HttpResponseBase
from django.urls import set_script_prefix

from commerce.pool import Pool

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Pages(ASGIHandler):
    """The ASGI application of everything but streams. Its middleware and views are synchronous."""

    def __init__(self, *, threads: int) -> None:
        BaseHandler.__init__(self)
        self.load_middleware(is_async=False)
        self.pool = Pool(most=threads)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await self.read_body(receive) if _is_read(scope) else BytesIO()
        except RequestAborted:
            return
        with body:
            response = await self.answer(scope, body)
            await start(response, send)
            if response.streaming:
                await self._stream(response, send)
            else:
                await send({"type": "http.response.body", "body": response.content})

    async def answer(self, scope: Scope, body: IO[bytes]) -> Any:
        """What Django has to say; closed, unless its content is still to be made."""
        return await self.pool.run(self._ask, scope, body)

    def _ask(self, scope: Scope, body: IO[bytes]) -> Any:
        set_script_prefix(get_script_prefix(scope))
        request_started.send(sender=type(self), scope=scope)
        request, refusal = self.create_request(scope, body)
        response: Any = refusal if request is None else self.get_response(request)
        if not response.streaming:
            response.close()
        return response

    async def _stream(self, response: Any, send: Send) -> None:
        """A file, piece by piece."""
        pieces: Iterator[bytes] = iter(response)
        try:
            while (piece := await self.pool.run(next, pieces, None)) is not None:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            await self.pool.run(response.close)


def _is_read(scope: Scope) -> bool:
    """Not the body of a call that `commerce.intake` refuses for what its head says."""
    if not scope["path"].startswith("/api/"):
        return True
    head = dict(scope["headers"])
    length = head.get(b"content-length", b"0")
    is_small = length.isdigit() and int(length) <= settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    return is_small and b"chunked" not in head.get(b"transfer-encoding", b"")


async def start(response: HttpResponseBase, send: Send) -> None:
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in response.items()]
    headers += [(b"set-cookie", cookie.OutputString().encode("latin-1")) for cookie in response.cookies.values()]
    await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
