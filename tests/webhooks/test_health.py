"""How a subscription's answers open and close its circuit, slow it down, and end it."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core import mail
from django.db import connection

from tests.webhooks.factories import happen, happen_often, make_subscription
from webhooks import claims, delivery, health, notices, subscriptions
from webhooks.claims import Claimed
from webhooks.delivery import Sent
from webhooks.models import Attempt, Delivery, Event, Subscription
from webhooks.transport import Outcome, Reason

pytestmark = pytest.mark.django_db

SECOND = timedelta(seconds=1)


@pytest.fixture
def soon(now: datetime) -> datetime:
    """Everything the tests make is due by then."""
    return now + 10 * SECOND


def claim(now: datetime, limit: int = 100) -> list[Claimed]:
    return claims.claim(limit, owner="w1", now=now)


def record(claimed: Sequence[Claimed], now: datetime, status: int = 200, **outcome: Any) -> None:
    delivery.record([Sent(one, answer(status, now, **outcome)) for one in claimed], owner="w1", now=now)


def answer(status: int, now: datetime, **outcome: Any) -> Outcome:
    reason = {2: None, 4: Reason.HTTP_4XX, 5: Reason.HTTP_5XX}[status // 100]
    return Outcome(now, status_code=status, reason=Reason.GONE if status == 410 else reason, **outcome)


def told(name: str) -> list[dict[str, Any]]:
    return [json.loads(body)["data"] for body in Event.objects.filter(type=name).values_list("body", flat=True)]


@pytest.fixture
def subscription() -> Subscription:
    return make_subscription(event_types=["webhook.*"])


def fail(times: int, now: datetime) -> None:
    """So many attempts in a row, of deliveries of their own."""
    happen_often(times, subjects=times)
    for _ in range(times):
        record(claim(now, limit=1), now, status=500)


@pytest.fixture
def broken(subscription: Subscription, soon: datetime) -> Subscription:
    """Its circuit has just opened, at `soon`."""
    fail(health.FAILURES_TO_OPEN, soon)
    Delivery.objects.all().delete()
    subscription.refresh_from_db()
    return subscription


class TestCircuit:
    def test_stays_closed_for_nine_failures_in_a_row(self, subscription: Subscription, soon: datetime) -> None:
        fail(9, soon)
        happen("next")

        subscription.refresh_from_db()
        assert (subscription.consecutive_failures, subscription.failing_since) == (9, soon)
        assert subscription.resting_until is None
        assert len(claim(soon)) == 1

    def test_opens_at_the_tenth(self, broken: Subscription, soon: datetime) -> None:
        happen("next")

        assert broken.resting_until == soon + 5 * SECOND
        assert not claims.anything_due(soon + 4.9 * SECOND)
        assert claim(soon + 4.9 * SECOND) == []

    def test_is_kept_closed_by_a_success_between(self, subscription: Subscription, soon: datetime) -> None:
        for _ in range(3):
            fail(5, soon)
            happen("works")
            record(claim(soon), soon)

        subscription.refresh_from_db()
        assert (subscription.consecutive_failures, subscription.failing_since) == (0, None)
        assert told("subscription.failing") == []

    @pytest.mark.usefixtures("broken")
    def test_lets_one_probe_out_at_a_time_its_longest_due(self, soon: datetime) -> None:
        happen_often(3, subjects=3)
        rested = soon + 5 * SECOND

        [probe] = claim(rested)

        assert Delivery.objects.get(pk=probe.id).subject == "sub_0"
        assert claim(rested) == []

    def test_spends_no_attempts_but_the_probes_and_waits_twice_as_long_each_time(
        self, broken: Subscription, soon: datetime
    ) -> None:
        happen_often(30, subjects=30)
        moment, gaps = soon + 5 * SECOND, []
        for _ in range(12):
            record(claim(moment), moment, status=500)
            broken.refresh_from_db()
            assert broken.resting_until is not None
            gaps.append((broken.resting_until - moment).total_seconds())
            moment = broken.resting_until

        assert gaps == [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600, 3600]
        assert Attempt.objects.count() == 12

    def test_is_closed_by_a_success(self, broken: Subscription, soon: datetime) -> None:
        happen_often(20, subjects=20)
        rested = soon + 5 * SECOND

        record(claim(rested), rested)

        broken.refresh_from_db()
        assert (broken.consecutive_failures, broken.resting_until, broken.failing_since) == (0, None, None)
        assert len(claim(rested)) == broken.max_in_flight

    def test_is_not_held_open_longer_by_what_was_under_way_when_it_opened(
        self, subscription: Subscription, soon: datetime
    ) -> None:
        Subscription.objects.update(max_in_flight=50)
        happen_often(30, subjects=30)

        claimed = claim(soon)
        record(claimed[:15], soon, status=500)
        record(claimed[15:], soon + SECOND, status=500)

        subscription.refresh_from_db()
        assert (subscription.consecutive_failures, subscription.resting_until) == (10, soon + 5 * SECOND)

    @pytest.mark.parametrize(("asked", "hours"), [(timedelta(hours=2), 2), (timedelta(days=30), 10)])
    def test_rests_for_as_long_as_the_receiver_asks_up_to_ten_hours(
        self, broken: Subscription, soon: datetime, asked: timedelta, hours: int
    ) -> None:
        happen()
        rested = (soon + 6 * SECOND).replace(microsecond=0)

        record(claim(rested), rested, status=503, retry_after=format_datetime(rested + asked, usegmt=True))

        broken.refresh_from_db()
        assert broken.resting_until == rested + timedelta(hours=hours)

    def test_is_closed_by_who_resumes_it(self, broken: Subscription, soon: datetime) -> None:
        subscriptions.pause(broken, by="ann", now=soon)
        subscriptions.resume(broken, by="ann", now=soon)
        happen("next")

        assert len(claim(soon)) == 1

    def test_tells_when_it_opens_and_when_it_closes(self, broken: Subscription, soon: datetime) -> None:
        [failing] = told("subscription.failing")
        happen()
        rested = soon + 5 * SECOND
        record(claim(rested), rested)

        [recovered] = told("subscription.recovered")
        assert (failing["subscription_id"], failing["consecutive_failures"]) == (broken.public_id, 10)
        assert (recovered["consecutive_failures"], recovered["failing_since"]) == (10, failing["failing_since"])

    def test_costs_a_batch_that_is_well_no_statement(
        self, subscription: Subscription, soon: datetime, django_assert_num_queries: Any
    ) -> None:
        happen_often(8, subjects=8)
        claimed = claim(soon)

        # The update, the attempts, and the test's savepoint around them.
        with django_assert_num_queries(4):
            record(claimed, soon)

    @pytest.mark.usefixtures("subscription")
    def test_costs_a_batch_that_failed_two_statements_more(
        self, soon: datetime, django_assert_num_queries: Any
    ) -> None:
        happen_often(8, subjects=8)
        claimed = claim(soon)

        with django_assert_num_queries(8 + 3 + 2):
            record(claimed, soon, status=500)


class TestThrottle:
    @pytest.mark.parametrize("status", [429, 503])
    def test_lets_one_out_at_a_time_until_a_success(
        self, status: int, subscription: Subscription, soon: datetime
    ) -> None:
        happen_often(20, subjects=20)
        first, *others = claim(soon)
        record([first], soon, status=status)
        assert claim(soon) == []

        record(others, soon + SECOND, status=status)
        [alone] = claim(soon + SECOND)
        assert claim(soon + SECOND) == []

        record([alone], soon + SECOND)
        assert len(claim(soon + SECOND)) == subscription.max_in_flight

    @pytest.mark.usefixtures("subscription")
    def test_is_not_for_other_failures(self, soon: datetime) -> None:
        fail(1, soon)
        happen_often(20, subjects=20)

        assert len(claim(soon)) == 8


class TestDisabling:
    def test_comes_at_once_with_410(self, subscription: Subscription, soon: datetime) -> None:
        happen()

        record(claim(soon), soon, status=410)

        subscription.refresh_from_db()
        assert (subscription.state, subscription.state_reason) == ("disabled", "The receiver answered 410 Gone.")
        assert (subscription.state_changed_by, subscription.state_changed_at) == ("system", soon)
        happen("later")
        assert Delivery.objects.get(subject="later").state == "skipped"

    def test_comes_after_five_days_without_one_success(self, broken: Subscription, soon: datetime) -> None:
        happen()
        almost, end = soon + timedelta(days=5) - SECOND, soon + timedelta(days=5)
        record(claim(almost), almost, status=500)
        broken.refresh_from_db()
        assert broken.state == "active"

        happen("other")
        Subscription.objects.update(resting_until=end)
        record(claim(end), end, status=500)

        broken.refresh_from_db()
        assert broken.state == "disabled"
        assert broken.state_reason == f"No success since {soon:%Y-%m-%d %H:%M} UTC."

    def test_is_told_to_the_others_and_never_to_itself(self, subscription: Subscription, soon: datetime) -> None:
        Subscription.objects.update(event_types=["*"])
        other = make_subscription(name="other", event_types=["subscription.*"])
        happen()

        record(claim(soon), soon, status=410)

        [disabled] = told("subscription.disabled")
        assert (disabled["subscription_id"], disabled["state"]) == (subscription.public_id, "disabled")
        owed = Delivery.objects.filter(event_type="subscription.disabled")
        assert dict(owed.values_list("subscription", "state")) == {subscription.pk: "skipped", other.pk: "pending"}

    def test_is_mailed_to_the_operators_and_to_who_set_it_up(
        self, subscription: Subscription, soon: datetime, settings: Any
    ) -> None:
        settings.BASE_URL = "https://shop.example"
        owner = User.objects.create_user("ann", email="ann@shop.example")
        User.objects.create_superuser("root", email="root@shop.example")
        User.objects.create_superuser("gone", email="gone@shop.example", is_active=False)
        User.objects.create_user("bob", email="bob@shop.example")
        Subscription.objects.update(created_by=owner)
        happen()

        record(claim(soon), soon, status=410)
        notices.send_owed(now=soon)

        [message, other] = mail.outbox
        assert message.subject == other.subject == "ERP is disabled"
        assert [message.to, other.to] == [["ann@shop.example"], ["root@shop.example"]]
        assert "Why:      The receiver answered 410 Gone.\nWho:      system\n" in message.body
        assert f"https://shop.example/admin/webhooks/subscription/{subscription.pk}/change/" in message.body

    def test_by_staff_is_told_in_the_same_way(self, subscription: Subscription, soon: datetime) -> None:
        User.objects.create_superuser("root", email="root@shop.example")

        subscriptions.disable(subscription, by="ann", now=soon, reason="Moved.")
        notices.send_owed(now=soon)

        [disabled] = told("subscription.disabled")
        assert (disabled["state_changed_by"], disabled["state_reason"]) == ("ann", "Moved.")
        assert [message.to for message in mail.outbox] == [["root@shop.example"]]

    def test_happens_once(self, subscription: Subscription, soon: datetime) -> None:
        happen_often(3, subjects=3)

        for one in claim(soon):
            record([one], soon, status=410)

        assert len(told("subscription.disabled")) == 1


class TestDeadSubscriber:
    def test_is_not_even_looked_at_by_the_claims_of_others(
        self, broken: Subscription, soon: datetime, django_assert_num_queries: Any
    ) -> None:
        happen_often(300, subjects=300)
        make_subscription(name="other", event_types=["subscription.*", "webhook.*"])
        happen("only")

        # As for one that is well: the lock (or nothing), the subscriptions, the taking, the savepoint.
        with django_assert_num_queries(5 if connection.vendor == "postgresql" else 4) as statements:
            [claimed] = claim(soon)

        assert claimed.subscription != broken
        assert statements.captured_queries[-2]["sql"].count("UNION ALL") == 1
