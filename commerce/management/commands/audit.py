"""`manage.py audit`: proves that every change was told and every counter is right."""

import sys
from datetime import date
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from commerce.audit import audit
from commerce.night import conclude


class Command(BaseCommand):
    help = "Prove that no change went untold and that stock and orders add up. Exits 1 and lists what differs."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--night",
            type=date.fromisoformat,
            metavar="DATE",
            help="Also write it down as the audit of that night, and mail what differs: so the queue cluster calls it.",
        )

    def handle(self, *, night: date | None, **_: Any) -> None:
        report = audit(now=timezone.now())
        for finding in report.findings:
            self.stdout.write(finding)
        self.stdout.write(f"{'Differences among' if report.findings else 'All is well:'} {report}.")
        if night:
            conclude(report, day=night, now=timezone.now())
        if report.findings:
            sys.exit(1)
