"""What becomes of a subscription that is down for days, and of what it is owed."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import transaction
from pytest_django.plugin import DjangoDbBlocker

from tests.webhooks.factories import happen_often, make_subscription
from tests.webhooks.simulation import simulate
from webhooks import parking, replay, subscriptions
from webhooks.models import Delivery, Event, Replay, Subscription

pytestmark = pytest.mark.django_db

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


@pytest.fixture(scope="class", params=["best_effort", "strict"])
def back(request: Any, django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[datetime]:
    """The moment it is back, with four subjects of three events before it was disabled, and six after.

    The ten days pass once for all tests: each takes back no more than what it has done itself.
    """
    with django_db_blocker.unblock(), transaction.atomic():
        subscription = make_subscription(event_types=["webhook.*"], ordering=request.param)
        now = datetime.now(UTC)
        events_at(now, 12, subjects=4)
        assert simulate(now + SECOND, now + timedelta(days=10), up=False) == []
        subscription.refresh_from_db()
        assert subscription.state == "disabled"
        events_at(now + timedelta(days=7), 24, subjects=4)
        assert set(Delivery.objects.values_list("state", flat=True)) == {"pending", "parked", "skipped"}
        yield now + timedelta(days=10)
        transaction.set_rollback(True)


@pytest.fixture
def subscription(back: datetime) -> Subscription:
    return Subscription.objects.get()


def events_at(moment: datetime, count: int, *, subjects: int) -> None:
    with time_machine.travel(moment, tick=False):
        happen_often(count, subjects=subjects)


def in_order(arrived: list[str]) -> dict[str, list[int]]:
    """The sequence numbers by subject."""
    sequences: dict[str, list[int]] = {}
    for event_id in arrived:
        event = Event.objects.get(public_id=event_id)
        sequences.setdefault(event.subject, []).append(event.sequence)
    return sequences


class TestTenDaysDown:
    def test_everything_arrives_and_each_subject_in_order(
        self, subscription: Subscription, back: datetime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Also what happens while it is being caught up; what has nothing to wait for goes first."""
        monkeypatch.setattr(parking, "RETURNED_AT_ONCE", 5)
        monkeypatch.setattr(replay, "BATCH", 1)

        subscriptions.resume(subscription, by="ann", now=back)
        arrived = []
        for n in range(3):
            moment = back + n * 10 * SECOND
            events_at(moment, 5, subjects=5)
            arrived += simulate(moment + SECOND, moment + 10 * SECOND, up=True)
            assert "skipped" in Delivery.objects.values_list("state", flat=True)
        assert in_order(arrived)["sub_4"] == [1, 2, 3]
        arrived += simulate(back + 30 * SECOND, back + 2 * MINUTE, up=True)

        assert in_order(arrived) == {f"sub_{n}": list(range(1, 13)) for n in range(4)} | {"sub_4": [1, 2, 3]}
        assert set(Delivery.objects.values_list("state", flat=True)) == {"delivered"}
        ended = Replay.objects.get()
        assert (ended.kind, ended.total, ended.done, ended.started_by) == ("skipped", 24, 24, "ann")
        assert ended.finished_at is not None

    def test_what_was_skipped_can_be_left(self, subscription: Subscription, back: datetime) -> None:

        subscriptions.resume(subscription, by="ann", now=back, recover=False)
        events_at(back, 4, subjects=4)
        arrived = simulate(back + SECOND, back + 2 * MINUTE, up=True)

        assert in_order(arrived) == {f"sub_{n}": [1, 2, 3, 10] for n in range(4)}
        assert Delivery.objects.filter(state="skipped").count() == 24
        assert not Replay.objects.exists()

    def test_what_is_committed_late_arrives_too(self, subscription: Subscription, back: datetime) -> None:
        """By a transaction that has read it as disabled, and ends when those after it are back already."""
        late = Delivery.objects.filter(state="skipped").earliest("id")
        Delivery.objects.filter(pk=late.pk).update(state="sending")
        subscriptions.resume(subscription, by="ann", now=back)
        simulate(back, back + 30 * SECOND, up=True)
        Delivery.objects.filter(pk=late.pk).update(state="skipped")

        simulate(back + 30 * SECOND, back + 2 * MINUTE, up=True)

        assert set(Delivery.objects.values_list("state", flat=True)) == {"delivered"}
        assert Replay.objects.get().finished_at is not None

    def test_is_caught_up_on_after_a_second_outage(self, subscription: Subscription, back: datetime) -> None:
        """Resumed too early, and disabled again before anything was put back."""
        subscriptions.resume(subscription, by="ann", now=back)
        subscriptions.disable(subscription, by="ann", now=back + MINUTE, reason="still down")
        events_at(back + 2 * MINUTE, 4, subjects=4)

        again = back + HOUR
        subscriptions.resume(subscription, by="ann", now=again)
        events_at(again, 4, subjects=4)
        arrived = simulate(again, again + 2 * MINUTE, up=True)

        told = in_order(arrived)
        assert {subject: told[subject] for subject in told if subject.startswith("sub_") and len(subject) == 5} == {
            f"sub_{n}": list(range(1, 12)) for n in range(4)
        }
        assert set(Delivery.objects.values_list("state", flat=True)) == {"delivered"}


class TestFourDaysDown:
    def test_need_nobody_to_resume_it(self, now: datetime) -> None:
        subscription = make_subscription(event_types=["webhook.*"])
        happen_often(8, subjects=4)
        back = now + timedelta(days=4.5)
        simulate(now + SECOND, back, up=False)
        assert "parked" in Delivery.objects.values_list("state", flat=True)
        happen_often(4, subjects=4)

        arrived = simulate(back, back + 2 * HOUR, up=True)

        subscription.refresh_from_db()
        assert (subscription.state, subscription.consecutive_failures) == ("active", 0)
        assert in_order(arrived) == {f"sub_{n}": [1, 2, 3] for n in range(4)}
