import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from commerce.processes import free_port
from commerce.sharing import Port
from tests.chaos.processes import wait_until

pytestmark = pytest.mark.once

Server = socket.socket


@pytest.fixture
def address() -> tuple[str, int]:
    return "127.0.0.1", free_port()


@pytest.fixture
def port(address: tuple[str, int]) -> Iterator[Port]:
    port = Port(*address)
    yield port
    port.close()


@pytest.fixture
def kept() -> Iterator[ExitStack]:
    """Closes what the test has opened."""
    with ExitStack() as kept:
        yield kept


def join(port: Port, kept: ExitStack) -> Server:
    """A server that is ready, and known to be."""
    known = set(port._open)
    server = kept.enter_context(port.share())
    server.settimeout(5)
    server.send(b"r")
    wait_until(lambda: port._open.keys() - known, what="word of it at the port", timeout_s=5)
    return server


def connect(address: tuple[str, int], kept: ExitStack, say: bytes = b"?") -> None:
    client = kept.enter_context(socket.create_connection(address, timeout=5))
    client.sendall(say)


def take(server: Server, kept: ExitStack) -> bytes:
    """What the next connection that this server is handed says first."""
    _, (descriptor,), *_ = socket.recv_fds(server, 1, 1)
    return kept.enter_context(socket.socket(fileno=descriptor)).recv(1)


def has_none(server: Server) -> bool:
    server.settimeout(0.1)
    try:
        return not server.recv(1)
    except TimeoutError:
        return True
    finally:
        server.settimeout(5)


class TestPort:
    def test_gives_each_server_as_many(self, port: Port, address: tuple[str, int], kept: ExitStack) -> None:
        one, other = join(port, kept), join(port, kept)

        for _ in range(8):
            connect(address, kept)

        for server in (one, other):
            assert [take(server, kept) for _ in range(4)] == [b"?"] * 4
            assert has_none(server)

    def test_gives_the_next_to_the_one_of_which_some_have_ended(
        self, port: Port, address: tuple[str, int], kept: ExitStack
    ) -> None:
        one, other = join(port, kept), join(port, kept)
        for _ in range(4):
            connect(address, kept)
        assert [take(server, kept) for server in (one, one, other, other)] == [b"?"] * 4

        other.send(b"ee")
        for say in b"ab":
            connect(address, kept, bytes([say]))

        assert [take(other, kept), take(other, kept)] == [b"a", b"b"]
        assert has_none(one)

    def test_leaves_all_to_those_that_are_left(self, port: Port, address: tuple[str, int], kept: ExitStack) -> None:
        one, other = join(port, kept), join(port, kept)
        connect(address, kept)
        assert take(one, kept) == b"?"

        one.close()
        for _ in range(4):
            connect(address, kept)

        assert [take(other, kept) for _ in range(4)] == [b"?"] * 4

    def test_keeps_whoever_comes_while_there_is_none_for_the_next(
        self, port: Port, address: tuple[str, int], kept: ExitStack
    ) -> None:
        first = join(port, kept)
        connect(address, kept)
        assert take(first, kept) == b"?"
        first.close()

        connect(address, kept, b"!")
        second = join(port, kept)

        assert take(second, kept) == b"!"

    def test_passes_over_one_that_takes_none(self, port: Port, address: tuple[str, int], kept: ExitStack) -> None:
        stuck = join(port, kept)
        connect(address, kept)
        assert take(stuck, kept) == b"?"
        (channel,) = port._open
        with suppress(BlockingIOError):
            while True:
                channel.send(bytes(65_536))
        other = join(port, kept)
        # As idle to the eye as the other.
        stuck.send(b"e")

        for _ in range(3):
            connect(address, kept)

        assert [take(other, kept) for _ in range(3)] == [b"?"] * 3

    def test_keeps_whoever_comes_before_the_first_is_ready(
        self, port: Port, address: tuple[str, int], kept: ExitStack
    ) -> None:
        connect(address, kept, b"!")

        assert take(join(port, kept), kept) == b"!"

    def test_that_is_taken_is_an_error(self, port: Port, address: tuple[str, int]) -> None:
        with pytest.raises(OSError, match="in use"):
            Port(*address)
