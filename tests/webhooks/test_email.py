"""A delivery by e-mail: the same claim, ladder, log and resend, and a mail server that may refuse."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.core import mail
from django.core.mail.backends.smtp import EmailBackend
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from tests.factories import confirm_order, pack_order
from tests.mailserver import MailServer, running_mail_server
from tests.webhooks.factories import crank, make_due, make_subscription
from webhooks import claims, messages, replay, subscriptions
from webhooks.channels import email
from webhooks.drain import drain, sender
from webhooks.models import Attempt, Delivery, Event, Subscription
from webhooks.subscriptions import SubscriptionConflict
from webhooks.transport import MASK

pytestmark = pytest.mark.django_db(transaction=True)


class ApiError(Exception):
    """Of a mail service: no OSError."""


class Strange(EmailBackend):
    """A back end that speaks to a mail service by its API."""

    def open(self) -> None:
        """There is no connection."""

    def send_messages(self, email_messages: Any) -> int:
        raise ApiError("402 no credit left")


class BadAtParting(EmailBackend):
    def close(self) -> None:
        super().close()
        raise ApiError("I do not know you")


@pytest.fixture
def written() -> Subscription:
    subscription = subscriptions.start_messages(by="ann", now=timezone.now())
    subscriptions.resume(subscription, by="ann", now=timezone.now())
    return subscription


@pytest.fixture
def server(settings: Settings) -> Iterator[MailServer]:
    with running_mail_server() as running:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", running.port
        yield running


def states() -> list[tuple[str, str, str]]:
    found = Delivery.objects.order_by("pk").values_list("event_type", "state", "last_reason")
    return [(event_type, state, reason) for event_type, state, reason in found]


def try_once() -> None:
    """Not until nothing is due, as `crank`: what waits behind a failed one is due all the time."""
    drain()
    while sender().in_flight:
        drain()


def tell(data: str, instead: str) -> None:
    """As if the order had been told of with other data."""
    event = Event.objects.get(type="order.confirmed")
    assert data in event.body
    Event.objects.filter(pk=event.pk).update(body=event.body.replace(data, instead))


class TestSend:
    def test_is_plain_text_under_an_id_that_is_the_events(self, written: Subscription, server: MailServer) -> None:
        order = confirm_order()

        crank()

        [received] = server.received
        event = Event.objects.get(type="order.confirmed")
        assert received["Message-ID"].strip() == f"<{event.public_id}.{written.public_id}@localhost>"
        assert received["Subject"] == f"Thank you! Your order {order.number} is confirmed"
        assert (received["To"], received["Auto-Submitted"]) == ("ann@example.com", "auto-generated")
        assert received.get_content_type() == "text/plain"
        assert "Hello Ann Lee," in received.get_content()

    def test_is_logged_without_the_address(self, written: Subscription, server: MailServer) -> None:
        confirm_order()

        crank()

        attempt = Attempt.objects.get()
        assert (attempt.number, attempt.reason, attempt.url) == (1, "", "")
        assert ["To", MASK] in attempt.request_headers
        assert "ann@example.com" not in str(attempt.request_headers)

    def test_takes_no_secret_and_no_signature(self, written: Subscription, server: MailServer) -> None:
        confirm_order()

        crank()

        assert written.secrets == []
        assert not [name for name in server.received[0] if name.lower().startswith("webhook-")]

    def test_is_told_beside_the_webhooks(self, written: Subscription, server: MailServer) -> None:
        make_subscription(event_types=["order.confirmed"])
        confirm_order()

        assert Delivery.objects.filter(event_type="order.confirmed").count() == 2
        crank()

        assert len(server.received) == 1


class TestRefusal:
    def test_is_tried_again_by_the_ladder_and_arrives_once(self, written: Subscription, server: MailServer) -> None:
        server.answers = {"RCPT": "451 try again later"}
        confirm_order()
        crank()
        assert states() == [("order.confirmed", "pending", "mail_refused")]

        server.answers = {}
        make_due()
        crank()

        assert len(server.received) == 1
        assert states() == [("order.confirmed", "delivered", "")]
        assert list(Attempt.objects.order_by("number").values_list("status_code", "reason")) == [
            (451, "mail_refused"),
            (None, ""),
        ]

    def test_holds_the_orders_later_messages_back(self, written: Subscription, server: MailServer) -> None:
        server.answers = {"MAIL": "421 too many messages"}
        pack_order()
        try_once()
        assert states() == [("order.confirmed", "pending", "mail_refused"), ("order.packed", "pending", "")]

        server.answers = {}
        make_due()
        crank()

        assert [received["Subject"].split(" is ")[1] for received in server.received] == ["confirmed", "packed"]

    @pytest.mark.parametrize(
        ("command", "answer", "reason", "words"),
        [
            ("DATA", "554 spam", "mail_refused", "The mail server refused the message with 554: spam"),
            (".", "552 full", "mail_refused", "The mail server refused the message with 552: full"),
            ("MAIL", "550 who are you?", "mail_refused", "The mail server refused the message with 550: who are you?"),
        ],
    )
    def test_says_why(
        self, command: str, answer: str, reason: str, words: str, written: Subscription, server: MailServer
    ) -> None:
        server.answers = {command: answer}
        confirm_order()

        crank()

        attempt = Attempt.objects.get()
        assert (attempt.status_code, attempt.reason, attempt.detail) == (int(answer[:3]), reason, words)

    def test_of_the_login_says_so(self, written: Subscription, server: MailServer, settings: Settings) -> None:
        settings.EMAIL_HOST_USER, settings.EMAIL_HOST_PASSWORD = "shop", "wrong"
        server.answers = {"EHLO": "250-mail.example.com\r\n250 AUTH PLAIN", "AUTH": "535 wrong password"}
        confirm_order()

        crank()

        assert states() == [("order.confirmed", "pending", "mail_login")]
        assert Attempt.objects.get().detail == "The mail server refused the login with 535: wrong password"

    def test_by_a_server_that_is_away_is_tried_again(
        self, written: Subscription, server: MailServer, settings: Settings
    ) -> None:
        settings.EMAIL_PORT = 9
        confirm_order()

        crank()

        assert states() == [("order.confirmed", "pending", "mail_server")]
        assert Attempt.objects.get().detail.startswith("The mail server could not be reached: ")

    def test_by_silence_ends_in_time(
        self, written: Subscription, server: MailServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(email, "DEADLINE_S", 0.3)
        monkeypatch.setattr(email, "STEP_S", 0.6)
        server.is_silent = True
        confirm_order()
        begun = time.monotonic()

        crank()

        assert time.monotonic() - begun < 10
        assert states() == [("order.confirmed", "pending", "mail_server")]
        assert Attempt.objects.get().detail == "No complete answer within 0 s."

    def test_by_a_back_end_that_raises_what_it_likes_says_so_and_is_tried_again(
        self, written: Subscription, server: MailServer, settings: Settings
    ) -> None:
        settings.EMAIL_BACKEND = f"{__name__}.Strange"
        confirm_order()
        crank()
        assert states() == [("order.confirmed", "pending", "mail_refused")]
        assert Attempt.objects.get().detail == "The mail back end failed with ApiError: 402 no credit left"

        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        make_due()
        crank()

        assert len(server.received) == 1
        assert list(Attempt.objects.order_by("number").values_list("reason", flat=True)) == ["mail_refused", ""]

    def test_cannot_be_told_by_how_the_connection_ends(
        self, written: Subscription, server: MailServer, settings: Settings
    ) -> None:
        settings.EMAIL_BACKEND = f"{__name__}.BadAtParting"
        confirm_order()

        crank()

        assert len(server.received) == 1
        assert states() == [("order.confirmed", "delivered", "")]

    def test_opens_the_circuit_like_any_other(self, written: Subscription, server: MailServer) -> None:
        server.answers = {"MAIL": "421 too many messages"}
        Subscription.objects.update(consecutive_failures=9)
        confirm_order()

        crank()

        assert Subscription.objects.get().resting_until is not None


class TestUndeliverable:
    def test_is_who_has_no_address(self, written: Subscription, server: MailServer) -> None:
        confirm_order()
        tell('"customer_email":"ann@example.com"', '"customer_email":null')

        crank()

        assert server.received == []
        assert states() == [("order.confirmed", "skipped", "no_address")]
        assert Attempt.objects.get().detail == "The event has no customer_email."

    def test_is_what_is_no_address(self, written: Subscription, server: MailServer) -> None:
        confirm_order()
        tell("ann@example.com", "ann, bob@example.com")

        crank()

        assert server.received == []
        assert states() == [("order.confirmed", "skipped", "no_address")]

    def test_is_a_mailbox_that_does_not_exist(self, written: Subscription, server: MailServer) -> None:
        server.answers = {"RCPT": "550 no such user"}
        confirm_order()

        crank()

        assert states() == [("order.confirmed", "skipped", "no_mailbox")]
        assert Attempt.objects.get().detail == "The mail server refused the address with 550: no such user"

    def test_is_an_event_whose_text_was_taken_away(self, written: Subscription, server: MailServer) -> None:
        confirm_order()
        messages.adopt(written, [each for each in messages.suggested() if each["event_type"] != "order.confirmed"])
        written.save()

        crank()

        assert states() == [("order.confirmed", "skipped", "no_text")]

    def test_is_nobodys_failure_and_holds_nothing_back(self, written: Subscription, server: MailServer) -> None:
        Subscription.objects.update(consecutive_failures=9)
        pack_order()
        tell('"customer_email":"ann@example.com"', '"customer_email":null')

        crank()

        assert Subscription.objects.get().resting_until is None
        assert states() == [("order.confirmed", "skipped", "no_address"), ("order.packed", "delivered", "")]


class TestResend:
    def test_sends_the_same_message_under_the_same_id(self, written: Subscription, server: MailServer) -> None:
        confirm_order()
        crank()

        replay.resend(Delivery.objects.get(), by="ann", now=timezone.now())
        crank()

        first, second = server.received
        assert first["Message-ID"] == second["Message-ID"]
        assert first.get_content() == second.get_content()

    def test_recovers_what_was_skipped_while_disabled(self, written: Subscription, server: MailServer) -> None:
        began = timezone.now()
        subscriptions.disable(written, by="ann", now=began, reason="Holiday")
        confirm_order()
        subscriptions.resume(written, by="ann", now=timezone.now())

        recovery = replay.recover(written, since=began, by="ann", now=timezone.now())
        replay.advance_one(recovery.pk, now=timezone.now())
        crank()

        assert len(server.received) == 1


class TestMessagesAreNoWebhook:
    def test_have_no_secret_to_rotate_and_nothing_to_test(self, written: Subscription) -> None:
        for verb in (subscriptions.rotate_secret, subscriptions.revoke_old_secrets):
            with pytest.raises(SubscriptionConflict, match="goes out by e-mail"):
                verb(written, now=timezone.now())
        with pytest.raises(SubscriptionConflict, match="goes out by e-mail"):
            subscriptions.send_test(written, by="ann", now=timezone.now())

    def test_cost_the_claim_nothing_more(
        self, written: Subscription, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        confirm_order()
        before = len(mail.outbox)

        [claimed] = claims.claim(10, owner="w1", now=timezone.now())

        with django_assert_num_queries(0):
            assert email.send(claimed).reason is None
        assert len(mail.outbox) == before + 1
