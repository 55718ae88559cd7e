"""Each line: it is mailed once when it is crossed, and once when it is not any more."""

import smtplib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any
from unittest.mock import patch

import pytest
from django.contrib.auth.models import User
from django.core import mail
from django.db import connection
from django.db.models import F

from commerce import alarms
from commerce.models import Alarm, AuditRun, Heartbeat
from tests.webhooks.factories import happen, make_subscription
from webhooks import standing, tallies
from webhooks.models import Delivery, Subscription, Tally

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


@pytest.fixture(autouse=True)
def _root(db: None) -> None:
    User.objects.create_superuser("root", "root@example.com")


@pytest.fixture
def subscription(now: datetime) -> Subscription:
    subscription = make_subscription(name="ERP")
    Subscription.objects.update(state_changed_at=now - 2 * HOUR)
    return subscription


def owe(subscription: Subscription, now: datetime) -> None:
    """A delivery that has been due for ten minutes."""
    happen()
    Delivery.objects.update(state="pending", next_attempt_at=now - 10 * MINUTE)


def settle_debts() -> None:
    Delivery.objects.update(state="delivered", next_attempt_at=None)


def attempts(subscription: Subscription, now: datetime, count: int, *, reason: str = "", latency: int = 0) -> None:
    Tally.objects.create(
        subscription=subscription, at=now - MINUTE, reason=reason, latency=latency, count=count, milliseconds=0
    )


def crossed(now: datetime) -> list[str]:
    alarms.check(now=now)
    return list(Alarm.objects.filter(ended_at=None).values_list("kind", flat=True))


class TestMails:
    def test_one_when_a_line_is_crossed_and_one_when_that_is_over(
        self, subscription: Subscription, now: datetime
    ) -> None:
        owe(subscription, now)
        for minute in range(10):
            alarms.check(now=now + minute * MINUTE)
        (begun,) = mail.outbox
        settle_debts()

        for minute in range(10, 30):
            alarms.check(now=now + minute * MINUTE)

        assert begun.subject == "Alarm: Deliveries overdue: ERP"
        assert begun.to == ["root@example.com"]
        assert "- ERP: The oldest delivery that is due has been for more than 5 minutes." in begun.body
        _, over = mail.outbox
        assert over.subject == "Over: Deliveries overdue: ERP"
        assert "Over:" in over.body
        assert Alarm.objects.get().ended_at == now + 14 * MINUTE

    def test_none_for_a_line_that_is_crossed_again_in_a_moment(self, subscription: Subscription, now: datetime) -> None:
        for minute in range(0, 20, 2):
            Delivery.objects.all().delete()
            owe(subscription, now + minute * MINUTE)
            alarms.check(now=now + minute * MINUTE)
            settle_debts()
            alarms.check(now=now + (minute + 1) * MINUTE)

        assert len(mail.outbox) == 1

    def test_again_when_it_comes_back_after_it_was_over(self, subscription: Subscription, now: datetime) -> None:
        owe(subscription, now)
        alarms.check(now=now)
        settle_debts()
        alarms.check(now=now + 10 * MINUTE)
        owe(subscription, now)

        alarms.check(now=now + 20 * MINUTE)

        assert [sent.subject.partition(":")[0] for sent in mail.outbox] == ["Alarm", "Over", "Alarm"]

    def test_tell_all_that_is_new_in_one(self, now: datetime) -> None:
        for name in ("ERP", "OMS", "CRM"):
            owe(make_subscription(name=name), now)

        alarms.check(now=now)

        (sent,) = mail.outbox
        assert sent.subject == "Alarm: Deliveries overdue: ERP (and 2 more)"
        assert [f"- {name}: The oldest" in sent.body for name in ("ERP", "OMS", "CRM")] == [True] * 3

    def test_go_to_the_operators_and_to_who_has_set_it_up(self, subscription: Subscription, now: datetime) -> None:
        ann = User.objects.create_user("ann", "ann@example.com", is_staff=True)
        User.objects.create_user("ben", "ben@example.com", is_staff=True)
        Subscription.objects.update(created_by=ann)
        owe(subscription, now)

        alarms.check(now=now)

        assert sorted(address for sent in mail.outbox for address in sent.to) == [
            "ann@example.com",
            "root@example.com",
        ]

    def test_wait_for_a_mail_server_that_refuses(self, subscription: Subscription, now: datetime) -> None:
        owe(subscription, now)
        refusal = smtplib.SMTPServerDisconnected
        with patch("commerce.alarms.send_mass_mail", side_effect=refusal), pytest.raises(refusal):
            alarms.check(now=now)
        assert mail.outbox == []

        alarms.check(now=now + MINUTE)

        assert len(mail.outbox) == 1

    def test_come_from_an_address_of_ours(self, subscription: Subscription, now: datetime) -> None:
        owe(subscription, now)

        alarms.check(now=now)

        assert mail.outbox[0].from_email == "commerce-engine@localhost"


class TestLines:
    def test_are_not_crossed_by_one_that_is_well(self, subscription: Subscription, now: datetime) -> None:
        happen()
        attempts(subscription, now, 1_000)
        attempts(subscription, now, 100, reason="timeout", latency=-1)

        assert crossed(now) == []

    def test_most_attempts_fail(self, subscription: Subscription, now: datetime) -> None:
        attempts(subscription, now, 9)
        attempts(subscription, now, 10, reason="timeout", latency=-1)
        assert crossed(now) == []
        Tally.objects.filter(reason="timeout").update(count=F("count") + 1)

        assert crossed(now) == ["failures"]
        assert str(Alarm.objects.get()) == "ERP: 11 of 20 attempts within an hour failed."

    def test_one_fails_for_long(self, subscription: Subscription, now: datetime) -> None:
        Subscription.objects.update(failing_since=now - HOUR, consecutive_failures=9)
        assert crossed(now) == []

        assert crossed(now + SECOND) == ["failing"]

    def test_events_take_long(self, subscription: Subscription, now: datetime) -> None:
        attempts(subscription, now, 99, latency=tallies.BOUNDS.index(60) + 1)
        assert crossed(now) == []
        Tally.objects.update(count=100)

        assert crossed(now) == ["slow"]

    @pytest.mark.parametrize("waited", ["failed", "was resumed"])
    def test_what_has_waited_for_its_receiver_is_not_slow(
        self, subscription: Subscription, now: datetime, waited: str
    ) -> None:
        attempts(subscription, now, 1_000, latency=tallies.BEYOND)
        if waited == "failed":
            attempts(subscription, now, 1, reason="timeout", latency=-1)
        else:
            Subscription.objects.update(state_changed_at=now - MINUTE)

        assert crossed(now) == []

    def test_a_backlog_grows_long(
        self, subscription: Subscription, now: datetime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for module in (alarms, standing):
            monkeypatch.setattr(module, "COUNTED_TO", 3)
        for _ in range(2):
            happen()
        assert crossed(now) == []
        happen()

        assert crossed(now) == ["backlog"]

    @pytest.mark.parametrize("state", ["paused", "disabled"])
    def test_nothing_is_expected_of_one_that_is(self, subscription: Subscription, now: datetime, state: str) -> None:
        owe(subscription, now)
        Subscription.objects.update(state=state, failing_since=now - 2 * HOUR)

        assert crossed(now) == []


class TestEndlessAudit:
    def test_is_told_after_two_hours(self, now: datetime) -> None:
        AuditRun.objects.create(day=now.date(), started_at=now - 2 * HOUR + SECOND, renewed_at=now)
        assert crossed(now) == []

        assert crossed(now + SECOND) == ["audit"]

        (sent,) = mail.outbox
        assert sent.subject == "Alarm: Audit not ended"
        assert f"The audit of {now:%Y-%m-%d} was begun at {now - 2 * HOUR + SECOND:%H:%M} UTC and has" in sent.body

    def test_is_over_when_it_ends_or_that_of_a_later_night_does(self, now: datetime) -> None:
        AuditRun.objects.create(day=now.date(), started_at=now - 2 * HOUR, renewed_at=now)
        later = AuditRun.objects.create(
            day=now.date() + timedelta(days=1), started_at=now + 24 * HOUR, renewed_at=now + 24 * HOUR
        )
        assert crossed(now + 25 * HOUR) == ["audit"]

        AuditRun.objects.filter(pk=later.pk).update(finished_at=now + 25 * HOUR)

        assert crossed(now + 26 * HOUR) == []


class TestSilence:
    def test_is_told_when_no_cluster_beats_any_more(self, now: datetime) -> None:
        Heartbeat.objects.create(pk=Heartbeat.THE_ONE, at=now)
        alarms.check_silence(now=now + 2 * MINUTE)
        assert mail.outbox == []

        for seconds in (121, 180, 240):
            alarms.check_silence(now=now + seconds * SECOND)

        (sent,) = mail.outbox
        assert sent.subject == "Alarm: No queue cluster"
        assert f"No queue cluster has been heard of since {now:%Y-%m-%d %H:%M:%S} UTC." in sent.body

    def test_is_not_told_of_a_cluster_that_has_never_run(self, now: datetime) -> None:
        alarms.check_silence(now=now)

        assert mail.outbox == []

    @pytest.mark.parametrize("look", [alarms.check_silence, alarms.check])
    def test_ends_when_one_beats_again(self, now: datetime, look: Callable[..., None]) -> None:
        Heartbeat.objects.create(pk=Heartbeat.THE_ONE, at=now - HOUR)
        alarms.check_silence(now=now)
        Heartbeat.objects.update(at=now + 10 * MINUTE)

        look(now=now + 10 * MINUTE)

        assert [sent.subject for sent in mail.outbox] == ["Alarm: No queue cluster", "Over: No queue cluster"]

    def test_of_the_web_process_leaves_the_other_lines_alone(self, subscription: Subscription, now: datetime) -> None:
        owe(subscription, now)
        alarms.check(now=now)

        alarms.check_silence(now=now + HOUR)

        assert Alarm.objects.get().ended_at is None


@pytest.mark.django_db(transaction=True)
class TestManyProcesses:
    def test_mail_once(self, subscription: Subscription, now: datetime) -> None:
        owe(subscription, now)
        sent: list[Any] = []

        with patch("commerce.alarms.send_mass_mail", side_effect=sent.extend):
            for moment, is_settled in ((now, False), (now + 10 * MINUTE, True)):
                if is_settled:
                    settle_debts()
                with ThreadPoolExecutor(4) as looking:
                    list(looking.map(look, [moment] * 8))

        assert [subject for subject, *_ in sent] == [
            "Alarm: Deliveries overdue: ERP",
            "Over: Deliveries overdue: ERP",
        ]


def look(moment: datetime) -> None:
    """As another process does, on a connection of its own."""
    try:
        alarms.check(now=moment)
    finally:
        connection.close()
