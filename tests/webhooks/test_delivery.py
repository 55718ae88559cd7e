from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.receiver import Answer, Receiver
from tests.webhooks.factories import crank, happen, happen_often, make_subscription
from webhooks import claims, connections, delivery, retry, transport
from webhooks.claims import LEASE, Claimed
from webhooks.delivery import Sent
from webhooks.models import Attempt, Delivery, Subscription
from webhooks.transport import Outcome, Reason

pytestmark = pytest.mark.django_db

# Everything the tests make is due by then.
SOON = timedelta(seconds=10)


@pytest.fixture
def soon(now: datetime) -> datetime:
    return now + SOON


def claim(limit: int, *, now: datetime, owner: str = "w1") -> list[Claimed]:
    return claims.claim(limit, owner=owner, now=now)


def record(
    claimed: Sequence[Claimed], *, now: datetime, reason: Reason | None = None, owner: str = "w1", **outcome: Any
) -> int:
    """Write down that each ended so; how many were still ours."""
    status = 200 if reason is None else 500
    sent = [Sent(one, Outcome(now, status_code=status, reason=reason, **outcome)) for one in claimed]
    return delivery.record(sent, owner=owner, now=now)


def the_only() -> Delivery:
    return Delivery.objects.get()


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
