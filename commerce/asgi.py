"""What the web server serves: streams beside Django, everything else by it, in one bounded pool of threads."""

from typing import Any

from a2wsgi import WSGIMiddleware

from commerce.wsgi import application as django

# Only now are there apps, whose models this one imports.
from commerce.streaming import Receive, Scope, Send, Streams  # isort: skip
from webhooks.garbage import collect_seldom  # isort: skip

pages: Any = WSGIMiddleware(django, workers=10)  # type: ignore[arg-type]
streams = Streams(django, pages.executor)

collect_seldom()


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    is_stream = scope["type"] == "http" and scope["method"] == "GET" and scope["path"].endswith("/stream")
    await (streams if is_stream else pages)(scope, receive, send)
