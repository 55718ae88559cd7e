"""The whole suite on SQLite and on a PostgreSQL of its own: `make test`. Arguments go to pytest."""

import os
import subprocess
import sys

from tests.postgres import running_postgres

# How a page looks does not depend on the database: once is enough, and axe takes its time.
ONCE = "--ignore=tests/browser/test_pages.py"


def run(name: str, environment: dict[str, str], arguments: list[str]) -> int:
    print(f"\n━━━ {name} " + "━" * (72 - len(name)), flush=True)
    return subprocess.run([sys.executable, "-m", "pytest", *arguments], env=environment, check=False).returncode


def main(arguments: list[str]) -> int:
    embedded = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    on_sqlite = run("SQLite", embedded, arguments)
    with running_postgres() as url:
        on_postgres = run("PostgreSQL", {**os.environ, "DATABASE_URL": url}, [ONCE, *arguments])
    if on_sqlite:
        print("The run on SQLite, above, has failed.", file=sys.stderr)
    return on_sqlite or on_postgres


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
