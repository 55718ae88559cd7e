"""A SQLite database of its own for a product that a test starts, migrated: a copy, where to migrate takes 5 s."""

import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from django.conf import settings

# Names, to runs that share one, the file that the copies are made of. Whoever needs it first makes it.
TEMPLATE = "MIGRATED_TEMPLATE"


def migrated_sqlite(path: Path) -> str:
    """The URL of the one at `path`, made unless it is there."""
    if not path.exists():
        path.write_bytes(_template())
    return f"sqlite:///{path}"


@cache
def _template() -> bytes:
    shared = Path(name) if (name := os.environ.get(TEMPLATE)) else None
    if shared and shared.exists():
        return shared.read_bytes()
    with tempfile.TemporaryDirectory(dir=shared and shared.parent) as folder:
        made = Path(folder) / "template.sqlite3"
        _migrate(made)
        content = made.read_bytes()
        if shared:
            # At once: another run that looks for it finds all of it or nothing.
            made.replace(shared)
    return content


def _migrate(path: Path) -> None:
    environment = {"DJANGO_SETTINGS_MODULE": "commerce.settings", "DATABASE_URL": f"sqlite:///{path}"}
    command = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
    subprocess.run(command, cwd=settings.BASE_DIR, env={**os.environ, **environment}, check=True)
