"""Successes stay 30 days, failures 90, and events for as long as anybody may ask for them."""

from datetime import datetime, timedelta

import pytest
import time_machine

from commerce.audit import audit
from tests.factories import place_order
from tests.webhooks.factories import happen, happen_often, make_subscription
from webhooks import claims, replay, retention, subscriptions
from webhooks.models import Attempt, Delivery, Event, EventSequence, Replay, Subscription

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "PAUSE_S", 0)


def prune_after(days: float, *, now: datetime) -> None:
    with time_machine.travel(now + timedelta(days=days), tick=False):
        retention.prune()


def settle(state: str, now: datetime) -> Delivery:
    """An event whose only delivery has ended so, with an attempt."""
    happen(f"sub_{state}")
    row = Delivery.objects.latest("id")
    ended = {"state": state, "next_attempt_at": None, "claimed_at": now, "attempt_count": 1}
    Delivery.objects.filter(pk=row.pk).update(**ended, delivered_at=now if state == "delivered" else None)
    Attempt.objects.create(delivery=row, number=1, started_at=now, duration_ms=1, url="http://127.0.0.1:9/")
    return row


class TestDeliveries:
    @pytest.mark.parametrize(
        ("state", "days"), [("delivered", 30), ("parked", 90), ("skipped", 90), ("superseded", 90)]
    )
    def test_stay_for_their_time_and_go_with_their_attempts(self, now: datetime, state: str, days: int) -> None:
        make_subscription()
        settle(state, now)

        prune_after(days - 0.1, now=now)
        assert (Delivery.objects.count(), Attempt.objects.count()) == (1, 1)

        prune_after(days + 0.1, now=now)
        assert (Delivery.objects.count(), Attempt.objects.count()) == (0, 0)

    @pytest.mark.parametrize("state", ["pending", "sending"])
    def test_that_are_still_to_be_sent_stay_for_ever(self, now: datetime, state: str) -> None:
        make_subscription()
        happen()
        Delivery.objects.update(state=state, next_attempt_at=now if state == "pending" else None)

        prune_after(4_000, now=now)

        assert (Delivery.objects.count(), Event.objects.count()) == (1, 1)

    @pytest.mark.parametrize("state", ["delivered", "parked"])
    def test_that_ended_long_after_they_began_are_kept_from_their_end_on(self, now: datetime, state: str) -> None:
        make_subscription()
        settle(state, now)
        Delivery.objects.update(created_at=now - timedelta(days=200))

        prune_after(1, now=now)

        assert Delivery.objects.count() == 1

    def test_go_in_batches_until_all_are_gone(self, now: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(retention, "BATCH", 2)
        make_subscription()
        for _ in range(5):
            settle("delivered", now)

        prune_after(31, now=now)

        assert Delivery.objects.count() == 0

    def test_wait_for_the_next_run_when_there_is_no_time_left(
        self, now: datetime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(retention, "BATCH", 2)
        monkeypatch.setattr(retention, "RUN_S", -1)
        make_subscription()
        for _ in range(5):
            settle("delivered", now)

        prune_after(31, now=now)

        assert Delivery.objects.count() == 3


class TestWhatWasForgotten:
    """Asked forty days later, of two orders: one from before the subscription, and one that it was told of."""

    @pytest.fixture
    def asked(self, now: datetime) -> datetime:
        return now + timedelta(days=40)

    @pytest.fixture(params=["unconditional", "conditional"])
    def subscription(self, now: datetime, request: pytest.FixtureRequest) -> Subscription:
        asks = [{"field": "channel", "operator": "eq", "value": "web"}]
        conditions = asks if request.param == "conditional" else []
        earlier = now - timedelta(hours=1)
        with time_machine.travel(earlier, tick=False):
            place_order(now=earlier)
        with time_machine.travel(now, tick=False):
            subscription = make_subscription(event_types=["order.created"], conditions=conditions)
            place_order(("MUG", 1), now=now)
        Delivery.objects.update(state="delivered", next_attempt_at=None, delivered_at=now)
        return subscription

    def missing(self, subscription: Subscription, since: datetime) -> int:
        return replay.count_missing(subscription, since=since)

    def test_is_never_taken_for_missing(self, subscription: Subscription, now: datetime, asked: datetime) -> None:
        since = now - timedelta(minutes=1)
        assert self.missing(subscription, since) == 0

        prune_after(31, now=now)

        assert (Delivery.objects.count(), Event.objects.filter(type="order.created").count()) == (0, 2)
        assert self.missing(subscription, since) == 0
        started = replay.replay_missing(subscription, since=since, by="ann", now=asked)
        assert (started.total, started.finished_at) == (0, asked)
        assert audit(now=asked).findings == []

    def test_leaves_what_was_written_before_the_subscription_missing(
        self, subscription: Subscription, now: datetime, asked: datetime
    ) -> None:
        prune_after(31, now=now)

        started = replay.replay_missing(subscription, since=now - timedelta(days=1), by="ann", now=asked)
        replay.advance_one(started.pk, now=asked)

        earlier = Event.objects.filter(type="order.created").earliest("id")
        assert [delivery.event for delivery in Delivery.objects.all()] == [earlier]

    def test_holds_for_older_events_that_were_replayed_once(
        self, subscription: Subscription, now: datetime, asked: datetime
    ) -> None:
        started = replay.replay_missing(subscription, since=now - timedelta(days=1), by="ann", now=now)
        replay.advance_one(started.pk, now=now)
        Delivery.objects.update(state="delivered", next_attempt_at=None, delivered_at=now)

        prune_after(31, now=now)

        assert Delivery.objects.count() == 0
        assert self.missing(subscription, now - timedelta(days=1)) == 0

    def test_leaves_what_came_later_missing(self, subscription: Subscription, now: datetime, asked: datetime) -> None:
        prune_after(31, now=now)
        with time_machine.travel(asked, tick=False):
            place_order(("MUG", 1), now=asked)
        Delivery.objects.all().delete()

        assert self.missing(subscription, now - timedelta(minutes=1)) == 1

    def test_is_named_by_whoever_counts(self, subscription: Subscription, now: datetime) -> None:
        assert replay.plan("missing", subscription, since=now - timedelta(days=1)).left_out is None
        prune_after(31, now=now)

        planned = replay.plan("missing", subscription, since=now - timedelta(days=1))

        assert planned.left_out == {"since": now, "until": now}
        at = f"{now:%Y-%m-%d %H:%M}"
        assert replay.caveat(planned).startswith(f"Events from {at} to {at} UTC are left out")
        assert replay.caveat(replay.plan("missing", subscription, since=now + timedelta(days=1))) == ""
        assert replay.caveat(replay.plan("failed", subscription, since=now - timedelta(days=1))) == ""


class TestEvents:
    def test_stay_while_a_delivery_of_them_does(self, now: datetime) -> None:
        make_subscription()
        settle("delivered", now)

        prune_after(89, now=now)
        assert (Delivery.objects.count(), Event.objects.count()) == (0, 1)

        prune_after(91, now=now)
        assert Event.objects.count() == 0

    def test_leave_no_gap_behind(self, now: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
        """Of two subjects, one has an old delivery that is still to be sent: what came after it stays."""
        monkeypatch.setattr(retention, "BATCH", 3)
        happen_often(4, subjects=2)
        make_subscription()
        happen_often(1, subjects=1)
        Subscription.objects.update(state="draft")
        happen_often(4, subjects=2)

        prune_after(91, now=now)

        left = Event.objects.order_by("subject", "sequence").values_list("subject", "sequence")
        assert list(left) == [("sub_0", 3), ("sub_0", 4), ("sub_0", 5)]
        counted = EventSequence.objects.order_by("subject").values_list("subject", "last", "pruned")
        assert list(counted) == [("sub_0", 5, 2), ("sub_1", 4, 4)]
        assert audit(now=now + timedelta(days=91)).findings == []

    def test_are_numbered_on_after_all_of_them_went(self, now: datetime) -> None:
        happen_often(2, subjects=1)
        prune_after(91, now=now)

        happen_often(1, subjects=1)

        assert Event.objects.get().sequence == 3
        assert audit(now=now).findings == []


class TestDeletedSubscriptions:
    def test_go_with_their_log_in_batches(self, now: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(retention, "BATCH", 2)
        gone, stays = make_subscription(name="Gone"), make_subscription(name="Stays")
        happen_often(5, subjects=5)
        Replay.objects.create(subscription=gone, kind="failed", since=now, until_id=0, total=0, started_at=now)
        subscriptions.delete(gone, by="ann", now=now)

        retention.prune()

        assert list(Subscription.with_deleted.all()) == [stays]
        assert list(Delivery.objects.values_list("subscription", flat=True)) == [stays.pk] * 5
        assert not Replay.objects.exists()

    def test_are_gone_for_everybody_at_once(self, now: datetime) -> None:
        gone = make_subscription(headers={"X-Key": "s3cret"})
        happen()

        subscriptions.delete(gone, by="ann", now=now)
        happen()

        assert not Subscription.objects.exists()
        assert Delivery.objects.count() == 1
        assert claims.claim(10, owner="w1", now=now + timedelta(minutes=1)) == []
        emptied = Subscription.with_deleted.get()
        assert (emptied.headers, emptied.secrets, emptied.state, emptied.state_changed_by) == (
            {},
            [],
            "disabled",
            "ann",
        )
