"""What is counted of the attempts, and that each is counted once."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from pytest_django import DjangoAssertNumQueries

from tests.webhooks.factories import happen, make_subscription
from webhooks import tallies
from webhooks.models import Attempt, Delivery, Subscription, Tally, TallyMark
from webhooks.tallies import BEYOND, Outcomes
from webhooks.transport import UNDELIVERABLE

pytestmark = pytest.mark.django_db

TICK, MINUTE, HOUR = timedelta(seconds=tallies.TICK_S), timedelta(minutes=1), timedelta(hours=1)


@pytest.fixture
def subscription() -> Subscription:
    return make_subscription()


def attempt(at: datetime, *, reason: str = "", took_s: float = 0.007, number: int = 1, **delivery: Any) -> Attempt:
    """One that ended like this, of a delivery of its own."""
    happen()
    made = Delivery.objects.latest("pk")
    arrived = {} if reason else {"state": "delivered", "next_attempt_at": None}
    values = {"created_at": at, "delivered_at": at + timedelta(seconds=took_s), **arrived, **delivery}
    Delivery.objects.filter(pk=made.pk).update(**values)
    return Attempt.objects.create(
        delivery=made, number=number, started_at=at, duration_ms=5, reason=reason, url="http://127.0.0.1:9/"
    )


def count(now: datetime) -> None:
    """Two looks: the second counts what the first has seen."""
    tallies.count(now=now)
    tallies.count(now=now + TICK)


def day_of(subscription: Subscription, now: datetime) -> Outcomes:
    return tallies.windows(now=now)[subscription.pk].day


class TestCount:
    def test_tells_successes_from_each_kind_of_failure(self, subscription: Subscription, now: datetime) -> None:
        for reason in ("", "", "", "timeout", "dns", "dns"):
            attempt(now, reason=reason)

        count(now)

        day = day_of(subscription, now)
        assert day.by_reason == {"": 3, "timeout": 1, "dns": 2}
        assert (day.attempts, day.failures, day.success_rate) == (6, 3, 0.5)

    def test_calls_what_is_undeliverable_nobodys_failure(self, subscription: Subscription, now: datetime) -> None:
        for reason in ("", "", "", "mail_server", *UNDELIVERABLE):
            attempt(now, reason=reason)

        count(now)

        day = day_of(subscription, now)
        assert (day.attempts, day.failures, day.success_rate, day.failure_rate) == (4, 1, 0.75, 0.25)
        assert day.by_reason["no_mailbox"] == 1

    def test_counts_each_attempt_once(self, subscription: Subscription, now: datetime) -> None:
        attempt(now)
        count(now)
        attempt(now)

        for tick in range(2, 6):
            tallies.count(now=now + tick * TICK)

        assert day_of(subscription, now).attempts == 2
        assert Tally.objects.count() == 1

    def test_leaves_the_newest_for_the_next_look(self, subscription: Subscription, now: datetime) -> None:
        """An attempt with a lower key may still be in a transaction that has not committed."""
        attempt(now)
        count(now)
        late = attempt(now)

        tallies.count(now=now + 2 * TICK)

        assert day_of(subscription, now).attempts == 1
        assert TallyMark.objects.get().seen == late.pk

    def test_is_done_by_one_cluster_at_a_time(self, subscription: Subscription, now: datetime) -> None:
        attempt(now)
        count(now)
        attempt(now)
        tallies.count(now=now + 2 * TICK)

        tallies.count(now=now + 2 * TICK)
        tallies.count(now=now + 2 * TICK + TICK / 4)

        assert day_of(subscription, now).attempts == 1

    def test_costs_two_statements_while_there_is_nothing_new(
        self, subscription: Subscription, now: datetime, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        attempt(now)
        count(now)

        with django_assert_num_queries(2):
            tallies.count(now=now + 3 * TICK)


class TestLatency:
    def test_spreads_percentiles_between_the_bounds(self, subscription: Subscription, now: datetime) -> None:
        for took_s in [0.007] * 90 + [0.04] * 9 + [2.0]:
            attempt(now, took_s=took_s)

        count(now)

        day = day_of(subscription, now)
        assert day.percentile(0.5) == pytest.approx(0.005 + 0.005 * 50 / 90)
        assert day.percentile(0.95) == pytest.approx(0.02 + 0.03 * 5 / 9)
        assert day.percentile(0.99) == pytest.approx(0.05)
        assert day.percentile(1.0) == pytest.approx(2.5)

    @pytest.mark.parametrize(
        "untimely",
        [{"number": 2}, {"lane": Delivery.Lane.LATE}, {"resent_by": "ann"}, {"reason": "timeout"}],
        ids=["a retry", "put back", "resent", "failed"],
    )
    def test_times_only_live_events_that_arrive_at_the_first_attempt(
        self, subscription: Subscription, now: datetime, untimely: dict[str, Any]
    ) -> None:
        attempt(now, took_s=3000, **untimely)

        count(now)

        day = day_of(subscription, now)
        assert day.attempts == 1
        assert day.percentile(0.99) is None

    def test_says_no_more_than_the_last_bound_of_what_is_beyond(
        self, subscription: Subscription, now: datetime
    ) -> None:
        attempt(now, took_s=100_000)

        count(now)

        assert Tally.objects.get().latency == BEYOND
        assert day_of(subscription, now).percentile(0.5) == 3600


class TestWindows:
    def test_tell_the_hour_from_the_day_and_from_ever(self, subscription: Subscription, now: datetime) -> None:
        for ago in (timedelta(0), 2 * HOUR, 30 * HOUR):
            attempt(now - ago)

        count(now)

        windows = tallies.windows(now=now)[subscription.pk]
        assert (windows.hour.attempts, windows.day.attempts, windows.ever.attempts) == (1, 2, 3)
        assert windows.ever.milliseconds == 21

    def test_folding_keeps_the_sums_and_the_last_day(self, subscription: Subscription, now: datetime) -> None:
        for hours, reason in ((0, ""), (20, "dns"), (30, ""), (31, ""), (50, "dns")):
            attempt(now - hours * HOUR, reason=reason)
        count(now)
        before = tallies.windows(now=now)

        for _ in range(2):
            tallies.fold_up(before=now - tallies.TOLD_APART_FOR)

        assert tallies.windows(now=now) == before
        assert Tally.objects.filter(at=Tally.LONG_AGO).count() == 2
        assert Tally.objects.count() == 4

    def test_by_hour_is_the_last_24_of_the_clock(self, subscription: Subscription, now: datetime) -> None:
        attempt(now)
        attempt(now - HOUR, reason="dns")
        attempt(now - 24 * HOUR)
        count(now)

        hours = tallies.by_hour(now=now)

        assert len(hours) == 24
        assert [at for at, _ in hours] == sorted(at for at, _ in hours)
        assert [(outcomes.successes, outcomes.failures) for _, outcomes in hours[-2:]] == [(0, 1), (1, 0)]
        assert sum(outcomes.attempts for _, outcomes in hours) == 2

    def test_go_with_their_subscription(self, subscription: Subscription, now: datetime) -> None:
        attempt(now)
        count(now)

        subscription.delete()

        assert not Tally.objects.exists()
