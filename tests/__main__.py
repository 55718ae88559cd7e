"""The whole suite on SQLite and, beside it, on a PostgreSQL of its own: `make test`. Arguments go to pytest."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from typing import IO, Self

from tests.postgres import running_postgres

# How a page looks, what a browser makes of a form, and what brings a database of its own, do not depend on ours. The
# walks through the whole shop, and the pages that its events move, are for both.
ONCE_IS_ENOUGH = ["-m", "not once"]
# Of what runs once, the looks of all pages take longest. They wait for whichever database is through first: as many
# processors are at work to the end, and never do more than two runs share them, for which the deadlines are made.
LOOKS = "tests/browser/test_pages.py"


class Run:
    """Of pytest, in a process of its own. What it says is shown as it comes, or kept in `output` until it is asked."""

    def __init__(
        self, name: str, arguments: Iterable[str], environment: Mapping[str, str], output: IO[bytes] | None = None
    ) -> None:
        self.name, self._output = name, output
        self._command = [sys.executable, "-m", "pytest", *arguments]
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            self._command, env=self._environment, stdout=self._output, stderr=self._output and subprocess.STDOUT
        )

    def has_ended(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    def code(self) -> int:
        """How it ended; waits for that."""
        assert self._process is not None
        return self._process.wait()

    def show(self) -> None:
        if self._output is None:
            return
        announce(self.name)
        self._output.seek(0)
        shutil.copyfileobj(self._output, sys.stdout.buffer)
        sys.stdout.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()


def announce(name: str) -> None:
    print(f"\n━━━ {name} " + "━" * (72 - len(name)), flush=True)


def complete(on_sqlite: Run, on_postgres: Run, looks: Run | None) -> list[Run]:
    """Run them two at a time."""
    announce(on_sqlite.name)
    on_postgres.start()
    on_sqlite.start()
    if looks:
        while not (on_sqlite.has_ended() or on_postgres.has_ended()):
            time.sleep(0.2)
        looks.start()
    runs = [on_sqlite, on_postgres, *([looks] if looks else [])]
    for run in runs:
        run.code()
        run.show()
    return runs


def main(arguments: list[str]) -> int:
    embedded = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    with (
        running_postgres(durable=False) as url,
        tempfile.TemporaryFile() as told,
        tempfile.TemporaryFile() as told_of_looks,
        # Whoever names tests wants those alone.
        Run("SQLite", arguments or [f"--ignore={LOOKS}"], embedded) as on_sqlite,
        Run("PostgreSQL", [*ONCE_IS_ENOUGH, *arguments], {**os.environ, "DATABASE_URL": url}, told) as on_postgres,
        Run("The looks of all pages", [LOOKS], embedded, told_of_looks) as looks,
    ):
        runs = complete(on_sqlite, on_postgres, None if arguments else looks)
    failed = [run for run in runs if run.code()]
    if failed:
        print(f"Failed, see above: {', '.join(run.name for run in failed)}.", file=sys.stderr)
    return failed[0].code() if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
