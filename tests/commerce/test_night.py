"""The audit of each night, by the process that the clock starts."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import date, datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.core import mail
from django.core.management import call_command
from django.utils import timezone

from commerce import night
from commerce.audit import Report
from commerce.models import AuditRun
from inventory.models import StockLevel
from tests import factories
from tests.chaos.processes import database_url
from webhooks import notices, timers

pytestmark = pytest.mark.django_db

NIGHT = datetime(2026, 11, 24, 2, 5, tzinfo=timezone.get_default_timezone())
DAY = NIGHT.date()
MINUTE = timedelta(minutes=1)


@pytest.fixture(autouse=True)
def _staff(db: None) -> None:
    User.objects.create_superuser("root", "root@example.com")
    User.objects.create_superuser("gone", "gone@example.com", is_active=False)
    User.objects.create_user("ann", "ann@example.com", is_staff=True)


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that were started, each of which has come to its end at once."""
    commands: list[list[str]] = []

    class Ended(subprocess.Popen[bytes]):
        def __init__(self, command: list[str], **_: object) -> None:
            commands.append(command)
            super().__init__([sys.executable, "-c", ""])
            night.conclude(Report({}), day=DAY, now=NIGHT)

    monkeypatch.setattr(subprocess, "Popen", Ended)
    return commands


def start(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the night runs is this Python code."""
    monkeypatch.setattr(night, "COMMAND", [sys.executable, "-c", command])


@pytest.mark.django_db(transaction=True)
class TestLook:
    def test_begins_the_audit_once_a_night_however_many_clusters_there_are(self, begun: list[list[str]]) -> None:
        for minutes in (-10, 0, 5, 60):
            night.look(now=NIGHT + minutes * MINUTE)

        assert [command[1:] for command in begun] == [["-m", "django", "audit", "--night", "2026-11-24"]]
        assert AuditRun.objects.count() == 1

    def test_takes_over_from_one_that_has_not_been_heard_of_for_ten_minutes(self, begun: list[list[str]]) -> None:
        AuditRun.objects.create(day=DAY, started_at=NIGHT - 5 * MINUTE, renewed_at=NIGHT)

        night.look(now=NIGHT + 10 * MINUTE)
        assert begun == []
        night.look(now=NIGHT + 11 * MINUTE)

        assert len(begun) == 1
        assert AuditRun.objects.get().started_at == NIGHT - 5 * MINUTE

    def test_says_so_when_the_audit_breaks_off(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        start("raise SystemExit(3)", monkeypatch)

        night.look(now=NIGHT)

        assert "The audit of 2026-11-24 has not come to its end (code 3): it begins again." in caplog.text
        assert AuditRun.objects.get().finished_at is None


@pytest.mark.processes
@pytest.mark.django_db(transaction=True)
class TestProcess:
    @pytest.fixture(autouse=True)
    def _ours(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        monkeypatch.setenv("DATABASE_URL", database_url())
        monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "tests.settings")
        yield
        timers.stopping.clear()

    def test_writes_down_what_it_found_and_the_active_superusers_are_mailed(self) -> None:
        factories.make_product()
        StockLevel.objects.update(on_hand=1)

        night.look(now=NIGHT)
        notices.send_owed(now=timezone.now())

        run = AuditRun.objects.get()
        assert run.finding_count == 1
        assert run.finished_at is not None
        (sent,) = mail.outbox
        assert sent.subject == "The audit of 2026-11-24 has found differences"
        assert sent.to == ["root@example.com"]
        assert "MUG in BER: the level says 1 on hand, its movements add up to 10." in sent.body

    def test_takes_as_long_as_it_needs_and_is_known_to_be_at_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(night, "RENEWED_EVERY_S", 0.2)
        start("import time; time.sleep(1.5)", monkeypatch)
        began = timezone.now()

        night.look(now=NIGHT)

        assert AuditRun.objects.get().renewed_at - began >= timedelta(seconds=1)

    def test_ends_when_the_cluster_stops(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        start("import time; time.sleep(60)", monkeypatch)
        threading.Timer(0.5, timers.stopping.set).start()
        began = time.monotonic()

        night.look(now=NIGHT)

        assert time.monotonic() - began < 5
        assert AuditRun.objects.get().finished_at is None
        # Nothing is wrong: another cluster begins again.
        assert caplog.records == []


class TestConclude:
    @pytest.fixture(autouse=True)
    def _begun(self) -> None:
        AuditRun.objects.create(day=DAY, started_at=NIGHT, renewed_at=NIGHT)

    def test_mails_nobody_when_all_is_well(self) -> None:
        call_command("audit", night=DAY)
        notices.send_owed(now=timezone.now())

        assert mail.outbox == []
        assert AuditRun.objects.get().finding_count == 0

    def test_by_two_is_the_work_of_the_first(self) -> None:
        for finding in ("one", "two"):
            night.conclude(Report({}, [finding]), day=DAY, now=NIGHT)
        notices.send_owed(now=NIGHT)

        (sent,) = mail.outbox
        assert "- one" in sent.body

    def test_is_undone_with_its_mail(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_: object, **__: object) -> None:
            raise ValueError("a bug")

        monkeypatch.setattr(notices, "mail", fail)

        with pytest.raises(ValueError, match="a bug"):
            night.conclude(Report({}, ["one"]), day=DAY, now=NIGHT)

        assert AuditRun.objects.get().finished_at is None

    def test_of_another_night_changes_nothing(self) -> None:
        night.conclude(Report({}, ["one"]), day=date(2026, 11, 23), now=NIGHT)
        notices.send_owed(now=NIGHT)

        assert mail.outbox == []
        assert AuditRun.objects.get().finished_at is None
