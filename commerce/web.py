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
    parser.add_argument("--shared", action="store_true", help="the port is other web servers' too, who take turns")
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
    Server(config).run(sockets=[shared_socket(options.host, options.port)] if options.shared else None)


def shared_socket(host: str, port: int) -> socket.socket:
    """Of several that listen on it, each new connection is given to one by the kernel (SO_REUSEPORT, socket(7))."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=2048, reuse_port=True)


def allow_open_files(wanted: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard) if hard > 0 else wanted, hard))


if __name__ == "__main__":
    main()
