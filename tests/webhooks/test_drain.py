"""The walk of a delivery through the engine, against a real receiver."""

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import DataError, OperationalError
from django.db.backends.utils import CursorWrapper
from standardwebhooks.webhooks import Webhook

from tests import receiver as misbehaving
from tests.receiver import Answer, Receiver, running_receiver
from tests.rings import Rings
from tests.webhooks.factories import crank, happen, happen_often, make_due, make_subscription
from webhooks import claims, delivery
from webhooks import drain as drain_module
from webhooks.delivery import Sent
from webhooks.drain import drain, send_now, sender
from webhooks.models import Attempt, Delivery, Subscription

pytestmark = pytest.mark.django_db(transaction=True)


class TestDrain:
    def test_a_stock_library_verifies_what_arrives(self, receiver: Receiver) -> None:
        subscription = make_subscription(receiver.url, headers={"x-api-key": "k1"})
        event = happen("sub_1")

        crank()

        [received] = receiver.received
        verified = Webhook(subscription.secrets[0]["secret"]).verify(received.body, received.headers)
        assert verified == json.loads(event.body)
        assert received.headers["webhook-id"] == event.public_id
        assert received.headers["x-api-key"] == "k1"
        assert received.headers["content-type"] == "application/json"
        assert Delivery.objects.get().state == "delivered"

    def test_500_500_200_takes_three_attempts_with_one_id_the_same_bytes_and_fresh_timestamps(
        self, receiver: Receiver
    ) -> None:
        make_subscription(receiver.url)
        receiver.answers = [Answer(500), Answer(500), Answer(200)]
        happen("sub_1")

        for _ in range(3):
            crank()
            make_due()

        first, second, third = receiver.received
        assert first.body == second.body == third.body
        assert len({received.headers["webhook-id"] for received in receiver.received}) == 1
        assert [received.headers["webhook-attempt"] for received in receiver.received] == ["1", "2", "3"]
        assert list(Attempt.objects.order_by("number").values_list("number", "status_code", "reason")) == [
            (1, 500, "http_5xx"),
            (2, 500, "http_5xx"),
            (3, 200, ""),
        ]
        settled = Delivery.objects.get()
        assert (settled.state, settled.attempt_count) == ("delivered", 3)

    def test_many_subjects_arrive_once_each_and_each_subject_in_order(self, receiver: Receiver) -> None:
        make_subscription(receiver.url)
        happen_often(200, subjects=20)

        crank()

        bodies = [json.loads(received.body) for received in receiver.received]
        assert len(bodies) == len({body["id"] for body in bodies}) == 200
        for subject in {body["subject"] for body in bodies}:
            assert [body["sequence"] for body in bodies if body["subject"] == subject] == list(range(1, 11))


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every statement of every thread, but those that only begin or end transactions."""
    executed: list[str] = []
    execute = CursorWrapper.execute

    def listen(self: CursorWrapper, sql: str, params: Any = None) -> Any:
        if not sql.startswith(("BEGIN", "SAVEPOINT", "RELEASE", "PRAGMA")):
            executed.append(sql)
        return execute(self, sql, params)

    monkeypatch.setattr(CursorWrapper, "execute", listen)
    return executed


class TestCost:
    def test_of_a_backlog_of_1000_is_one_statement_a_delivery_at_most(
        self, receiver: Receiver, statements: list[str]
    ) -> None:
        make_subscription(receiver.url)
        happen_often(1_000, subjects=1_000)
        statements.clear()

        crank()

        assert len(receiver.received) == 1_000
        # On PostgreSQL the attempts are copied, which is no `execute`: once for each settling of the rows they are of.
        copied = sum(sql.startswith('UPDATE "webhooks_delivery"') for sql in statements)
        assert len(statements) + copied <= 1_000

    def test_of_nothing_due_is_one_claim(self, statements: list[str]) -> None:
        make_subscription()
        statements.clear()

        drain()

        assert len(statements) <= 2


class TestIsolation:
    def test_of_one_that_hangs_lets_the_others_pass(self, receiver: Receiver) -> None:
        with running_receiver() as hanging:
            hanging.script = lambda _: misbehaving.SILENCE
            make_subscription(hanging.url, name="hanging", max_in_flight=8)
            make_subscription(receiver.url, name="healthy")
            happen_often(60, subjects=60)
            started = time.monotonic()

            # A cluster drains again whenever something has been recorded.
            while len(receiver.received) < 60 and time.monotonic() - started < 10:
                drain()

            assert len(receiver.received) == 60
            assert len(hanging.received) == 2
        crank()

    def test_of_twenty_that_hang_is_no_delay_to_one_that_is_well(self, receiver: Receiver) -> None:
        with running_receiver() as hanging:
            hanging.script = lambda _: misbehaving.SILENCE
            for n in range(20):
                make_subscription(hanging.url, name=f"hanging {n}", max_in_flight=100)
            happen_often(10, subjects=10)
            drain()
            make_subscription(receiver.url, name="healthy")
            happen("new")
            started = time.monotonic()

            while not receiver.received and time.monotonic() - started < 10:
                drain()

            assert time.monotonic() - started < 1
            assert len(hanging.received) == 40
            Subscription.objects.exclude(name="healthy").update(state="paused")
        crank()

    def test_of_a_bug_in_recording_frees_the_threads(self, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
        make_subscription(receiver.url)
        with monkeypatch.context() as broken:

            def fail(*_: object, **__: object) -> None:
                raise RuntimeError("a bug")

            broken.setattr(delivery, "record", fail)
            happen("sub_1")
            crank()

        assert sender().in_flight == 0
        happen("sub_2")
        crank()
        assert Delivery.objects.get(subject="sub_2").state == "delivered"

    def test_of_an_outcome_that_cannot_be_written_keeps_the_others(
        self, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        record = delivery.record

        def refuse_one(batch: list[Sent], **kwargs: Any) -> int:
            if any("sub_3" in sent.claimed.body for sent in batch):
                raise DataError("value too long")
            return record(batch, **kwargs)

        monkeypatch.setattr(delivery, "record", refuse_one)
        make_subscription(receiver.url)
        happen_often(6, subjects=6)

        crank()

        states = dict(Delivery.objects.values_list("subject", "state"))
        assert {subject for subject, state in states.items() if state == "delivered"} == states.keys() - {"sub_3"}

    def test_of_a_database_that_is_away_for_a_moment_loses_no_outcome(
        self, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(drain_module, "RECORD_RETRY_S", 0.01)
        record, failures = delivery.record, iter(range(3))

        def fail_three_times(*args: Any, **kwargs: Any) -> int:
            if next(failures, None) is not None:
                raise OperationalError("server closed the connection unexpectedly")
            return record(*args, **kwargs)

        monkeypatch.setattr(delivery, "record", fail_three_times)
        make_subscription(receiver.url)
        happen()

        crank()

        assert (Delivery.objects.get().state, len(receiver.received)) == ("delivered", 1)


class TestRing:
    def test_of_a_slow_answer_starts_what_waited_for_it(self, receiver: Receiver, rings: Rings) -> None:
        make_subscription(receiver.url)
        receiver.answers = [Answer(delay_s=1.5)]
        happen("sub_1")
        happen("sub_1")

        drain()
        assert sender().in_flight == 1
        rings()
        while sender().in_flight:
            time.sleep(0.02)

        assert rings() == ["bell"]
        drain()
        assert len(receiver.received) == 2
        crank()


class TestSendNow:
    def test_leaves_to_the_worker_what_a_worker_has_taken(
        self, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(claims, "LEASE", timedelta(seconds=0.2))
        make_subscription(receiver.url)
        happen()
        claims.claim(1, owner="w1", now=datetime.now(UTC))
        row = Delivery.objects.get()

        send_now(row)

        assert receiver.received == []
        assert Delivery.objects.get().lease_owner == "w1"
