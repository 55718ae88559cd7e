import json
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

import pytest
from django.db import transaction
from django.db.models import F

from tests.factories import place_order
from tests.receiver import Answer, Receiver
from tests.webhooks.factories import crank, happen, happen_often, make_due, make_subscription
from webhooks import claims, replay, subscriptions
from webhooks.events import TEST, Ping
from webhooks.models import Delivery, Event, Replay, Subscription
from webhooks.outbox import emit
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
        subscription = make_subscription(receiver.url, event_types=["webhook.test"])
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
        claims.claim(1, owner="w1", now=now + timedelta(minutes=1))

        with pytest.raises(ReplayRefused, match="being sent"):
            replay.resend(Delivery.objects.get(), by="ann", now=now)

        row = Delivery.objects.get()
        assert (row.state, row.lease_owner, row.resent_by) == ("sending", "w1", "")

    def test_refuses_to_send_to_a_disabled_subscription(self, now: datetime) -> None:
        subscription = make_subscription(event_types=["webhook.test"])
        happen()
        subscriptions.disable(subscription, by="ann", now=now, reason="x")

        with pytest.raises(ReplayRefused, match="ERP is disabled"):
            replay.resend(Delivery.objects.get(), by="ann", now=now)

        assert not Delivery.objects.exclude(resent_by="").exists()
        assert not Delivery.objects.exclude(attempts_before=F("attempt_count")).exists()


def advance(now: datetime, *, times: int = 1) -> None:
    """What the timer does, in its time."""
    for n in range(times):
        for running in Replay.objects.filter(finished_at=None):
            replay.advance_one(running.pk, now=now + n * replay.PACE)


class TestRecover:
    @pytest.fixture
    def since(self, now: datetime) -> datetime:
        return now - timedelta(minutes=1)

    @pytest.fixture
    def subscription(self) -> Subscription:
        """With one delivery in each state; all of one subject, but for the live one."""
        subscription = make_subscription()
        happen_often(6, subjects=6)
        states = ["parked", "skipped", "delivered", "superseded", "pending", "pending"]
        for row, state in zip(Delivery.objects.order_by("id"), states, strict=True):
            due = row.next_attempt_at if state == "pending" else None
            Delivery.objects.filter(pk=row.pk).update(state=state, next_attempt_at=due, attempt_count=3)
        fresh = Delivery.objects.latest("id")
        Delivery.objects.filter(pk=fresh.pk).update(attempt_count=0)
        return subscription

    def test_puts_back_what_failed_was_parked_or_skipped_and_nothing_else(
        self, subscription: Subscription, since: datetime, now: datetime
    ) -> None:
        before = list(Delivery.objects.order_by("id").values_list("state", flat=True))
        assert replay.count_recoverable(subscription, since=since) == 3

        started = replay.recover(subscription, since=since, by="ann", now=now)
        advance(now)

        back = Delivery.objects.filter(resent_by="ann").order_by("id")
        assert [before[n] for n, row in enumerate(Delivery.objects.order_by("id")) if row in back] == [
            "parked",
            "skipped",
            "pending",
        ]
        assert {(row.state, row.lane, row.next_attempt_at, row.attempts_before) for row in back} == {
            ("pending", Delivery.Lane.LATE, now, 3)
        }
        started.refresh_from_db()
        assert (started.total, started.done, started.started_by, started.finished_at) == (3, 3, "ann", now)

    def test_twice_sends_nothing_twice(self, subscription: Subscription, since: datetime, now: datetime) -> None:
        first = replay.recover(subscription, since=since, by="ann", now=now)
        second = replay.recover(subscription, since=since, by="ann", now=now)
        advance(now)

        first.refresh_from_db()
        second.refresh_from_db()
        assert (first.done, second.done) == (3, 0)
        assert second.finished_at == now
        assert replay.count_recoverable(subscription, since=since) == 0
        assert replay.recover(subscription, since=since, by="ann", now=now).finished_at == now

    def test_leaves_what_is_older_and_what_is_anothers(
        self, subscription: Subscription, since: datetime, now: datetime
    ) -> None:
        other = make_subscription(name="Other")
        old = Delivery.objects.get(state="parked")
        Delivery.objects.filter(pk=old.pk).update(created_at=since - timedelta(seconds=1))

        replay.recover(other, since=since, by="ann", now=now)
        replay.recover(subscription, since=since, by="ann", now=now)
        advance(now)

        assert Delivery.objects.filter(resent_by="ann").count() == 2
        assert Delivery.objects.get(pk=old.pk).state == "parked"

    def test_goes_in_batches_at_a_bounded_rate_and_shows_how_far_it_is(
        self, since: datetime, now: datetime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(replay, "BATCH", 2)
        subscription = make_subscription()
        happen_often(5, subjects=5)
        Delivery.objects.update(state="parked", next_attempt_at=None)
        started = replay.recover(subscription, since=since, by="ann", now=now)

        seen = []
        for n in range(3):
            for _ in range(2):  # Two clusters, at the same moment, and a receiver that is quicker than both.
                replay.advance_one(started.pk, now=now + n * replay.PACE)
                Delivery.objects.filter(state="pending").update(state="delivered", next_attempt_at=None)
            started.refresh_from_db()
            seen.append((str(started), started.finished_at is not None))

        assert seen == [("2 of 5", False), ("4 of 5", False), ("5 of 5", True)]

    def test_counts_up_to_a_bound_and_its_end_tells_how_many_there_were(
        self, since: datetime, now: datetime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(replay, "COUNTED_TO", 3)
        monkeypatch.setattr(replay, "BATCH", 2)
        subscription = make_subscription()
        happen_often(5, subjects=5)
        Delivery.objects.update(state="parked", next_attempt_at=None)
        started = replay.recover(subscription, since=since, by="ann", now=now)

        seen = [str(started)]
        for n in range(3):
            replay.advance_one(started.pk, now=now + n * replay.PACE)
            Delivery.objects.filter(state="pending").update(state="delivered", next_attempt_at=None)
            seen.append(str(Replay.objects.get()))

        assert seen == ["0 of 3 or more", "2 of 3 or more", "4 of 4 or more", "5 of 5"]

    def test_begins_where_its_time_does(self, subscription: Subscription, since: datetime, now: datetime) -> None:
        """Not at the first row of the log."""
        old = list(Delivery.objects.order_by("id").values_list("pk", flat=True)[:2])
        Delivery.objects.filter(pk__in=old).update(created_at=now - timedelta(days=1))

        started = replay.recover(subscription, since=since, by="ann", now=now)

        newest = Delivery.objects.latest("id").pk
        assert (started.after_id, started.until_id, started.total) == (old[-1], newest, 1)

    def test_goes_on_after_a_while_though_nothing_is_worked_off(
        self, since: datetime, now: datetime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """One subject may keep all that was put back: those of others are not to wait for it for ever."""
        monkeypatch.setattr(replay, "BATCH", 1)
        subscription = make_subscription()
        happen_often(2, subjects=2)
        Delivery.objects.update(state="parked", next_attempt_at=None)
        started = replay.recover(subscription, since=since, by="ann", now=now)
        advance(now, times=2)
        assert Replay.objects.get().done == 1

        replay.advance_one(started.pk, now=now + replay.PATIENCE)

        assert Replay.objects.get().done == 2

    def test_waits_while_the_receiver_has_not_worked_the_last_batch_off(
        self, since: datetime, now: datetime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(replay, "BATCH", 2)
        subscription = make_subscription()
        happen_often(3, subjects=3)
        Delivery.objects.update(state="parked", next_attempt_at=None)
        started = replay.recover(subscription, since=since, by="ann", now=now)

        advance(now, times=3)

        started.refresh_from_db()
        assert (started.done, started.finished_at) == (2, None)

    @pytest.mark.parametrize("verb", [subscriptions.pause, partial(subscriptions.disable, reason="x")])
    def test_waits_while_the_subscription_is_not_active(
        self, subscription: Subscription, since: datetime, now: datetime, verb: Callable[..., None]
    ) -> None:
        replay.recover(subscription, since=since, by="ann", now=now)
        verb(subscription, by="ann", now=now)
        advance(now)
        assert Replay.objects.get().done == 0

        subscriptions.resume(subscription, by="ann", now=now, recover=False)
        advance(now)

        assert Replay.objects.get().done == 3

    @pytest.mark.parametrize("still", ["recovered_at", "resting_until"])
    def test_of_what_was_skipped_waits_for_what_failed_before(self, now: datetime, still: str) -> None:
        """That is older, and is brought back first, once the receiver is known to be well."""
        subscription = make_subscription()
        happen("sub_1")
        Delivery.objects.update(state="skipped", next_attempt_at=None)
        replay.catch_up(subscription, since=now - timedelta(minutes=1), by="ann", now=now)
        Subscription.objects.update(**{still: now})
        settled = now + timedelta(minutes=1)
        advance(settled, times=2)
        assert Delivery.objects.get().state == "skipped"

        Subscription.objects.update(**{still: None})
        advance(settled + timedelta(minutes=1), times=2)

        assert Delivery.objects.get().state == "pending"

    def test_refuses_a_disabled_subscription(self, subscription: Subscription, since: datetime, now: datetime) -> None:
        subscriptions.disable(subscription, by="ann", now=now, reason="x")

        with pytest.raises(ReplayRefused, match="ERP is disabled"):
            replay.recover(subscription, since=since, by="ann", now=now)

        assert not Replay.objects.exists()

    def test_sends_live_traffic_first(self, receiver: Receiver, since: datetime, now: datetime) -> None:
        subscription = make_subscription(receiver.url, max_in_flight=1)
        happen("sub_old")
        Delivery.objects.update(state="parked", next_attempt_at=None)
        replay.recover(subscription, since=since, by="ann", now=now)
        replay.advance()
        happen("sub_new")

        crank()

        assert [body["subject"] for body in map(json.loads, (sent.body for sent in receiver.received))] == [
            "sub_new",
            "sub_old",
        ]


class TestReplayMissing:
    @pytest.fixture
    def since(self, now: datetime) -> datetime:
        return now - timedelta(minutes=1)

    @pytest.fixture
    def latecomer(self, now: datetime) -> Subscription:
        """Connected after the orders, and the first of its deliveries."""
        place_order(now=now)
        return make_subscription(event_types=["order.*", "customer.created"])

    def test_sends_what_it_never_had_in_order(self, latecomer: Subscription, since: datetime, now: datetime) -> None:
        assert replay.count_missing(latecomer, since=since) == 2

        started = replay.replay_missing(latecomer, since=since, by="ann", now=now)
        advance(now)

        owed = Delivery.objects.order_by("id")
        assert sorted(row.event_type for row in owed) == ["customer.created", "order.created"]
        assert [row.event_id for row in owed] == sorted(row.event_id for row in owed)
        assert {(row.state, row.lane, row.resent_by) for row in owed} == {("pending", Delivery.Lane.LATE, "")}
        started.refresh_from_db()
        assert (started.total, started.done, started.finished_at) == (2, 2, now)

    def test_twice_sends_nothing_twice(self, latecomer: Subscription, since: datetime, now: datetime) -> None:
        for _ in range(2):
            replay.replay_missing(latecomer, since=since, by="ann", now=now)
        advance(now)

        assert Delivery.objects.count() == 2
        assert replay.count_missing(latecomer, since=since) == 0

    def test_leaves_older_events_others_test_events_and_what_it_does_not_want(
        self, latecomer: Subscription, since: datetime, now: datetime
    ) -> None:
        latecomer.event_types = ["*"]
        subscriptions.disable(latecomer, by="ann", now=now, reason="x")
        subscriptions.resume(latecomer, by="ann", now=now)
        with transaction.atomic():
            emit(TEST, Ping("sub_1", "a shop", "ann", now), only_to=make_subscription(name="Other"))
        wanted = Event.objects.exclude(type="webhook.test").exclude(deliveries__subscription=latecomer).count()
        assert replay.count_missing(latecomer, since=since) == wanted

        Event.objects.filter(type="order.created").update(created_at=since - timedelta(seconds=1))

        assert replay.count_missing(latecomer, since=since) == wanted - 1

    def test_goes_in_batches(
        self, latecomer: Subscription, since: datetime, now: datetime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(replay, "BATCH", 1)
        replay.replay_missing(latecomer, since=since, by="ann", now=now)

        advance(now)

        assert str(Replay.objects.get()) == "1 of 2"
