from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction

from tests.receiver import Answer, Receiver
from tests.webhooks.factories import crank, happen, happen_often, make_due, make_subscription
from webhooks import claims, connections, delivery, retry, transport, turns
from webhooks.claims import LEASE, Claimed
from webhooks.delivery import Sent
from webhooks.events import TEST, Ping
from webhooks.models import Attempt, Delivery, Subscription
from webhooks.outbox import emit
from webhooks.transport import Outcome, Reason

pytestmark = pytest.mark.django_db

# Everything the tests make is due by then.
SOON = timedelta(seconds=10)


@pytest.fixture
def soon(now: datetime) -> datetime:
    return now + SOON


def claim(limit: int, *, now: datetime, owner: str = "w1") -> list[Claimed]:
    return claims.claim(limit, owner=owner, now=now)


def told(claimed: Sequence[Claimed]) -> list[tuple[str, int]]:
    """Subject and sequence of each."""
    rows = Delivery.objects.in_bulk([one.id for one in claimed])
    return [(rows[one.id].subject, rows[one.id].event.sequence) for one in claimed]


def record(
    claimed: Sequence[Claimed], *, now: datetime, reason: Reason | None = None, owner: str = "w1", **outcome: Any
) -> int:
    """Write down that each ended so; how many were still ours."""
    status = 200 if reason is None else 500
    sent = [Sent(one, Outcome(now, status_code=status, reason=reason, **outcome)) for one in claimed]
    return delivery.record(sent, owner=owner, now=now)


def the_only() -> Delivery:
    return Delivery.objects.get()


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


class TestRecord:
    @pytest.fixture
    def claimed(self, soon: datetime) -> list[Claimed]:
        make_subscription(headers={"x-api-key": "k1"}, event_types=["webhook.*"])
        happen()
        return claim(1, now=soon)

    def test_of_a_success_ends_it_and_keeps_the_attempt(self, claimed: list[Claimed], soon: datetime) -> None:
        later = soon + timedelta(seconds=1)

        assert record(claimed, now=later, duration_ms=12, response_body="ok") == 1

        row = the_only()
        assert (row.state, row.delivered_at, row.attempt_count) == ("delivered", later, 1)
        assert (row.last_status_code, row.last_reason, row.lease_owner, row.lease_until) == (200, "", "", None)
        attempt = row.attempts.get()
        assert (attempt.number, attempt.status_code, attempt.reason, attempt.duration_ms) == (1, 200, "", 12)
        assert (attempt.response_body, attempt.worker, attempt.url) == ("ok", "w1", claimed[0].subscription.url)
        assert attempt.succeeded

    def test_of_a_failure_makes_it_due_again_behind_live_ones(self, claimed: list[Claimed], soon: datetime) -> None:
        record(claimed, now=soon, reason=Reason.HTTP_5XX, detail="It failed with 500.")

        row = the_only()
        assert (row.state, row.lane, row.attempt_count) == ("pending", Delivery.Lane.LATE, 1)
        assert (row.last_status_code, row.last_reason, row.delivered_at) == (500, "http_5xx", None)
        assert row.next_attempt_at is not None
        assert timedelta(seconds=5) <= row.next_attempt_at - soon <= timedelta(seconds=5.5)
        assert row.attempts.get().detail == "It failed with 500."

    def test_of_a_failure_heeds_retry_after(self, claimed: list[Claimed], soon: datetime) -> None:
        record(claimed, now=soon, reason=Reason.HTTP_5XX, retry_after="120")

        assert the_only().next_attempt_at == soon + timedelta(seconds=120)

    @pytest.mark.parametrize("junk", ["soon", "", "Mon, 23 Nov 2026 10:05:00 +99999999999999999999"])
    def test_of_a_failure_ignores_a_retry_after_that_is_junk(
        self, junk: str, claimed: list[Claimed], soon: datetime
    ) -> None:
        record(claimed, now=soon, reason=Reason.HTTP_5XX, retry_after=junk)

        due = the_only().next_attempt_at
        assert due is not None
        assert due - soon <= timedelta(seconds=5.5)

    @pytest.mark.parametrize("reason", list(Reason))
    def test_keeps_every_reason(self, reason: Reason, claimed: list[Claimed], soon: datetime) -> None:
        record(claimed, now=soon, reason=reason)

        assert (the_only().last_reason, Attempt.objects.get().reason) == (reason, reason)

    @pytest.mark.parametrize("reason", [None, Reason.HTTP_5XX])
    def test_is_the_owners_alone(self, reason: Reason | None, claimed: list[Claimed], soon: datetime) -> None:
        assert record(claimed, now=soon, reason=reason, owner="w2") == 0

        row = the_only()
        assert (row.state, row.lease_owner, row.attempt_count) == ("sending", "w1", 0)
        assert not Attempt.objects.exists()

    def test_comes_too_late_when_the_lease_has_run_out(self, claimed: list[Claimed], soon: datetime) -> None:
        after = soon + LEASE
        claims.recover_leases(after)
        [again] = claim(1, now=after, owner="w2")

        assert record(claimed, now=after) == 0
        assert the_only().lease_owner == "w2"
        assert record([again], now=after, owner="w2") == 1

        assert list(Attempt.objects.order_by("number").values_list("number", "reason", "worker")) == [
            (1, "worker_lost", "w1"),
            (2, "", "w2"),
        ]

    def test_twice_is_written_once(self, claimed: list[Claimed], soon: datetime) -> None:
        assert [record(claimed, now=soon), record(claimed, now=soon)] == [1, 0]

        assert (Attempt.objects.count(), the_only().attempt_count) == (1, 1)

    def test_of_those_still_ours_is_not_held_up_by_one_that_is_not(self, soon: datetime) -> None:
        make_subscription()
        happen_often(3, subjects=3)
        claimed = claim(3, now=soon)
        Delivery.objects.filter(pk=claimed[1].id).update(lease_owner="w2")

        assert record(claimed, now=soon) == 2

        assert sorted(Attempt.objects.values_list("delivery_id", flat=True)) == [claimed[0].id, claimed[2].id]
        assert Delivery.objects.filter(state="delivered").count() == 2

    def test_of_a_deleted_subscription_is_dropped(self, claimed: list[Claimed], soon: datetime) -> None:
        Subscription.objects.all().delete()

        assert record(claimed, now=soon) == 0


class TestRecoverLeases:
    def test_gives_back_what_a_lost_worker_held_and_says_so(self, soon: datetime) -> None:
        make_subscription()
        happen()
        claim(1, now=soon)
        after = soon + LEASE

        assert claims.recover_leases(after - timedelta(milliseconds=1)) == 0
        assert claims.recover_leases(after) == 1

        row = the_only()
        assert (row.state, row.next_attempt_at, row.lane, row.attempt_count) == (
            "pending",
            after,
            Delivery.Lane.LATE,
            1,
        )
        assert (row.lease_owner, row.lease_until, row.last_reason) == ("", None, "worker_lost")
        attempt = row.attempts.get()
        assert (attempt.number, attempt.reason, attempt.worker) == (1, "worker_lost", "w1")
        assert (attempt.started_at, attempt.duration_ms, attempt.status_code) == (
            soon,
            LEASE.total_seconds() * 1000,
            None,
        )

    def test_sends_it_again_with_the_same_id(self, soon: datetime) -> None:
        make_subscription()
        happen()
        [first] = claim(1, now=soon)
        claims.recover_leases(soon + LEASE)

        [second] = claim(1, now=soon + LEASE, owner="w2")

        assert (second.event_id, second.body) == (first.event_id, first.body)
        assert second.attempt_count == 1

    def test_twice_at_once_recovers_once(self, soon: datetime) -> None:
        make_subscription()
        happen()
        claim(1, now=soon)

        assert [claims.recover_leases(soon + LEASE), claims.recover_leases(soon + LEASE)] == [1, 0]
        assert Attempt.objects.count() == 1

    def test_comes_after_the_worst_attempt_by_a_margin(self) -> None:
        assert (connections.CONNECT_TIMEOUT_S, transport.DEADLINE_S) == (5, 15)
        # The deadline is looked after in ticks, and what came of it may have to wait for the database.
        assert timedelta(seconds=transport.DEADLINE_S) * 2 <= LEASE


class TestLadder:
    def test_is_climbed_to_its_end_and_then_parked_not_lost(self, soon: datetime) -> None:
        make_subscription(event_types=["webhook.*"])
        event = happen()
        moment, waits = soon, []
        for number in range(1, 11):
            [claimed] = claim(1, now=moment)
            assert claimed.attempt_count == number - 1
            record([claimed], now=moment, reason=Reason.CONNECT)
            due = the_only().next_attempt_at
            if due is not None:
                assert claim(1, now=due - timedelta(milliseconds=1)) == []
                waits.append((due - moment).total_seconds())
                moment = due

        assert all(step <= wait <= step * 1.1 for step, wait in zip(retry.LADDER, waits, strict=True))
        row = the_only()
        assert (row.state, row.attempt_count, row.max_attempts, row.last_reason) == ("parked", 10, 10, "connect")
        assert row.event == event
        assert list(row.attempts.order_by("number").values_list("number", flat=True)) == list(range(1, 11))
        assert not claims.anything_due(moment + timedelta(days=365))

    def test_of_a_subscriptions_own_is_followed(self, soon: datetime) -> None:
        make_subscription(retry_schedule=[60])
        happen()

        record(claim(1, now=soon), now=soon, reason=Reason.TIMEOUT)
        due = the_only().next_attempt_at
        assert due is not None
        assert timedelta(seconds=60) <= due - soon <= timedelta(seconds=66)

        record(claim(1, now=due), now=due, reason=Reason.TIMEOUT)
        assert (the_only().state, the_only().attempt_count) == ("parked", 2)


@pytest.mark.django_db(transaction=True)
class TestSend:
    def test_signs_for_the_moment_and_never_lets_a_header_take_the_engines_place(
        self, receiver: Receiver, now: datetime
    ) -> None:
        make_subscription(receiver.url, headers={"x-api-key": "k1"})
        event = happen()
        [claimed] = claim(1, now=now + SOON)
        claimed.subscription.headers |= {"webhook-id": "forged", "content-type": "text/plain"}

        sent = delivery.send(claimed, now=datetime(2026, 11, 23, 10, 0, 0, 999_999, tzinfo=UTC))

        [received] = receiver.received
        assert received.body == event.body.encode()
        assert received.headers["webhook-id"] == event.public_id
        assert received.headers["webhook-timestamp"] == "1795428000"
        assert received.headers["content-type"] == "application/json"
        assert received.headers["user-agent"].startswith("CommerceEngine/")
        assert received.headers["webhook-attempt"] == "1"
        assert sent.outcome.reason is None

    def test_tells_nothing_to_the_log_that_is_secret(self, receiver: Receiver, now: datetime) -> None:
        subscription = make_subscription(
            receiver.url, headers={"X-Shop": "s3cret-k1", "Authorization": "Bearer s3cret"}
        )
        receiver.answers = [Answer(500, headers={"set-cookie": "s3cret"})]
        happen()

        crank()

        attempt = Attempt.objects.get()
        log = repr((attempt.request_headers, attempt.response_headers, attempt.response_body, attempt.detail))
        assert "s3cret" not in log
        assert subscription.secrets[0]["secret"] not in log
        assert receiver.received[0].headers["webhook-signature"] not in log
        assert receiver.received[0].headers["x-shop"] == "s3cret-k1"
