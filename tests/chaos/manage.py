"""`manage.py` with a lease of a few seconds: `python -m tests.chaos.manage SECONDS COMMAND …`.

What a killed worker held comes back while a test waits, and the product needs no setting for it.
"""

import os
import sys
from datetime import timedelta

import django
from django.core.management import execute_from_command_line


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    from webhooks import claims

    claims.LEASE = timedelta(seconds=float(sys.argv.pop(1)))
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
