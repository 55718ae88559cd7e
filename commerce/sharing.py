"""One port for several web servers: each connection is handed to the one that has the fewest open.

A port that the servers share by SO_REUSEPORT leaves that to chance. Connections are kept open for long, so that of two
servers one often had nearly all the work while the other's core was idle.
"""

import asyncio
import selectors
import socket
from collections.abc import Callable
from contextlib import suppress
from threading import Thread

BACKLOG = 2048
# What a server says of itself: it can take connections, and one of those it took has ended.
_READY, _ENDED = b"r", b"e"
_HERE_IT_IS = b"c"


class Port:
    """Listens at once, and hands over on a thread of its own. Raises OSError where it cannot listen."""

    def __init__(self, host: str, port: int) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._door = socket.create_server((host, port), family=family, backlog=BACKLOG)
        self._door.setblocking(False)
        # Of the servers that are ready, by the channels to them: how many connections each has.
        self._open: dict[socket.socket, int] = {}
        self._selector = selectors.DefaultSelector()
        self._alarm, self._bell = socket.socketpair()
        self._watch(self._alarm, lambda _: None)
        self._thread = Thread(target=self._run, name="port", daemon=True)
        self._thread.start()

    def share(self) -> socket.socket:
        """The end of a channel that a new server is to be given, for a `Share`."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self._watch(ours, self._hear)
        return theirs

    def close(self) -> None:
        """What the servers have is theirs."""
        self._bell.close()
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.close()
        self._door.close()
        self._selector.close()

    def _run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._alarm:
                    return
                key.data(key.fileobj)

    def _watch(self, sock: socket.socket, heed: Callable[[socket.socket], None]) -> None:
        self._selector.register(sock, selectors.EVENT_READ, heed)

    def _accept(self, door: socket.socket) -> None:
        if not self._open:
            # The last one has gone in the same moment.
            return
        with suppress(OSError):
            connection, _ = door.accept()
            with connection:
                # As asyncio sets it for those it accepts itself.
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._hand_over(connection)

    def _hand_over(self, connection: socket.socket) -> None:
        """To the next one where a server does not take any; to none, and so ended, where no server does."""
        for channel in sorted(self._open, key=self._open.__getitem__):
            with suppress(OSError):
                socket.send_fds(channel, [_HERE_IT_IS], [connection.fileno()])
                self._open[channel] += 1
                return

    def _hear(self, channel: socket.socket) -> None:
        try:
            said = channel.recv(4096)
        except OSError:
            said = b""
        if not said:
            self._forget(channel)
            return
        if said.startswith(_READY):
            self._open[channel] = 0
            if len(self._open) == 1:
                self._watch(self._door, self._accept)
        self._open[channel] -= said.count(_ENDED)

    def _forget(self, channel: socket.socket) -> None:
        """Whoever comes while there is no server waits for the next."""
        self._selector.unregister(channel)
        channel.close()
        if self._open.pop(channel, None) is not None and not self._open:
            self._selector.unregister(self._door)


class Share:
    """A web server's part of the port: takes the connections it is handed, and says which have ended.

    `channel` is what `Port.share` gave; `protocol` makes what serves a connection. `on_end` is called when the port
    has gone, and nothing comes any more.
    """

    def __init__(
        self, channel: socket.socket, protocol: Callable[[], asyncio.Protocol], on_end: Callable[[], None]
    ) -> None:
        self._channel, self._protocol, self._on_end = channel, protocol, on_end
        self._loop = asyncio.get_running_loop()
        self._taken = self._told = 0
        self._beginning: set[asyncio.Task[None]] = set()
        channel.setblocking(False)
        self._loop.add_reader(channel.fileno(), self._take)
        channel.send(_READY)

    def tell(self, still_open: int) -> None:
        """To be called now and then with how many of the connections are open."""
        ended = self._taken - len(self._beginning) - still_open
        # Should the port be away, `_take` hears of it.
        with suppress(OSError):
            self._told += self._channel.send(_ENDED * (ended - self._told))

    def close(self) -> None:
        """Take no more."""
        self._loop.remove_reader(self._channel.fileno())
        self._channel.close()

    def _take(self) -> None:
        try:
            word, descriptors, *_ = socket.recv_fds(self._channel, 1, 1)
        except BlockingIOError:
            return
        except OSError:
            word = b""
        if not word:
            self._loop.remove_reader(self._channel.fileno())
            self._on_end()
            return
        self._taken += 1
        for descriptor in descriptors:
            task = self._loop.create_task(self._begin(socket.socket(fileno=descriptor)))
            self._beginning.add(task)
            task.add_done_callback(self._beginning.discard)

    async def _begin(self, connection: socket.socket) -> None:
        # Whoever made it may have gone already.
        with suppress(OSError):
            await self._loop.connect_accepted_socket(self._protocol, connection)
