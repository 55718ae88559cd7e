"""How answers are read that have come at once, and that all others go to the libraries."""

import io
from http.client import HTTPException

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from webhooks import answers
from webhooks.answers import Answer

pytestmark = pytest.mark.once

OK = b"HTTP/1.1 200 OK\r\n"
TWO = b"content-length: 2\r\n"
LIMIT = 16_384


def stream(received: bytes) -> io.BufferedReader:
    return io.BufferedReader(io.BytesIO(received))


def what_is_said(answer: Answer) -> tuple[int, list[tuple[str, str]], bytes]:
    headers = [(name, value.rstrip(" \t")) for name, value in answer.headers]
    return answer.status, headers, answer.body.read(LIMIT)


# Of remarks: what else a name of a few such letters says, is said in the tables below.
names = st.text("abcdefghijklmnopqrstuvwxyzABCXYZ0123456789-_.", min_size=1, max_size=9).map("x-".__add__)
values = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=20)
remarks = st.lists(st.tuples(names, values), max_size=5)
reasons = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=10)


class TestPlain:
    @given(status=st.integers(200, 599), reason=reasons, headers=remarks, body=st.binary(max_size=50))
    @example(status=204, reason="No Content", headers=[], body=b"")
    @example(status=304, reason="Not Modified", headers=[], body=b"")
    @example(status=200, reason="OK", headers=[("Retry-After", " 5 "), ("retry-after", "7")], body=b"ok")
    @example(status=200, reason="OK", headers=[("Connection", "Keep-Alive"), ("Keep-Alive", "timeout=5")], body=b"ok")
    def test_says_what_the_libraries_read_of_it(
        self, status: int, reason: str, headers: list[tuple[str, str]], body: bytes
    ) -> None:
        body = b"" if status in (204, 304) else body
        lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in headers)]
        lines += [f"Content-Length: {len(body)}"] if body or status != 204 else []
        received = "\r\n".join([*lines, "", ""]).encode("latin-1") + body

        quick, theirs = answers._plain(received), answers._any(stream(received))

        assert quick is not None
        assert what_is_said(quick) == what_is_said(theirs)
        assert theirs.body.is_read()

    @pytest.mark.parametrize(
        "received",
        [
            OK + TWO + b"\r\nok",
            b"HTTP/1.1 200 \r\n" + TWO + b"\r\nok",
            b"HTTP/1.1 200\r\n" + TWO + b"\r\nok",
            b"HTTP/1.1 503 Busy\r\nretry-after: 30\r\ncontent-length: 0\r\n\r\n",
            b"HTTP/1.1 204 No Content\r\nDate: Sun, 29 Nov 2026 06:00:00 GMT\r\n\r\n",
            OK + b"Connection: keep-alive\r\nServer:nginx\r\n" + TWO + b"\r\nok",
            OK + b"x-tab:\tone\ttwo \r\nx-empty:\r\n" + TWO + b"\r\n\xff\x00",
        ],
    )
    def test_is_what_most_receivers_say(self, received: bytes) -> None:
        assert answers._plain(received) is not None

    @pytest.mark.parametrize(
        "received",
        [
            b"",
            OK,
            OK + TWO,
            OK + TWO + b"\r\no",
            OK + TWO + b"\r\nokHTTP/1.1 500 Not yours\r\n\r\n",
            OK + b"\r\n",
            OK + b"\r\nuntil it ends",
            OK + TWO + TWO + b"\r\nok",
            OK + TWO + b"content-length: 3\r\n\r\nok",
            OK + b"content-length: +2\r\n\r\nok",
            OK + b"content-length: 02\r\n\r\nok",
            OK + TWO + b"transfer-encoding: chunked\r\n\r\nok",
            OK + TWO + b"Transfer-Encoding : chunked\r\n\r\nok",
            OK + TWO + b"content-encoding: gzip\r\n\r\nok",
            OK + TWO + b"connection: close\r\n\r\nok",
            OK + TWO + b"connection: keep-alive, upgrade\r\n\r\nok",
            OK + TWO + b"x: folded\r\n into two\r\n\r\nok",
            OK + TWO + b"no colon\r\n\r\nok",
            OK + TWO + b": no name\r\n\r\nok",
            OK + TWO + b"x: bare\nfeed: 1\r\n\r\nok",
            OK + TWO + b"x: bare\rreturn\r\n\r\nok",
            OK + TWO + b"x: nul\x00\r\n\r\nok",
            OK + TWO + b"x: 1\r\n" * 100 + b"\r\nok",
            b"HTTP/1.0 200 OK\r\n" + TWO + b"\r\nok",
            b"HTTP/1.1 103 Early Hints\r\n\r\n",
            b"HTTP/1.1 100 Continue\r\ncontent-length: 0\r\n\r\n",
            b"HTTP/1.1 204 No Content\r\n\r\nok",
            b"HTTP/1.1 2000 OK\r\n" + TWO + b"\r\nok",
            b"HTTP/1.1 20\r\n" + TWO + b"\r\nok",
            b"HTTP/1.1 204 No Content\r\n" + TWO + b"\r\nok",
            b"HTTP/1.1 304 Not Modified\r\n" + TWO + b"\r\nok",
            b"HTTP/1.1 600 Odd\r\n" + TWO + b"\r\nok",
            b"220 mail.example ESMTP ready\r\n\r\n",
        ],
    )
    def test_is_nothing_else(self, received: bytes) -> None:
        assert answers._plain(received) is None


class TestRead:
    @pytest.mark.parametrize(
        ("received", "body"),
        [
            (OK + b"transfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", b"ok"),
            (b"HTTP/1.1 100 Continue\r\n\r\n" + OK + TWO + b"\r\nok", b"ok"),
            (OK + TWO + b"\r\nok", b"ok"),
            (b"HTTP/1.1 204 No Content\r\n" + TWO + b"\r\n", b""),
            (b"HTTP/1.1 304 Not Modified\r\n" + TWO + b"\r\n", b""),
        ],
    )
    def test_to_its_end_the_connection_is_free(self, received: bytes, body: bytes) -> None:
        answer = answers.read(stream(received))

        assert answer.body.read(LIMIT) == body
        assert answer.body.is_read()

    @pytest.mark.parametrize(
        "received",
        [
            OK + TWO + b"connection: close\r\n\r\nok",
            OK + b"\r\nok",
            b"HTTP/1.0 200 OK\r\n" + TWO + b"\r\nok",
        ],
    )
    def test_as_the_last_the_connection_ends(self, received: bytes) -> None:
        answer = answers.read(stream(received))

        assert answer.body.read(LIMIT) == b"ok"
        assert not answer.body.is_read()

    def test_in_part_it_is_not_over(self) -> None:
        answer = answers.read(stream(OK + b"content-length: 100000\r\n\r\n" + b"x" * 100_000))

        assert len(answer.body.read(10)) == 10
        assert not answer.body.is_read()

    @pytest.mark.parametrize("received", [b"", b"HTTP/1.1 two hundred\r\n\r\n", OK + b"x: 1\r\n" * 101 + b"\r\n"])
    def test_raises_for_what_is_none(self, received: bytes) -> None:
        with pytest.raises(HTTPException):
            answers.read(stream(received))
