from datetime import datetime, timedelta

import pytest
from django.db.models import F

from tests.receiver import Answer, Receiver
from tests.webhooks.factories import crank, happen, make_due, make_subscription
from webhooks import claims, replay, subscriptions
from webhooks.models import Delivery
from webhooks.replay import ReplayRefused

pytestmark = pytest.mark.django_db(transaction=True)


class TestResend:
    def test_sends_the_same_id_and_bytes_marked_as_a_redelivery(self, receiver: Receiver, now: datetime) -> None:
        make_subscription(receiver.url)
        happen()
        crank()

        replay.resend(Delivery.objects.get(), by="ann", now=now)
        crank()

        first, second = receiver.received
        assert second.body == first.body
        assert second.headers["webhook-id"] == first.headers["webhook-id"]
        assert (first.headers["webhook-attempt"], second.headers["webhook-attempt"]) == ("1", "2")
        assert "webhook-redelivery" not in first.headers
        assert second.headers["webhook-redelivery"] == "true"
        resent = Delivery.objects.get()
        assert (resent.state, resent.resent_by, resent.attempts.count()) == ("delivered", "ann", 2)

    def test_gives_a_parked_one_a_fresh_run_of_its_schedule(self, receiver: Receiver, now: datetime) -> None:
        make_subscription(receiver.url, retry_schedule=[5])
        receiver.script = lambda _: Answer(500)
        happen()
        self.fail_until_parked(2)

        replay.resend(Delivery.objects.get(), by="ann", now=now)

        row = Delivery.objects.get()
        assert (row.state, row.lane, row.attempts_before, row.max_attempts) == ("pending", Delivery.Lane.LIVE, 2, 4)
        self.fail_until_parked(4)

    def fail_until_parked(self, attempts: int) -> None:
        crank()
        assert Delivery.objects.get().state == "pending"
        make_due()
        crank()
        row = Delivery.objects.get()
        assert (row.state, row.attempt_count) == ("parked", attempts)

    def test_sends_what_was_skipped(self, receiver: Receiver, now: datetime) -> None:
        subscription = make_subscription(receiver.url)
        subscriptions.disable(subscription, by="ann", now=now, reason="x")
        happen()
        subscriptions.resume(subscription, by="ann", now=now)
        crank()
        assert receiver.received == []

        replay.resend(Delivery.objects.get(), by="ann", now=now)
        crank()

        assert len(receiver.received) == 1

    def test_twice_before_it_is_sent_sends_once(self, receiver: Receiver, now: datetime) -> None:
        make_subscription(receiver.url)
        happen()
        crank()

        for _ in range(2):
            replay.resend(Delivery.objects.get(), by="ann", now=now)
        crank()

        assert len(receiver.received) == 2

    def test_refuses_one_that_is_being_sent(self, now: datetime) -> None:
        make_subscription()
        happen()
        claims.claim(1, owner="w1", now=now + timedelta(seconds=1))

        with pytest.raises(ReplayRefused, match="being sent"):
            replay.resend(Delivery.objects.get(), by="ann", now=now)

        row = Delivery.objects.get()
        assert (row.state, row.lease_owner, row.resent_by) == ("sending", "w1", "")

    def test_refuses_to_send_to_a_disabled_subscription(self, now: datetime) -> None:
        subscription = make_subscription()
        happen()
        subscriptions.disable(subscription, by="ann", now=now, reason="x")

        with pytest.raises(ReplayRefused, match="ERP is disabled"):
            replay.resend(Delivery.objects.get(), by="ann", now=now)

        assert not Delivery.objects.exclude(resent_by="").exists()
        assert not Delivery.objects.exclude(attempts_before=F("attempt_count")).exists()
