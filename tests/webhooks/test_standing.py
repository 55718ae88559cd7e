"""How a subscription stands, in the cases that differ."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pytest_django import DjangoAssertNumQueries

from tests.webhooks.factories import happen, make_subscription
from webhooks import standing
from webhooks.models import Delivery, Subscription
from webhooks.standing import Health, Standing

pytestmark = pytest.mark.django_db

MINUTE = timedelta(minutes=1)


@pytest.fixture
def subscription() -> Subscription:
    return make_subscription()


def owe(**values: Any) -> None:
    happen()
    newest = Delivery.objects.latest("pk").pk
    Delivery.objects.filter(pk=newest).update(**values)


def stands(now: datetime, **values: Any) -> Standing:
    """As `values` of the subscription have it."""
    Subscription.objects.update(**values)
    (found,) = standing.read(now=now)
    return found


class TestQueues:
    def test_tell_what_is_due_from_what_waits_is_sent_or_is_parked(
        self, subscription: Subscription, now: datetime
    ) -> None:
        owe(next_attempt_at=now - 2 * MINUTE)
        owe(next_attempt_at=now - 3 * MINUTE, lane=Delivery.Lane.LATE)
        owe(next_attempt_at=now + MINUTE)
        owe(state="sending", next_attempt_at=None)
        owe(state="parked", next_attempt_at=None)
        owe(state="delivered", next_attempt_at=None)

        found = stands(now)

        assert (found.due, found.waiting, found.sending, found.parked, found.backlog) == (2, 1, 1, 1, 4)
        assert found.due_since == now - 3 * MINUTE
        assert found.lag(now=now) == 3 * MINUTE

    def test_nothing_is_due_before_its_time(self, subscription: Subscription, now: datetime) -> None:
        owe(next_attempt_at=now + MINUTE)

        found = stands(now)

        assert found.due_since is None
        assert found.lag(now=now) == timedelta(0)

    def test_are_counted_no_further_than_it_takes(
        self, subscription: Subscription, now: datetime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(standing, "COUNTED_TO", 2)
        for _ in range(3):
            owe(next_attempt_at=now)

        assert stands(now).due == 2

    def test_leave_drafts_and_deleted_ones_out(self, subscription: Subscription, now: datetime) -> None:
        make_subscription(name="Deleted")
        Subscription.objects.filter(name="Deleted").update(deleted_at=now)
        Subscription.objects.create(name="Draft")

        assert [each.subscription for each in standing.read(now=now)] == [subscription]

    def test_cost_two_statements_for_all_of_them(
        self, now: datetime, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        for number in range(5):
            make_subscription(name=f"System {number}")
        happen()

        with django_assert_num_queries(2):
            found = standing.read(now=now + MINUTE)

        assert [each.due for each in found] == [1] * 5


class TestLag:
    def test_is_ours_alone_when_a_willing_receiver_waits(self, subscription: Subscription, now: datetime) -> None:
        owe(next_attempt_at=now - 10 * MINUTE)

        assert standing.longest_left_alone([stands(now)], now=now) == 10 * MINUTE

    @pytest.mark.parametrize(
        "reason",
        [
            {"state": "paused"},
            {"consecutive_failures": 1},
            {"max_per_second": 1},
            {"ordering": "strict"},
            {"max_in_flight": 1},
        ],
        ids=["it is paused", "it fails", "it wants few", "it wants them in order", "it is busy"],
    )
    def test_is_not_ours_when_the_receiver_causes_it(
        self, subscription: Subscription, now: datetime, reason: dict[str, Any]
    ) -> None:
        owe(next_attempt_at=now - 10 * MINUTE)
        owe(state="sending", next_attempt_at=None)

        assert standing.longest_left_alone([stands(now, **reason)], now=now) == timedelta(0)

    def test_is_not_ours_while_the_circuit_is_open(self, subscription: Subscription, now: datetime) -> None:
        owe(next_attempt_at=now - 10 * MINUTE)

        found = stands(now, resting_until=now + MINUTE)

        assert standing.longest_left_alone([found], now=now) == timedelta(0)


class TestHealth:
    @pytest.mark.parametrize(
        ("values", "health"),
        [
            ({}, Health.WELL),
            ({"state": "paused"}, Health.PAUSED),
            ({"throttled": True}, Health.THROTTLED),
            ({"throttled": True, "consecutive_failures": 1}, Health.FAILING),
            ({"consecutive_failures": 10, "resting_until": datetime(2026, 11, 24, tzinfo=UTC)}, Health.RESTING),
            ({"consecutive_failures": 10, "state": "disabled"}, Health.DISABLED),
        ],
    )
    def test_is_the_worst_that_can_be_said(self, values: dict[str, Any], health: Health) -> None:
        assert standing.health(Subscription(**({"state": "active"} | values))) == health
