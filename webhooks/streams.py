"""What streams tell, as server-sent events, and the answer of a view that opens one.

The server takes a stream over from its view (`commerce.streaming`). Behind a server that does not, the view's answer is
whatever is new, and ends: EventSource asks again after RETRY_MS, so it is slower and loses nothing.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.http import HttpRequest, StreamingHttpResponse
from rest_framework.renderers import JSONRenderer

from webhooks import feed
from webhooks.hub import EVERYTHING, Page, Source
from webhooks.models import EventSequence

CONTENT_TYPE = "text/event-stream"
RETRY_MS = 3000
EVENTS_AT_ONCE = 200


def frame(position: str, data: str) -> bytes:
    return f"id: {position}\ndata: {data}\n\n".encode()


def version(subject: str) -> str:
    """Changes with each event about the subject; a page that shows it tells by this whether it is out of date."""
    if subject == EVERYTHING:
        return feed.newest()
    last = EventSequence.objects.filter(subject=subject).values_list("last", flat=True).first()
    return str(last or 0)


@dataclass(frozen=True)
class Snapshots:
    """The whole of a subject, as `describe` has it, now and whenever something has happened to it."""

    subject: str
    describe: Callable[[str], Any]

    def since(self, position: str) -> Page:
        # Read first, so that what is described is never older than its id says.
        now_at = version(self.subject)
        if now_at == position:
            return Page(position)
        described = json.dumps(self.describe(self.subject), cls=DjangoJSONEncoder, separators=(",", ":"))
        return Page(now_at, frame(now_at, described))


@dataclass(frozen=True)
class Feed:
    """The bodies of events, each with its id, in the order of the pull feed."""

    types: tuple[str, ...] = ()
    about: str = ""
    subject: str = EVERYTHING

    def since(self, position: str) -> Page:
        # Read first: up to here, nothing is left that could be wanted, though nothing of it may have been.
        newest = feed.newest(since=position)
        if newest == position:
            return Page(position)
        events = feed.after(position, types=self.types, subject=self.about, limit=EVENTS_AT_ONCE)
        frames = b"".join(frame(event.public_id, event.body) for event in events)
        return Page(events[-1].public_id if events else newest, frames, is_full=len(events) == EVENTS_AT_ONCE)


def opening(position: str) -> bytes:
    """The first lines: how soon to come back, and from where, should nothing else be heard."""
    return f"retry: {RETRY_MS}\n".encode() + heartbeat(position)


def heartbeat(position: str) -> bytes:
    """Keeps proxies from closing a quiet stream. It tells nothing, but up to where that is so."""
    return b": still here\n" + (f"id: {position}\n\n" if position else "\n").encode()


class Opened(StreamingHttpResponse):
    """A stream of what `source` tells after `position`."""

    def __init__(self, source: Source, position: str) -> None:
        self.source, self.position = source, position
        super().__init__(self._only_what_is_new(), content_type=CONTENT_TYPE)
        self.headers["Cache-Control"] = "no-cache, no-transform"
        self.headers["X-Accel-Buffering"] = "no"

    def _only_what_is_new(self) -> Iterator[bytes]:
        yield opening(self.position)
        yield self.source.since(self.position).frames


def resumed_at(request: HttpRequest) -> str:
    """The `Last-Event-ID` with which a browser comes back; empty for a new stream."""
    return request.headers.get("Last-Event-ID", "")[:40]


class EventStreamRenderer(JSONRenderer):
    """Lets a view be asked for an event stream; its refusals are problem documents all the same."""

    media_type = CONTENT_TYPE
    format = "event-stream"
