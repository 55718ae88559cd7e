from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction

from tests.webhooks.factories import happen, happen_often, make_due, make_subscription
from tests.webhooks.test_delivery import SOON, claim, record, the_only
from webhooks import claims, turns
from webhooks.claims import LEASE, Claimed
from webhooks.events import TEST, Ping
from webhooks.models import Attempt, Delivery, Subscription
from webhooks.outbox import emit
from webhooks.transport import Reason

pytestmark = pytest.mark.django_db


@pytest.fixture
def soon(now: datetime) -> datetime:
    return now + SOON


def told(claimed: Sequence[Claimed]) -> list[tuple[str, int]]:
    """Subject and sequence of each."""
    rows = Delivery.objects.in_bulk([one.id for one in claimed])
    return [(rows[one.id].subject, rows[one.id].event.sequence) for one in claimed]


class TestClaim:
    def test_takes_a_lease_in_the_owners_name(self, soon: datetime) -> None:
        make_subscription()
        event = happen()

        [claimed] = claim(10, now=soon)

        assert (claimed.event_id, claimed.body) == (event.public_id, event.body)
        assert (claimed.attempt_count, claimed.redelivery) == (0, False)
        row = the_only()
        assert (row.state, row.lease_owner, row.lease_until) == ("sending", "w1", soon + LEASE)
        assert (row.claimed_at, row.next_attempt_at) == (soon, None)

    def test_takes_what_is_claimed_no_second_time(self, soon: datetime) -> None:
        make_subscription()
        happen()
        claim(10, now=soon)

        assert claim(10, now=soon, owner="w2") == []
        assert the_only().lease_owner == "w1"

    def test_takes_nothing_before_it_is_due(self, now: datetime) -> None:
        make_subscription()
        happen()
        Delivery.objects.update(next_attempt_at=now + timedelta(seconds=5))

        assert claim(10, now=now + timedelta(seconds=4.9)) == []
        assert len(claim(10, now=now + timedelta(seconds=5))) == 1

    @pytest.mark.parametrize("state", ["paused", "disabled", "draft"])
    def test_takes_nothing_for_a_subscription_that_is_not_active(self, state: str, soon: datetime) -> None:
        make_subscription()
        happen()
        Subscription.objects.update(state=state)

        assert not claims.anything_due(soon)
        assert claim(10, now=soon) == []

    @pytest.mark.parametrize("state", ["delivered", "parked", "skipped", "superseded"])
    def test_takes_nothing_that_has_ended(self, state: str, soon: datetime) -> None:
        make_subscription()
        happen()
        Delivery.objects.update(state=state, next_attempt_at=None)

        assert not claims.anything_due(soon)
        assert claim(10, now=soon) == []

    def test_takes_no_more_than_asked_the_longest_due_first(self, soon: datetime) -> None:
        make_subscription()
        for n in range(5):
            happen(f"sub_{n}")

        assert told(claim(3, now=soon)) == [("sub_0", 1), ("sub_1", 1), ("sub_2", 1)]

    def test_takes_live_ones_before_late_ones(self, soon: datetime) -> None:
        make_subscription()
        for n in range(3):
            happen(f"sub_{n}")
        Delivery.objects.filter(subject="sub_0").update(lane=Delivery.Lane.LATE)

        assert told(claim(2, now=soon)) == [("sub_1", 1), ("sub_2", 1)]
        assert told(claim(2, now=soon)) == [("sub_0", 1)]

    def test_takes_in_three_statements_or_so_however_many(
        self, soon: datetime, django_assert_max_num_queries: Any
    ) -> None:
        for n in range(5):
            make_subscription(name=str(n))
        happen_often(10, subjects=10)

        # The savepoint of this test's transaction is opened and closed beside them.
        with django_assert_max_num_queries(5):
            claimed = claim(100, now=soon)

        assert len(claimed) == 40

    def test_takes_live_ones_of_all_before_late_ones_of_any(self, now: datetime, soon: datetime) -> None:
        make_subscription(name="has failed", event_types=["webhook.*"], max_in_flight=100)
        happen_often(20, subjects=20)
        Delivery.objects.update(lane=Delivery.Lane.LATE, next_attempt_at=now - timedelta(hours=1))
        live = make_subscription(name="is well", max_in_flight=100)
        for n in range(5):
            with transaction.atomic():
                emit(TEST, Ping(f"new_{n}", "a shop", "ann", now), only_to=live)

        first = claim(5, now=soon)

        assert {one.subscription for one in first} == {live}

    def test_looks_at_nothing_when_nothing_is_due(self, soon: datetime, django_assert_max_num_queries: Any) -> None:
        make_subscription()

        with django_assert_max_num_queries(1):
            assert not claims.anything_due(soon)


class TestLimit:
    def test_on_sends_in_flight_holds_within_one_claim(self, soon: datetime) -> None:
        make_subscription(max_in_flight=3)
        happen_often(10, subjects=10)

        assert len(claim(100, now=soon)) == 3

    def test_on_sends_in_flight_holds_across_claims(self, soon: datetime) -> None:
        make_subscription(max_in_flight=3)
        happen_often(10, subjects=10)
        first = claim(2, now=soon)

        assert len(claim(100, now=soon, owner="w2")) == 1
        assert claim(100, now=soon, owner="w3") == []

        record(first, now=soon)
        assert len(claim(100, now=soon, owner="w3")) == 2

    def test_counts_both_lanes_together(self, soon: datetime) -> None:
        make_subscription(max_in_flight=3)
        happen_often(10, subjects=10)
        Delivery.objects.filter(subject__gte="sub_2").update(lane=Delivery.Lane.LATE)

        assert told(claim(100, now=soon)) == [("sub_0", 1), ("sub_1", 1), ("sub_2", 1)]

    def test_of_one_subscription_leaves_room_for_the_others(self, soon: datetime) -> None:
        slow = make_subscription(name="slow", max_in_flight=2)
        make_subscription(name="quick", max_in_flight=100)
        happen_often(20, subjects=20)

        claimed = claim(100, now=soon)

        assert len([one for one in claimed if one.subscription == slow]) == 2
        assert len(claimed) == 22

    def test_of_the_claim_is_shared_by_age_not_by_subscription(self, now: datetime, soon: datetime) -> None:
        make_subscription(name="full of old ones", event_types=["webhook.test"], max_in_flight=100)
        happen_often(50, subjects=50)
        Delivery.objects.update(next_attempt_at=now - timedelta(hours=1))
        late = make_subscription(name="has one new")
        happen("sub_new")

        assert late not in {one.subscription for one in claim(10, now=soon)}
        assert late in {one.subscription for one in claim(100, now=soon)}


class TestOrder:
    def test_never_has_two_of_a_subject_in_flight(self, soon: datetime) -> None:
        make_subscription(max_in_flight=100)
        happen_often(6, subjects=2)

        first = claim(100, now=soon)
        assert told(first) == [("sub_0", 1), ("sub_1", 1)]
        assert claim(100, now=soon, owner="w2") == []

        record(first[:1], now=soon)
        assert told(claim(100, now=soon, owner="w2")) == [("sub_0", 2)]

    def test_is_kept_for_each_subscription_by_itself(self, soon: datetime) -> None:
        one, two = make_subscription(name="one"), make_subscription(name="two")
        happen("sub_1")
        happen("sub_1")
        record([claimed for claimed in claim(100, now=soon) if claimed.subscription == one], now=soon)

        [next_of_one] = claim(100, now=soon)

        assert next_of_one.subscription == one
        assert told([next_of_one]) == [("sub_1", 2)]
        assert Delivery.objects.filter(subscription=two, state="sending").count() == 1

    def test_holds_whichever_lane_the_earlier_is_in(self, soon: datetime) -> None:
        make_subscription()
        happen("sub_1")
        happen("sub_1")
        Delivery.objects.filter(event__sequence=1).update(lane=Delivery.Lane.LATE)

        assert told(claim(100, now=soon)) == [("sub_1", 1)]

    def test_holds_when_the_later_has_been_due_for_longer(self, now: datetime, soon: datetime) -> None:
        make_subscription()
        happen("sub_1")
        happen("sub_1")
        Delivery.objects.filter(event__sequence=2).update(next_attempt_at=now - timedelta(hours=1))

        assert told(claim(100, now=soon)) == [("sub_1", 1)]

    def test_lets_later_ones_pass_a_failed_one(self, soon: datetime) -> None:
        make_subscription()
        happen("sub_1")
        happen("sub_1")
        record(claim(100, now=soon), now=soon, reason=Reason.HTTP_5XX)

        assert told(claim(100, now=soon)) == [("sub_1", 2)]

    def test_when_strict_lets_none_of_the_subject_pass_a_failed_one(self, soon: datetime) -> None:
        make_subscription(ordering=Subscription.Ordering.STRICT)
        for subject in ("sub_1", "sub_1", "sub_2"):
            happen(subject)
        failed, _ = claim(100, now=soon)
        record([failed], now=soon, reason=Reason.HTTP_5XX)
        assert claim(100, now=soon) == []

        make_due()
        again = claim(100, now=soon)
        assert told(again) == [("sub_1", 1)]

        record(again, now=soon)
        assert told(claim(100, now=soon)) == [("sub_1", 2)]

    def test_when_strict_lets_none_of_the_subject_pass_a_parked_one(self, soon: datetime) -> None:
        make_subscription(ordering=Subscription.Ordering.STRICT, retry_schedule=[5])
        happen("sub_1")
        Delivery.objects.update(state="parked", next_attempt_at=None)
        happen("sub_1")
        happen("sub_2")

        assert told(claim(100, now=soon)) == [("sub_2", 1)]

    def test_when_strict_holds_back_this_subject_only_though_much_of_it_waits(self, soon: datetime) -> None:
        make_subscription(ordering=Subscription.Ordering.STRICT)
        happen("sub_1")
        Delivery.objects.update(state="parked", next_attempt_at=None)
        for _ in range(turns.LOOK_AHEAD + 10):
            happen("sub_1")
        happen("sub_2")

        assert told(claim(100, now=soon)) == [("sub_2", 1)]

    @pytest.mark.django_db(transaction=True)
    def test_holds_when_many_workers_claim_at_once(self, soon: datetime) -> None:
        make_subscription(max_in_flight=100)
        happen_often(60, subjects=15)

        def work(owner: str) -> list[tuple[str, int]]:
            done: list[tuple[str, int]] = []
            for _ in range(8):
                mine = claim(4, now=soon, owner=owner)
                subjects = [subject for subject, _ in told(mine)]
                in_flight = Delivery.objects.filter(state="sending", subject__in=subjects)
                assert sorted(in_flight.values_list("subject", flat=True)) == sorted(subjects)
                done += told(mine)
                record(mine, now=soon, owner=owner)
            connection.close()
            return done

        with ThreadPoolExecutor(4) as threads:
            done = [one for part in threads.map(work, ["w1", "w2", "w3", "w4"]) for one in part]

        assert len(done) == len(set(done))
        order = [
            (attempt.delivery.subject, attempt.delivery.event.sequence) for attempt in Attempt.objects.order_by("id")
        ]
        for subject in {subject for subject, _ in order}:
            sequences = [sequence for name, sequence in order if name == subject]
            assert sequences == sorted(sequences)
