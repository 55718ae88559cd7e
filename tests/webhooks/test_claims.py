"""The rate of a subscription, that nothing is hidden behind what waits, and that a lease is kept.

What else a claim promises is told in test_delivery.py.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction

from tests.marks import only_on
from tests.webhooks.factories import happen, happen_often, make_subscription
from webhooks import claims, delivery, turns
from webhooks.claims import Claimed
from webhooks.delivery import Sent
from webhooks.models import Delivery, Event, Subscription
from webhooks.transport import Outcome, Reason

pytestmark = pytest.mark.django_db

SECOND = timedelta(seconds=1)


@pytest.fixture
def soon(now: datetime) -> datetime:
    """Everything the tests make is due by then, however long they take to make it."""
    return now + 3600 * SECOND


def claim(now: datetime) -> list[Claimed]:
    return claims.claim(100, owner="w1", now=now)


def arrive() -> None:
    """So that the rate is the only limit."""
    Delivery.objects.filter(state="sending").update(state="delivered")


class TestRate:
    def test_lets_no_more_than_a_seconds_worth_begin_at_once(self, soon: datetime) -> None:
        make_subscription(max_per_second=5, max_in_flight=100)
        happen_often(20, subjects=20)

        assert len(claim(soon)) == 5
        arrive()
        assert claim(soon) == []

    def test_is_kept_over_time_whatever_the_claims_come_at(self, soon: datetime) -> None:
        make_subscription(max_per_second=10, max_in_flight=100)
        happen_often(60, subjects=60)

        begun = []
        for step in range(31):
            begun.append(len(claim(soon + step * SECOND / 10)))
            arrive()

        assert begun == [10] + [1] * 30

    def test_saves_nothing_up_while_there_is_nothing_to_send(self, soon: datetime) -> None:
        make_subscription(max_per_second=5, max_in_flight=100)
        happen_often(2, subjects=2)
        claim(soon)
        happen_often(20, subjects=20)
        arrive()

        assert len(claim(soon + 3600 * SECOND)) == 5

    def test_leaves_the_limit_in_flight_as_it_is(self, soon: datetime) -> None:
        make_subscription(max_per_second=50, max_in_flight=3)
        happen_often(20, subjects=20)

        assert len(claim(soon)) == 3
        assert claim(soon) == []

    def test_costs_one_statement_and_only_who_has_one(self, soon: datetime, django_assert_num_queries: Any) -> None:
        make_subscription(name="free", event_types=["webhook.*"])
        make_subscription(name="limited", event_types=["webhook.*"], max_per_second=5)
        happen_often(3, subjects=3)

        # The lock where there is more than one writer, the subscriptions, the taking, the rate; and the savepoint.
        with django_assert_num_queries(6 if connection.vendor == "postgresql" else 5):
            claim(soon)

        assert list(Subscription.objects.order_by("id").values_list("paced_until", flat=True)) == [
            None,
            soon + 3 * SECOND / 5,
        ]

    @pytest.mark.parametrize("rate", [0, 1001])
    def test_of_none_or_too_many_is_refused(self, rate: int) -> None:
        subscription = make_subscription()
        subscription.max_per_second = rate

        with pytest.raises(ValidationError):
            subscription.full_clean()
        with pytest.raises(IntegrityError), transaction.atomic():
            subscription.save()


def queue_up(subscription: Subscription, subject: str, count: int, *, at: datetime) -> None:
    """So many deliveries about one subject, due then; in two statements."""
    events = Event.objects.bulk_create(
        Event(type="webhook.test", subject=subject, label=subject, sequence=n, body="{}", occurred_at=at)
        for n in range(2, count + 2)
    )
    Delivery.objects.bulk_create(
        Delivery(
            event=event,
            subscription=subscription,
            event_type=event.type,
            subject=subject,
            label=subject,
            next_attempt_at=at,
        )
        for event in events
    )


def told(claimed: list[Claimed]) -> list[str]:
    """Their subjects."""
    rows = Delivery.objects.in_bulk([one.id for one in claimed])
    return [rows[one.id].subject for one in claimed]


class TestWhatWaits:
    """However much of some subjects waits for something earlier, what is due of others goes out at the next claim."""

    @pytest.mark.parametrize(
        "state",
        [
            {"state": "parked", "next_attempt_at": None},
            {"next_attempt_at": datetime(2999, 1, 1, tzinfo=UTC), "attempt_count": 8, "lane": 1},
        ],
    )
    def test_behind_a_failed_one_under_strict_ordering_hides_no_other_subject(
        self, state: dict[str, Any], now: datetime, soon: datetime
    ) -> None:
        subscription = make_subscription(ordering=Subscription.Ordering.STRICT)
        happen("failed")
        Delivery.objects.update(**state)
        queue_up(subscription, "failed", 5_100, at=now - SECOND)
        happen("other")

        assert told(claim(soon)) == ["other"]
        assert claim(soon) == []

    def test_behind_one_that_is_being_sent_hides_no_other_subject(self, now: datetime, soon: datetime) -> None:
        subscription = make_subscription()
        happen("slow")
        claim(soon)
        queue_up(subscription, "slow", turns.LOOK_AHEAD + 10, at=now - SECOND)
        happen("other")

        assert told(claim(soon)) == ["other"]
        assert claim(soon) == []

    def test_behind_one_that_comes_back_hides_no_other_subject(self, now: datetime, soon: datetime) -> None:
        subscription = make_subscription()
        happen("parked")
        Delivery.objects.update(state="parked", next_attempt_at=None, claimed_at=now - SECOND)
        Subscription.objects.update(recovered_at=now)
        queue_up(subscription, "parked", turns.LOOK_AHEAD + 10, at=now - SECOND)
        happen("other")
        happen("other")

        assert told(claim(soon)) == ["other"]
        assert claim(soon) == []

    def test_keeps_the_rate_and_the_limit_in_flight(self, now: datetime, soon: datetime) -> None:
        subscription = make_subscription(max_in_flight=4, max_per_second=2)
        happen("slow")
        claim(soon)
        queue_up(subscription, "slow", turns.LOOK_AHEAD + 10, at=now - SECOND)
        happen_often(5, subjects=5)

        # A second later there are two more, and one is still under way.
        assert [len(claim(soon + n * SECOND)) for n in (1, 2, 3)] == [2, 1, 0]

    def test_of_very_many_subjects_is_looked_through_by_one_claim_after_the_other(
        self, now: datetime, soon: datetime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(turns, "SUBJECTS_PER_CLAIM", 4)
        monkeypatch.setattr(turns, "LOOK_AHEAD", 3)
        subscription = make_subscription(ordering=Subscription.Ordering.STRICT)
        for n in range(10):
            happen(f"failed_{n}")
        Delivery.objects.update(state="parked", next_attempt_at=None)
        for n in range(10):
            queue_up(subscription, f"failed_{n}", 2, at=now - SECOND)
        happen("other")

        found = [told(claim(soon)) for _ in range(4)]

        assert found == [[], [], ["other"], []]

    def test_costs_a_claim_two_statements_and_only_if_something_is_hidden(
        self, now: datetime, soon: datetime, django_assert_num_queries: Any
    ) -> None:
        subscription = make_subscription()
        happen("slow")
        claim(soon)
        queue_up(subscription, "slow", turns.LOOK_AHEAD, at=now - SECOND)
        usual = 5 if connection.vendor == "postgresql" else 4
        with django_assert_num_queries(usual):
            claim(soon)

        happen("other")
        with django_assert_num_queries(usual + 2):
            claimed = claim(soon)

        assert told(claimed) == ["other"]


def answer(claimed: list[Claimed], now: datetime, reason: Reason | None = None) -> None:
    sent = [Sent(one, Outcome(now, status_code=200 if reason is None else 500, reason=reason)) for one in claimed]
    delivery.record(sent, owner="w1", now=now)


class TestShare:
    """What a worker of 64 threads takes at once."""

    def claim(self, now: datetime, *, free: int = 64, owner: str = "w1") -> list[Claimed]:
        return claims.claim(free, owner=owner, now=now, threads=64)

    def test_of_one_that_has_answered_nothing_yet_is_two(self, soon: datetime) -> None:
        make_subscription(max_in_flight=100)
        happen_often(100, subjects=100)

        assert len(self.claim(soon)) == 2
        assert self.claim(soon, free=62) == []
        assert len(self.claim(soon, owner="w2")) == 2

    def test_of_one_that_has_just_answered_is_what_it_may_have_in_flight(self, soon: datetime) -> None:
        subscription = make_subscription()
        happen_often(100, subjects=100)
        answer(self.claim(soon), soon)

        assert len(self.claim(soon + SECOND)) == subscription.max_in_flight

    def test_of_one_that_answered_a_while_ago_is_two_again(self, soon: datetime) -> None:
        make_subscription()
        happen_often(100, subjects=100)
        answer(self.claim(soon), soon)

        assert len(self.claim(soon + 3 * SECOND)) == 2

    def test_of_one_that_fails_is_two_until_a_success(self, soon: datetime) -> None:
        subscription = make_subscription()
        happen_often(100, subjects=100)
        answer(self.claim(soon), soon)
        first, *others = self.claim(soon)
        answer([first], soon, Reason.TIMEOUT)
        assert self.claim(soon, free=57) == []

        answer(others[:6], soon, Reason.TIMEOUT)
        [again] = self.claim(soon, free=63)
        answer([again], soon)
        assert len(self.claim(soon, free=63)) == subscription.max_in_flight - 1

    def test_of_one_that_hangs_grows_no_further(self, soon: datetime) -> None:
        make_subscription()
        happen_often(2, subjects=2)
        answer(self.claim(soon), soon)
        happen_often(4, subjects=4)
        assert len(self.claim(soon + SECOND)) == 4
        happen_often(20, subjects=20)

        assert self.claim(soon + 2.5 * SECOND, free=60) == []

    def test_of_no_one_is_all_of_it(self, soon: datetime) -> None:
        make_subscription(max_in_flight=100)
        happen_often(100, subjects=100)
        answer(self.claim(soon), soon)

        assert len(self.claim(soon)) == 48
        assert self.claim(soon, free=16) == []

    def test_of_all_that_have_not_answered_leaves_a_quarter_to_those_that_have(self, soon: datetime) -> None:
        well = make_subscription(name="is well")
        happen_often(20, subjects=20)
        answer(self.claim(soon), soon)
        Subscription.objects.filter(pk=well.pk).update(state="paused")
        for n in range(40):
            make_subscription(name=f"hangs {n}")
        happen_often(5, subjects=5)
        assert len(self.claim(soon)) == 48
        assert self.claim(soon, free=16) == []

        Subscription.objects.filter(pk=well.pk).update(state="active")
        late = self.claim(soon + SECOND, free=16)

        assert {one.subscription for one in late} == {well}
        assert len(late) == 8


@pytest.mark.django_db(transaction=True)
class TestClaimOne:
    """What a person sends by hand, and waits for."""

    @pytest.fixture
    def second(self, soon: datetime) -> Delivery:
        """Of a subject the first of which is being sent."""
        make_subscription()
        happen("sub_1")
        claim(soon)
        happen("sub_1")
        return Delivery.objects.get(state="pending")

    def test_waits_until_nothing_of_the_subject_is_in_flight(self, second: Delivery, soon: datetime) -> None:
        def take() -> list[Claimed]:
            try:
                return claims.claim_one(second, owner="web", now=soon)
            finally:
                connection.close()

        with ThreadPoolExecutor(1) as threads:
            taking = threads.submit(take)
            time.sleep(0.3)
            assert not taking.done()

            arrive()

            assert [one.id for one in taking.result()] == [second.pk]

    def test_is_left_to_the_workers_when_that_takes_too_long(
        self, second: Delivery, soon: datetime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(claims, "LEASE", SECOND / 5)

        assert claims.claim_one(second, owner="web", now=soon) == []
        assert Delivery.objects.get(pk=second.pk).state == "pending"

    @pytest.mark.usefixtures("second")
    def test_does_not_wait_for_other_subjects(self, soon: datetime) -> None:
        happen("sub_2")
        other = Delivery.objects.get(subject="sub_2")

        assert [one.id for one in claims.claim_one(other, owner="web", now=soon)] == [other.pk]


def test_however_many_subscriptions_there_are_each_gets_its_turn(
    soon: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "SUBSCRIPTIONS_PER_CLAIM", 1)
    for name in ("one", "two", "three"):
        make_subscription(name=name, event_types=["webhook.*"], max_in_flight=1)
    happen_often(60, subjects=60)

    served = set()
    for _ in range(60):
        served |= {one.subscription.name for one in claim(soon)}
        arrive()

    assert served == {"one", "two", "three"}


@pytest.mark.django_db(transaction=True)
@only_on("postgresql", because="SQLite has no server that could lose a commit")
class TestLease:
    def test_is_on_the_disk_before_anything_is_sent(self, soon: datetime) -> None:
        """Else a crash of the database forgets it, and the log never learns of the request."""
        make_subscription()
        happen_often(10, subjects=10)
        written = _position("pg_current_wal_insert_lsn")

        assert len(claim(soon)) == 8

        # The server flushes by itself only five times a second.
        assert _position("pg_current_wal_flush_lsn") > written


@only_on("postgresql", because="SQLite plans each statement anew")
def test_statements_are_never_planned_for_just_their_values(soon: datetime) -> None:
    """That takes ten times as long as running them, and PostgreSQL would do it as soon as a backlog is large."""
    make_subscription()
    happen_often(100, subjects=100)

    for _ in range(12):
        claim(soon)
        arrive()

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT sum(custom_plans), count(*) FILTER (WHERE generic_plans > 0) FROM pg_prepared_statements"
            " WHERE statement ~ 'FROM webhooks_subscription s|UPDATE webhooks_delivery\\s+SET state = .sending'"
        )
        by_values, kept = cursor.fetchone()
    assert (by_values, kept) == (0, 2)


def _position(function: str) -> int:
    """In the write-ahead log, in bytes."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {function}() - '0/0'")
        return int(cursor.fetchone()[0])
