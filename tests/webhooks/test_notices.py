"""Mails to operators: rows until a real mail server has taken them."""

import logging
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core import mail
from django.db import transaction

from tests.mailserver import MailServer, running_mail_server
from tests.webhooks.factories import make_subscription
from webhooks import notices, subscriptions
from webhooks.models import Notice

pytestmark = pytest.mark.django_db

MINUTE = timedelta(minutes=1)


@pytest.fixture
def server(settings: Any) -> Iterator[MailServer]:
    with running_mail_server() as running:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", running.port
        yield running


def disable(*, now: datetime) -> None:
    subscriptions.disable(make_subscription(name="ERP"), by="ann", now=now, reason="Moved.")


class TestMail:
    def test_arrives_the_third_time_when_the_server_refuses_twice(
        self, server: MailServer, now: datetime, caplog: pytest.LogCaptureFixture
    ) -> None:
        User.objects.create_superuser("root", "root@example.com")
        disable(now=now)
        server.answers = {"RCPT": "451 try again later"}

        notices.send_owed(now=now)
        notices.send_owed(now=now + MINUTE)
        assert server.received == []
        server.answers = {}
        notices.send_owed(now=now + 2 * MINUTE)

        [message] = server.received
        assert (message["Subject"], message["To"]) == ("ERP is disabled", "root@example.com")
        assert "Why:      Moved." in message.get_content()
        assert not Notice.objects.exists()
        assert caplog.text.count("A mail is tried again, for the mail server did not take it: ERP is disabled") == 2

    def test_waits_a_minute_before_it_is_tried_again(self, server: MailServer, now: datetime) -> None:
        notices.mail("Hello", "…", to=["root@example.com"], now=now)
        server.answers = {"MAIL": "421 shutting down"}
        notices.send_owed(now=now)
        server.answers = {}

        notices.send_owed(now=now + timedelta(seconds=59))
        assert server.received == []

        notices.send_owed(now=now + MINUTE)
        assert len(server.received) == 1

    def test_to_one_who_is_refused_keeps_no_other_from_theirs(self, server: MailServer, now: datetime) -> None:
        notices.mail("Hello", "…", to=["root@example.com", "ann@example.com"], now=now)
        server.answers = {"MAIL": "451 not now"}
        Notice.objects.filter(address="ann@example.com").update(next_attempt_at=now + MINUTE)
        notices.send_owed(now=now)
        server.answers = {}

        notices.send_owed(now=now + MINUTE)

        assert sorted(message["To"] for message in server.received) == ["ann@example.com", "root@example.com"]

    def test_is_given_up_after_a_week_and_that_is_an_error(
        self, server: MailServer, now: datetime, caplog: pytest.LogCaptureFixture
    ) -> None:
        notices.mail("Hello", "…", to=["root@example.com"], now=now)
        server.answers = {"RCPT": "550 no such user"}

        notices.send_owed(now=now + timedelta(days=7) - MINUTE)
        assert Notice.objects.count() == 1
        notices.send_owed(now=now + timedelta(days=7))

        assert not Notice.objects.exists()
        [given_up] = [record for record in caplog.records if record.levelno == logging.ERROR]
        assert given_up.getMessage().startswith(
            "A mail is given up, which no mail server took for days: Hello (to root"
        )

    def test_has_a_title_of_one_line(self, now: datetime) -> None:
        notices.mail("A\nB\r\n is disabled", "…", to=["root@example.com"], now=now)

        notices.send_owed(now=now)

        assert [sent.subject for sent in mail.outbox] == ["A B is disabled"]

    def test_is_sent_only_of_what_was_committed(self, now: datetime) -> None:
        User.objects.create_superuser("root", "root@example.com")
        with transaction.atomic():
            disable(now=now)
            transaction.set_rollback(True)

        notices.send_owed(now=now)

        assert mail.outbox == []

    def test_that_nobody_can_get_is_told_in_the_log(self, now: datetime, caplog: pytest.LogCaptureFixture) -> None:
        User.objects.create_superuser("root")

        disable(now=now)

        assert not Notice.objects.exists()
        assert "Nobody can be told by mail: no active superuser has an address." in caplog.text
