"""The whole suite on SQLite and, beside it, on a PostgreSQL of its own: `make test`. Arguments go to pytest."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from tests.postgres import running_postgres

# How a page looks, what a browser makes of a form, and what brings a database of its own, do not depend on ours. The
# walks through the whole shop, and the pages that its events move, are for both.
ONCE_IS_ENOUGH = ["-m", "not once"]


def announce(name: str) -> None:
    print(f"\n━━━ {name} " + "━" * (72 - len(name)), flush=True)


@contextmanager
def running(
    environment: dict[str, str], arguments: list[str], output: IO[bytes] | None
) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "pytest", *arguments]
    process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def main(arguments: list[str]) -> int:
    embedded = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    with running_postgres(durable=False) as url, tempfile.TemporaryFile() as told:
        own_server = {**os.environ, "DATABASE_URL": url}
        with running(own_server, [*ONCE_IS_ENOUGH, *arguments], told) as on_postgres:
            announce("SQLite")
            with running(embedded, arguments, None) as on_sqlite:
                on_sqlite.wait()
            on_postgres.wait()
        announce("PostgreSQL")
        told.seek(0)
        shutil.copyfileobj(told, sys.stdout.buffer)
        sys.stdout.flush()
    if on_sqlite.returncode:
        print("The run on SQLite, above, has failed.", file=sys.stderr)
    return on_sqlite.returncode or on_postgres.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
