"""The whole suite on SQLite and, beside it, on a PostgreSQL of its own: `make test`. Arguments go to pytest."""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from tests.migrated import TEMPLATE
from tests.postgres import running_postgres

# How a page looks, what a browser makes of a form, and what brings a database of its own, do not depend on ours. The
# walks through the whole shop, and the pages that its events move, are for both.
ONCE_IS_ENOUGH = ["-m", "not once"]
# Never do more runs share the processors: the deadlines are made for so many.
AT_ONCE = 2
# Of what runs once, the looks of all pages take longest. A part of them waits for each database to be through: as many
# processors are at work to the end. Each part looks at one shop.
LOOKS = "tests/browser/test_pages.py"
PARTS = {"The looks of pages lived in": "not empty_ones", "The looks of empty ones": "empty_ones"}
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

    def is_at_work(self) -> bool:
        return self._process is not None and self._process.poll() is None

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


def complete(runs: Sequence[Run]) -> None:
    """AT_ONCE of them at a time, in their order. The first is told as it goes, the others when all are through."""
    first, *others = runs
    announce(first.name)
    waiting = deque(runs)
    while not all(run.has_ended() for run in runs):
        if waiting and sum(run.is_at_work() for run in runs) < AT_ONCE:
            waiting.popleft().start()
        time.sleep(0.2)
        first.tell()
    # What it said between the last look and its end.
    first.tell()
    for run in others:
        announce(run.name)
        run.tell()


def main(arguments: list[str]) -> int:
    with ExitStack() as stack:
        template = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "template.sqlite3"
        environment = os.environ | {TEMPLATE: str(template)}
        embedded = {name: value for name, value in environment.items() if name != "DATABASE_URL"}
        url = stack.enter_context(running_postgres(durable=False))
        runs = [
            Run("SQLite", arguments or [f"--ignore={LOOKS}"], embedded),
            Run("PostgreSQL", [*ONCE_IS_ENOUGH, *arguments], environment | {"DATABASE_URL": url}),
        ]
        if not arguments:
            # Whoever names tests wants those alone.
            runs += [Run(name, [LOOKS, "-k", which], embedded) for name, which in PARTS.items()]
        for run in runs:
            stack.enter_context(run)
        complete(runs)
        failed = [run for run in runs if run.code()]
        # Once more: whoever has the end of all this alone, as a log of CI may keep it, is to know what is wrong.
        for run in failed:
            announce(f"Failed: {run.name}")
            run.tell_faults()
    return failed[0].code() if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
