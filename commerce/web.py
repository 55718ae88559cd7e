"""The web server, `python -m commerce.web --port 8000`: uvicorn, which ends open streams before it stops."""

import argparse
import resource
import socket

import uvicorn

# A file each: a process is often given no more than 1,024 to begin with.
STREAMS_AND_MORE = 8_192


class Server(uvicorn.Server):
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """A stream would otherwise be waited for as long as any request may take, and be cut off then."""
        from webhooks.hub import hub

        hub.close()
        await super().shutdown(sockets)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
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
    Server(config).run()


def allow_open_files(wanted: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard) if hard > 0 else wanted, hard))


if __name__ == "__main__":
    main()
