"""What the web server serves: streams beside Django, everything else by it, in one bounded pool of threads."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "commerce.settings")
django.setup(set_prefix=False)

# Only now are there apps, whose models these import.
from commerce.serving import Pages, Receive, Scope, Send  # noqa: E402
from commerce.streaming import Streams  # noqa: E402
from webhooks.garbage import collect_seldom  # noqa: E402

pages = Pages(threads=10)
streams = Streams(pages)

collect_seldom()


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    is_stream = scope["type"] == "http" and scope["method"] == "GET" and scope["path"].endswith("/stream")
    await (streams if is_stream else pages)(scope, receive, send)
