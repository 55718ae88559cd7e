"""The audit of each night: once, in a process of its own, for as long as it takes.

The clock of one cluster claims the night, starts the process and attends it. While it does the claim is renewed, so
that another cluster begins again when it was lost, and only then.
"""

import logging
import subprocess
import sys
import time
from datetime import date, datetime, timedelta

from django.conf import settings
from django.db import DatabaseError, IntegrityError, close_old_connections, transaction
from django.utils import timezone

from commerce.audit import Report
from commerce.models import AuditRun
from webhooks import notices, timers

logger = logging.getLogger(__name__)

FROM_HOUR = 2
RENEWED_EVERY_S = 20.0
LOOKED_EVERY_S = 0.2
GIVEN_UP_AFTER = timedelta(minutes=10)
COMMAND = [sys.executable, "-m", "django", "audit", "--night"]


def look(*, now: datetime) -> None:
    """Audit this night unless somebody has, or is at it; ends with the audit, or when the cluster stops."""
    if now.hour < FROM_HOUR or not _claim(now):
        return
    day = now.date()
    # A fixed command. What it finds is mailed, and its report is for whoever runs it by hand.
    command = [*COMMAND, day.isoformat()]
    with subprocess.Popen(command, cwd=settings.BASE_DIR, stdout=subprocess.DEVNULL) as process:  # noqa: S603
        _attend(process, day)
    if timers.stopping.is_set():
        # Ended with its cluster: another begins again.
        return
    if AuditRun.objects.filter(day=day, finished_at=None).exists():
        logger.error("The audit of %s has not come to its end (code %d): it begins again.", day, process.returncode)


def _claim(now: datetime) -> bool:
    """Whether this night's audit is ours to run: nobody has begun it, or who did was lost."""
    try:
        with transaction.atomic():
            AuditRun.objects.create(day=now.date(), started_at=now, renewed_at=now)
    except IntegrityError:
        lost = AuditRun.objects.filter(day=now.date(), finished_at=None, renewed_at__lt=now - GIVEN_UP_AFTER)
        return bool(lost.update(renewed_at=now))
    return True


def _attend(process: "subprocess.Popen[bytes]", day: date) -> None:
    renew_at = time.monotonic()
    while process.poll() is None:
        if time.monotonic() >= renew_at:
            renew_at = time.monotonic() + RENEWED_EVERY_S
            _renew(day)
        if timers.stopping.wait(LOOKED_EVERY_S):
            process.terminate()
            return


def _renew(day: date) -> None:
    try:
        close_old_connections()
        AuditRun.objects.filter(day=day).update(renewed_at=timezone.now())
    except DatabaseError as error:
        logger.warning("The claim of the audit of %s could not be renewed: %s", day, error)


@transaction.atomic
def conclude(report: Report, *, day: date, now: datetime) -> None:
    """Write down that it has ended, and what is to be mailed of it; nothing if another was quicker."""
    running = AuditRun.objects.filter(day=day, finished_at=None)
    if running.update(finished_at=now, finding_count=len(report.findings)) and report.findings:
        findings = "\n".join(f"- {finding}" for finding in report.findings)
        notices.mail(
            f"The audit of {day} has found differences",
            f"Looked through: {report}.\n\n{findings}\n\nRun `manage.py audit` to see whether they are still there.\n"
            f"{settings.BASE_URL}/admin/\n",
            to=notices.to_be_told(),
            now=now,
        )
