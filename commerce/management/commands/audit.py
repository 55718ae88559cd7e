"""`manage.py audit`: proves that every change was told and every counter is right."""

import sys
from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from commerce.audit import audit


class Command(BaseCommand):
    help = "Prove that no change went untold and that stock and orders add up. Exits 1 and lists what differs."

    def handle(self, **_: Any) -> None:
        report = audit(now=timezone.now())
        for finding in report.findings:
            self.stdout.write(finding)
        self.stdout.write(f"{'Differences among' if report.findings else 'All is well:'} {report}.")
        if report.findings:
            sys.exit(1)
