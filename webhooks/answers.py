"""What a receiver says: read by `http.client` and urllib3, unless it is as plain as nearly all answers are."""

import io
import re
from dataclasses import dataclass
from functools import lru_cache
from http.client import NO_CONTENT, NOT_MODIFIED, HTTPResponse
from typing import Protocol

import urllib3

# More is for http.client to refuse.
MOST_HEADERS = 100
_STATUS = re.compile(rb"HTTP/1\.1 ([2-5][0-9][0-9])(?: [^\x00-\x08\x0a-\x1f\x7f]*)?")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")
# Their words change where the body ends, how it is read, or what becomes of the connection.
_FRAMING = {"transfer-encoding", "content-encoding", "connection", "upgrade", "trailer"}
_KEPT = ("connection", "keep-alive")
# These have no body, whatever is said of its length: what follows on the connection is something else.
_BODILESS = {NO_CONTENT, NOT_MODIFIED}


class Body(Protocol):
    def read(self, limit: int) -> bytes:
        """So much of it, decompressed. Raises OSError, or HTTPError of urllib3."""

    def is_read(self) -> bool:
        """Whether what comes next on the connection is the answer to something else."""


@dataclass(slots=True)
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: Body

    def header(self, name: str) -> str | None:
        """The first of that name, which is in lower case."""
        return next((value for key, value in self.headers if key.lower() == name), None)


def read(stream: io.BufferedReader) -> Answer:
    """The next answer of a connection; its body may be still to come. Raises OSError or HTTPException."""
    return _plain(stream.peek()) or _any(stream)


@dataclass(slots=True)
class _Whole:
    content: bytes

    def read(self, limit: int) -> bytes:
        return self.content[:limit]

    def is_read(self) -> bool:
        return True


def _plain(received: bytes) -> Answer | None:
    """One that has all come at once and says of its body no more than how long it is; None for any other.

    The libraries come to the same, and take a quarter of all that a delivery takes.
    """
    head, end, content = received.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    status = _STATUS.fullmatch(first)
    if not end or not status or len(lines) > MOST_HEADERS:
        return None
    headers = [header for line in lines if (header := _header(line))]
    answer = Answer(int(status[1]), headers, _Whole(content))
    return answer if len(headers) == len(lines) and _is_whole(answer, len(content)) else None


@lru_cache(maxsize=256)
def _header(line: bytes) -> tuple[str, str] | None:
    """None for one that only looks like one, and for one that is more than a remark."""
    found = _HEADER.fullmatch(line)
    if not found:
        return None
    name, value = (part.decode("latin-1") for part in found.groups())
    said = (name.lower(), value.strip().lower())
    return (name, value) if said == _KEPT or said[0] not in _FRAMING else None


def _is_whole(answer: Answer, received: int) -> bool:
    if answer.status in _BODILESS:
        return not received
    return [value for name, value in answer.headers if name.lower() == "content-length"] == [str(received)]


def _any(stream: io.BufferedReader) -> Answer:
    response = HTTPResponse(_Begun(stream), method="POST")  # type: ignore[arg-type]
    response.begin()
    return Answer(response.status, response.headers.items(), _Coming(response))


class _Begun:
    """A socket of which something has been read already, for http.client."""

    def __init__(self, stream: io.BufferedReader) -> None:
        self.stream = stream

    def makefile(self, _mode: str) -> io.BufferedReader:
        return self.stream


class _Coming:
    """Framed, or packed, or not all here."""

    def __init__(self, response: HTTPResponse) -> None:
        self.response = response
        headers = urllib3.HTTPHeaderDict(response.headers.items())
        self.unpacked = urllib3.HTTPResponse(
            response, headers, status=response.status, preload_content=False, original_response=response
        )
        self.is_broken = False

    def read(self, limit: int) -> bytes:
        try:
            return self.unpacked.read(limit, decode_content=True)
        except BaseException:
            # urllib3 closes a broken response, which then looks like one that was read to its end.
            self.is_broken = True
            raise

    def is_read(self) -> bool:
        return self.response.isclosed() and not self.response.will_close and not self.is_broken
