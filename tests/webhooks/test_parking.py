"""What becomes of deliveries that ran out of attempts."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.webhooks.factories import happen, happen_often, make_subscription
from tests.webhooks.simulation import claim, record
from webhooks import claims, parking
from webhooks.models import Attempt, Delivery, Event, Subscription

pytestmark = pytest.mark.django_db

SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)


@pytest.fixture
def subscription() -> Subscription:
    return make_subscription(event_types=["webhook.*"])


def park(now: datetime) -> None:
    """All there are, as if their last attempt had just failed; and their subscription is well."""
    Delivery.objects.update(state="parked", next_attempt_at=None, claimed_at=now, attempt_count=10, lane=1)
    Subscription.objects.update(**Subscription.WELL)


def fail_for_long(now: datetime, *, is_open: bool = True) -> None:
    """All there are wait 14 hours, as after seven failures; and nothing of their subscription has arrived for a day."""
    Delivery.objects.update(lane=1, attempt_count=7, claimed_at=now, next_attempt_at=now + 14 * HOUR)
    Subscription.objects.update(consecutive_failures=3, failing_since=now - 24 * HOUR)
    if is_open:
        Subscription.objects.update(consecutive_failures=12, resting_until=now + 20 * SECOND)


def subjects(state: str = "pending") -> list[str]:
    return list(Delivery.objects.filter(state=state).order_by("id").values_list("subject", flat=True))


class TestProbe:
    def test_sends_the_oldest_parked_one_again(self, subscription: Subscription, now: datetime) -> None:
        happen_often(3, subjects=3)
        park(now)

        parking.work(now=now)

        [probe] = claim(now)
        assert Delivery.objects.get(pk=probe.id).subject == "sub_0"
        assert probe.was_parked
        assert probe.subscription == subscription

    @pytest.mark.usefixtures("subscription")
    def test_parks_it_again_when_it_fails(self, now: datetime) -> None:
        happen()
        park(now)
        parking.work(now=now)

        record(claim(now), now, works=lambda _: False)

        row = Delivery.objects.get()
        assert (row.state, row.attempt_count, row.attempts.get().number) == ("parked", 11, 11)

    @pytest.mark.usefixtures("subscription")
    def test_comes_once_an_hour_while_others_arrive(self, now: datetime) -> None:
        happen_often(3, subjects=3)
        park(now)

        probed = []
        for minute in range(0, 180, 5):
            moment = now + timedelta(minutes=minute)
            parking.work(now=moment)
            probed += [minute] * len(probes := claim(moment))
            record(probes, moment, works=lambda _: False)
            Subscription.objects.update(**Subscription.WELL)

        assert probed == [0, 60, 120]

    @pytest.mark.usefixtures("subscription")
    def test_takes_turns_so_that_one_it_never_accepts_stands_in_nobodys_way(self, now: datetime) -> None:
        for subject in ("sub_0", "sub_0", "sub_1"):
            happen(subject)
        park(now)
        for hour in range(1, 4):
            parking.work(now=now + hour * HOUR)
            record(claim(now + hour * HOUR), now + hour * HOUR, works=lambda _: False)

        tried = Attempt.objects.order_by("id").values_list("delivery__subject", "delivery__event__sequence")
        assert list(tried) == [("sub_0", 1), ("sub_1", 1), ("sub_0", 1)]

    def test_follows_the_circuit_while_that_is_open(self, subscription: Subscription, now: datetime) -> None:
        happen_often(3, subjects=3)
        park(now)
        Subscription.objects.update(consecutive_failures=12, failing_since=now, resting_until=now + 20 * SECOND)

        probed = []
        for second in range(0, 120, 5):
            moment = now + second * SECOND
            parking.work(now=moment)
            probed += [second] * len(probes := claim(moment))
            record(probes, moment, works=lambda _: False)

        assert probed == [20, 60]
        subscription.refresh_from_db()
        assert subscription.consecutive_failures == 14

    @pytest.mark.usefixtures("subscription")
    def test_waits_while_an_open_circuit_has_something_older_to_probe_with(self, now: datetime) -> None:
        happen("waits")
        happen("parked")
        park(now)
        Delivery.objects.filter(subject="waits").update(state="pending", next_attempt_at=now)
        Subscription.objects.update(consecutive_failures=12, failing_since=now, resting_until=now)

        parking.work(now=now + SECOND)

        assert subjects("parked") == ["parked"]

    @pytest.mark.parametrize("state", ["paused", "disabled"])
    @pytest.mark.usefixtures("subscription")
    def test_is_not_for_a_subscription_that_is_not_active(self, state: str, now: datetime) -> None:
        happen()
        park(now)
        Subscription.objects.update(state=state)

        parking.work(now=now)

        assert subjects("parked") == ["sub_1"]

    @pytest.mark.usefixtures("subscription")
    def test_costs_one_statement_while_nothing_is_parked_or_fails_for_long(
        self, now: datetime, django_assert_num_queries: Any
    ) -> None:
        happen_often(3, subjects=3)

        with django_assert_num_queries(1):
            parking.work(now=now)


class TestProbeOfWhatHasFailed:
    """It waits for hours by its schedule, and nothing else is due."""

    def test_follows_the_circuit_while_that_is_open(self, subscription: Subscription, now: datetime) -> None:
        happen_often(3, subjects=3)
        fail_for_long(now)

        probed = []
        for second in range(0, 120, 5):
            moment = now + second * SECOND
            parking.work(now=moment)
            probes = claim(moment)
            probed += [(second, Delivery.objects.get(pk=probe.id).subject) for probe in probes]
            record(probes, moment, works=lambda _: False)

        assert probed == [(20, "sub_0"), (60, "sub_1")]
        subscription.refresh_from_db()
        assert subscription.consecutive_failures == 14

    @pytest.mark.usefixtures("subscription")
    def test_begins_with_the_oldest_whether_parked_or_not(self, now: datetime) -> None:
        happen_often(3, subjects=3)
        fail_for_long(now)
        Delivery.objects.filter(subject="sub_1").update(state="parked", next_attempt_at=None)

        parking.work(now=now + 20 * SECOND)

        assert list(claims.due(now + 20 * SECOND).values_list("subject", flat=True)) == ["sub_0"]
        assert subjects("parked") == ["sub_1"]

    @pytest.mark.usefixtures("subscription")
    def test_comes_once_an_hour_while_the_circuit_is_closed(self, now: datetime) -> None:
        happen_often(2, subjects=2)
        fail_for_long(now, is_open=False)

        probed = []
        for minute in range(0, 200, 5):
            moment = now + timedelta(minutes=minute)
            parking.work(now=moment)
            probed += [minute] * len(probes := claim(moment))
            record(probes, moment, works=lambda _: False)

        assert probed == [60, 120, 180]

    @pytest.mark.usefixtures("subscription")
    def test_is_not_for_a_subscription_that_takes_others(self, now: datetime) -> None:
        happen()
        fail_for_long(now, is_open=False)
        Subscription.objects.update(**Subscription.WELL)

        parking.work(now=now + 13 * HOUR)

        assert not claims.anything_due(now + 13 * HOUR)

    @pytest.mark.parametrize("is_open", [True, False])
    @pytest.mark.usefixtures("subscription")
    def test_leaves_alone_what_the_receiver_asked_to_wait_with(self, is_open: bool, now: datetime) -> None:
        happen()
        fail_for_long(now, is_open=is_open)
        Delivery.objects.update(attempt_count=2, next_attempt_at=now + 10 * HOUR)

        parking.work(now=now + 9 * HOUR)

        assert not claims.anything_due(now + 9 * HOUR)


class TestReturn:
    def succeed(self, now: datetime) -> None:
        parking.work(now=now)
        record(claim(now), now)

    @pytest.mark.usefixtures("subscription")
    def test_begins_with_the_first_success(self, now: datetime) -> None:
        happen_often(5, subjects=5)
        park(now)
        self.succeed(now)
        assert subjects("parked") == ["sub_1", "sub_2", "sub_3", "sub_4"]

        parking.work(now=now + 5 * SECOND)

        rows = Delivery.objects.exclude(subject="sub_0")
        assert set(rows.values_list("state", "lane", "attempts_before")) == {("pending", Delivery.Lane.LATE, 10)}

    @pytest.mark.usefixtures("subscription")
    def test_is_bounded_and_goes_by_age(self, now: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(parking, "RETURNED_AT_ONCE", 2)
        happen_often(5, subjects=5)
        park(now)
        self.succeed(now)

        for second in (5, 6, 7, 8):
            parking.work(now=now + second * SECOND)
        assert subjects() == ["sub_1", "sub_2"]
        parking.work(now=now + 10 * SECOND)
        assert subjects() == ["sub_1", "sub_2", "sub_3", "sub_4"]

    def test_ends_when_all_are_back(self, subscription: Subscription, now: datetime) -> None:
        happen_often(2, subjects=2)
        park(now)
        self.succeed(now)
        for second in (5, 10):
            parking.work(now=now + second * SECOND)

        subscription.refresh_from_db()
        assert subscription.recovered_at is None

    @pytest.mark.usefixtures("subscription")
    def test_goes_behind_live_traffic(self, now: datetime) -> None:
        happen_often(3, subjects=3)
        park(now)
        self.succeed(now)
        happen("live")
        moment = now + 10 * SECOND
        parking.work(now=moment)

        assert [Delivery.objects.get(pk=one.id).subject for one in claim(moment, limit=1)] == ["live"]

    @pytest.mark.usefixtures("subscription")
    def test_lets_nothing_later_of_a_subject_pass_what_has_yet_to_come_back(
        self, now: datetime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(parking, "RETURNED_AT_ONCE", 1)
        for subject in ("sub_0", "sub_0", "sub_1"):
            happen(subject)
        park(now)
        self.succeed(now)
        happen("sub_1")

        arrived = []
        for second in range(10, 40, 5):
            moment = now + second * SECOND
            parking.work(now=moment)
            claimed = claim(moment)
            arrived += [one.event_id for one in claimed]
            record(claimed, moment)

        events = [Event.objects.get(public_id=event_id) for event_id in arrived]
        assert [(event.subject, event.sequence) for event in events] == [("sub_0", 2), ("sub_1", 1), ("sub_1", 2)]

    @pytest.mark.parametrize("is_open", [True, False])
    @pytest.mark.usefixtures("subscription")
    def test_brings_forward_what_waits_for_its_next_attempt(self, is_open: bool, now: datetime) -> None:
        happen_often(3, subjects=3)
        fail_for_long(now, is_open=is_open)
        back = now + HOUR
        self.succeed(back)

        parking.work(now=back + 5 * SECOND)

        rows = Delivery.objects.filter(state="pending")
        assert list(rows.order_by("id").values_list("subject", "next_attempt_at", "attempts_before")) == [
            ("sub_1", back + 5 * SECOND, 0),
            ("sub_2", back + 5 * SECOND, 0),
        ]

    @pytest.mark.usefixtures("subscription")
    def test_brings_back_what_is_parked_and_what_waits_by_age(
        self, now: datetime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(parking, "RETURNED_AT_ONCE", 2)
        happen_often(5, subjects=5)
        fail_for_long(now)
        Delivery.objects.filter(subject__in=["sub_2", "sub_4"]).update(state="parked", next_attempt_at=None)
        back = now + HOUR
        self.succeed(back)

        parking.work(now=back + 5 * SECOND)
        assert list(claims.due(back + 5 * SECOND).order_by("id").values_list("subject", flat=True)) == [
            "sub_1",
            "sub_2",
        ]
        parking.work(now=back + 10 * SECOND)
        assert claims.due(back + 10 * SECOND).count() == 4

    @pytest.mark.usefixtures("subscription")
    def test_lets_nothing_later_of_a_subject_pass_what_has_yet_to_be_brought_forward(
        self, now: datetime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(parking, "RETURNED_AT_ONCE", 1)
        for subject in ("sub_0", "sub_1", "sub_2"):
            happen(subject)
        fail_for_long(now)
        happen("sub_2")
        back = now + HOUR
        self.succeed(back)

        assert claim(back) == []
        arrived = []
        for second in range(5, 30, 5):
            moment = back + second * SECOND
            parking.work(now=moment)
            claimed = claim(moment)
            arrived += [one.event_id for one in claimed]
            record(claimed, moment)

        events = [Event.objects.get(public_id=event_id) for event_id in arrived]
        assert [(event.subject, event.sequence) for event in events] == [("sub_1", 1), ("sub_2", 1), ("sub_2", 2)]

    @pytest.mark.usefixtures("subscription")
    def test_brings_nothing_forward_where_only_one_was_refused_for_a_moment(self, now: datetime) -> None:
        happen("asked for time")
        fail_for_long(now, is_open=False)
        Subscription.objects.update(consecutive_failures=1, failing_since=now)
        happen("fine")
        moment = now + 10 * SECOND

        record(claim(moment), moment)
        parking.work(now=moment + 5 * SECOND)

        assert Delivery.objects.get(state="pending").next_attempt_at == now + 14 * HOUR

    @pytest.mark.usefixtures("subscription")
    def test_heeds_what_the_receiver_asked_one_of_them_to_wait(self, now: datetime) -> None:
        happen_often(3, subjects=3)
        fail_for_long(now)
        Delivery.objects.filter(subject="sub_1").update(attempt_count=2, next_attempt_at=now + 10 * HOUR)
        back = now + HOUR
        self.succeed(back)

        parking.work(now=back + 5 * SECOND)

        waits = dict(Delivery.objects.filter(state="pending").values_list("subject", "next_attempt_at"))
        assert waits == {"sub_1": now + 10 * HOUR, "sub_2": back + 5 * SECOND}

    @pytest.mark.usefixtures("subscription")
    def test_is_begun_anew_by_no_success_of_others(self, now: datetime) -> None:
        happen("never accepted")
        park(now)
        happen("fine")
        moment = now + 10 * SECOND

        record(claim(moment), moment)
        parking.work(now=moment)
        record(claim(moment), moment, works=lambda _: False)
        happen("fine")
        record(claim(moment + 10 * SECOND), moment + 10 * SECOND)
        parking.work(now=moment + 20 * SECOND)

        assert subjects("parked") == ["never accepted"]
