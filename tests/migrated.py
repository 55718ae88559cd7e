"""A SQLite database of its own for a product that a test starts, migrated: a copy, where to migrate takes 5 s."""

import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from django.conf import settings


def migrated_sqlite(path: Path) -> str:
    """The URL of the one at `path`, made unless it is there."""
    if not path.exists():
        path.write_bytes(_template())
    return f"sqlite:///{path}"


@cache
def _template() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "template.sqlite3"
        environment = {"DJANGO_SETTINGS_MODULE": "commerce.settings", "DATABASE_URL": f"sqlite:///{path}"}
        command = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
        subprocess.run(command, cwd=settings.BASE_DIR, env={**os.environ, **environment}, check=True)
        return path.read_bytes()
