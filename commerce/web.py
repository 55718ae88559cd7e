"""The web server, `python -m commerce.web --port 8000`: uvicorn, which ends open streams before it stops."""

import argparse
import asyncio
import resource
import socket

import uvicorn

from commerce.sharing import Share

# A file each: a process is often given no more than 1,024 to begin with.
STREAMS_AND_MORE = 8_192


class Server(uvicorn.Server):
    """With a `channel`, the connections come from a port that it shares with other servers."""

    def __init__(self, config: uvicorn.Config, channel: socket.socket | None) -> None:
        super().__init__(config)
        self.channel = channel
        self.share: Share | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets if self.channel is None else [])
        if self.channel is not None:
            self.share = Share(self.channel, self.protocol, on_end=self.stop)

    def protocol(self) -> asyncio.Protocol:
        """What serves a connection, as uvicorn makes it for those it accepts itself."""
        made: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return made

    def stop(self) -> None:
        self.should_exit = True

    async def on_tick(self, counter: int) -> bool:
        if self.share is not None:
            self.share.tell(len(self.server_state.connections))
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """A stream would otherwise be waited for as long as any request may take, and be cut off then."""
        from webhooks.hub import hub

        if self.share is not None:
            self.share.close()
        hub.close()
        await super().shutdown(sockets)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--channel", type=int, help="the file descriptor by which connections are handed to it")
    options = parser.parse_args()
    allow_open_files(STREAMS_AND_MORE)
    config = uvicorn.Config(
        "commerce.asgi:application",
        host=options.host,
        port=options.port,
        lifespan="off",
        timeout_graceful_shutdown=5,
        log_level="warning",
        server_header=False,
    )
    Server(config, None if options.channel is None else socket.socket(fileno=options.channel)).run()


def allow_open_files(wanted: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard) if hard > 0 else wanted, hard))


if __name__ == "__main__":
    main()
