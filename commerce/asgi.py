"""What the web server serves: streams beside Django, everything else by it, in one bounded pool of threads."""

import gc
from typing import Any

from a2wsgi import WSGIMiddleware

from commerce.wsgi import application as django

# Only now are there apps, whose models this one imports.
from commerce.streaming import Receive, Scope, Send, Streams  # isort: skip

pages: Any = WSGIMiddleware(django, workers=10)  # type: ignore[arg-type]
streams = Streams(django, pages.executor)

# What start-up has made stays, and what a request makes goes by itself: looking through both for cycles as often as
# Python does by default is a seventh of the time that placing an order takes.
gc.collect()
gc.freeze()
gc.set_threshold(50_000, 20, 20)


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    is_stream = scope["type"] == "http" and scope["method"] == "GET" and scope["path"].endswith("/stream")
    await (streams if is_stream else pages)(scope, receive, send)
