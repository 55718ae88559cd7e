"""The whole suite on SQLite and, beside it, on a PostgreSQL of its own: `make test`. Arguments go to pytest."""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Self

from tests.postgres import running_postgres

# How a page looks, what a browser makes of a form, and what brings a database of its own, do not depend on ours. The
# walks through the whole shop, and the pages that its events move, are for both.
ONCE_IS_ENOUGH = ["-m", "not once"]
# Of what runs once, the looks of all pages take longest. They wait for whichever database is through first: as many
# processors are at work to the end, and never do more than two runs share them, for which the deadlines are made.
LOOKS = "tests/browser/test_pages.py"
_FAULTS = re.compile(rb"^=+ (?:FAILURES|ERRORS) =+$", re.MULTILINE)


class Run:
    """Of pytest, in a process of its own. What it says is kept, and told as far as it has come whenever it is asked."""

    def __init__(self, name: str, arguments: Iterable[str], environment: Mapping[str, str]) -> None:
        self.name = name
        self._command = [sys.executable, "-m", "pytest", *arguments]
        self._environment = environment
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 (`__exit__` closes it)
        self._told = 0
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            self._command, env=self._environment, stdout=self._said, stderr=subprocess.STDOUT
        )

    def has_ended(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    def code(self) -> int:
        """How it ended; waits for that."""
        assert self._process is not None
        return self._process.wait()

    def tell(self) -> None:
        """What it has said since it was last asked."""
        _print(new := self._read()[self._told :])
        self._told += len(new)

    def tell_faults(self) -> None:
        """What of it tells why it failed, and no more: pytest's own account, behind its lines of dots."""
        said = self._read()
        found = _FAULTS.search(said)
        _print(said[found.start() :] if found else said)

    def _read(self) -> bytes:
        # The process writes by the same file: where it is, is where it goes on.
        return os.pread(self._said.fileno(), os.fstat(self._said.fileno()).st_size, 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
        self._said.close()


def announce(name: str) -> None:
    print(f"\n━━━ {name} " + "━" * (72 - len(name)), flush=True)


def _print(said: bytes) -> None:
    sys.stdout.buffer.write(said)
    sys.stdout.flush()


def complete(on_sqlite: Run, on_postgres: Run, looks: Run | None) -> list[Run]:
    """Run them two at a time. The first is told as it goes, the others when all are through."""
    announce(on_sqlite.name)
    on_postgres.start()
    on_sqlite.start()
    if looks:
        _follow(on_sqlite, until=lambda: on_sqlite.has_ended() or on_postgres.has_ended())
        looks.start()
    _follow(on_sqlite, until=on_sqlite.has_ended)
    others = [on_postgres, *([looks] if looks else [])]
    for run in others:
        run.code()
        announce(run.name)
        run.tell()
    return [on_sqlite, *others]


def _follow(run: Run, *, until: Callable[[], bool]) -> None:
    while not until():
        time.sleep(0.2)
        run.tell()
    run.tell()


def main(arguments: list[str]) -> int:
    embedded = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    with (
        running_postgres(durable=False) as url,
        # Whoever names tests wants those alone.
        Run("SQLite", arguments or [f"--ignore={LOOKS}"], embedded) as on_sqlite,
        Run("PostgreSQL", [*ONCE_IS_ENOUGH, *arguments], {**os.environ, "DATABASE_URL": url}) as on_postgres,
        Run("The looks of all pages", [LOOKS], embedded) as looks,
    ):
        runs = complete(on_sqlite, on_postgres, None if arguments else looks)
        failed = [run for run in runs if run.code()]
        # Once more: whoever has the end of all this alone, as a log of CI may keep it, is to know what is wrong.
        for run in failed:
            announce(f"Failed: {run.name}")
            run.tell_faults()
    return failed[0].code() if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
