"""The walk of a delivery through the engine, against a real receiver."""

import json
from datetime import datetime, timedelta

import pytest
from django.db import transaction
from standardwebhooks.webhooks import Webhook

from tests.receiver import Answer, Receiver
from webhooks import delivery, subscriptions
from webhooks.drain import drain, sender
from webhooks.events import TEST, Ping
from webhooks.models import Attempt, Delivery, Event, Subscription
from webhooks.outbox import emit

pytestmark = pytest.mark.django_db(transaction=True)


def crank() -> None:
    """Drain until every answer has been recorded."""
    drain()
    while sender().in_flight:
        drain()


def subscribe(receiver: Receiver, now: datetime, **options: object) -> Subscription:
    return subscriptions.create(
        name="ERP", url=receiver.url, event_types=["*"], headers={"x-api-key": "k1"}, by="ann", now=now, **options
    )


def happen(subject: str, now: datetime) -> Event:
    with transaction.atomic():
        return emit(TEST, Ping(subject, "a shop", "ann", now))


def make_due() -> None:
    Delivery.objects.filter(state=Delivery.State.PENDING).update(next_attempt_at=datetime(2020, 1, 1).astimezone())


class TestDrain:
    def test_a_stock_library_verifies_what_arrives(self, receiver: Receiver, now: datetime) -> None:
        subscription = subscribe(receiver, now)
        event = happen("sub_1", now)

        crank()

        [received] = receiver.received
        verified = Webhook(subscription.secrets[0]["secret"]).verify(received.body, received.headers)
        assert verified == json.loads(event.body)
        assert received.headers["webhook-id"] == event.public_id
        assert received.headers["x-api-key"] == "k1"
        assert received.headers["content-type"] == "application/json"
        assert Delivery.objects.get().state == "delivered"

    def test_500_500_200_takes_three_attempts_with_one_id_the_same_bytes_and_fresh_timestamps(
        self, receiver: Receiver, now: datetime
    ) -> None:
        subscribe(receiver, now)
        receiver.answers = [Answer(500), Answer(500), Answer(200)]
        happen("sub_1", now)

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

    def test_many_subjects_arrive_once_each_and_each_subject_in_order(self, receiver: Receiver, now: datetime) -> None:
        subscribe(receiver, now)
        with transaction.atomic():
            for n in range(200):
                emit(TEST, Ping(f"sub_{n % 20}", "a shop", "ann", now))

        crank()

        bodies = [json.loads(received.body) for received in receiver.received]
        assert len(bodies) == len({body["id"] for body in bodies}) == 200
        for subject in {body["subject"] for body in bodies}:
            assert [body["sequence"] for body in bodies if body["subject"] == subject] == list(range(1, 11))
