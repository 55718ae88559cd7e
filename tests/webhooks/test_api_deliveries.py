"""The delivery log by REST (spec/interface.md)."""

from datetime import UTC, datetime

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from commerce import tokens
from tests.factories import place_order
from tests.receiver import Answer, Receiver
from tests.webhooks.test_api import BASE, MASK, patch, post
from webhooks import subscriptions
from webhooks.drain import send_now
from webhooks.models import Delivery, Subscription

pytestmark = pytest.mark.django_db

DELIVERIES = f"{BASE}deliveries/"


@pytest.fixture
def api() -> Client:
    secret = tokens.issue("OMS", scopes=["webhooks"])
    return Client(headers={"Authorization": f"Bearer {secret}"})


@pytest.fixture
def subscription(receiver: Receiver, now: datetime) -> Subscription:
    return subscriptions.create(
        name="OMS", url=receiver.url, event_types=["order.*"], headers={"X-Key": "s3cret"}, by="ann", now=now
    )


@pytest.fixture
def failed(receiver: Receiver, subscription: Subscription) -> Delivery:
    receiver.answers = [Answer(500, b"down")]
    place_order()
    delivery = Delivery.objects.get()
    send_now(delivery)
    delivery.refresh_from_db()
    return delivery


class TestDeliveries:
    def test_are_listed_without_their_attempts(self, api: Client, failed: Delivery) -> None:
        (listed,) = api.get(DELIVERIES).json()["results"]

        assert listed == {
            "id": failed.public_id,
            "event_id": failed.event.public_id,
            "event_type": "order.created",
            "subject": failed.subject,
            "label": failed.label,
            "subscription_id": failed.subscription.public_id,
            "state": "pending",
            "attempt_count": 1,
            "last_status_code": 500,
            "last_reason": "http_5xx",
            "next_attempt_at": f"{failed.next_attempt_at:%Y-%m-%dT%H:%M:%S.%f}Z",
            "created_at": f"{failed.created_at:%Y-%m-%dT%H:%M:%S.%f}Z",
            "delivered_at": None,
        }

    def test_one_shows_its_attempts_with_secrets_masked(self, api: Client, failed: Delivery) -> None:
        shown = api.get(f"{DELIVERIES}{failed.public_id}/")

        (attempt,) = shown.json()["attempts"]
        assert (attempt["number"], attempt["status_code"], attempt["reason"]) == (1, 500, "http_5xx")
        assert attempt["response_body"] == "down"
        assert ["X-Key", MASK] in attempt["request_headers"]
        assert "s3cret" not in shown.content.decode()

    def test_are_filtered(self, api: Client, failed: Delivery) -> None:
        Delivery.objects.update(created_at=datetime(2026, 1, 2, 3, 4, tzinfo=UTC))
        fits = [
            f"subscription={failed.subscription.public_id}",
            "state=pending",
            "event_type=order.created",
            f"subject={failed.subject}",
            "since=2026-01-02T03:04:00Z",
            "until=2026-01-02T03:04:01Z",
        ]
        fits_not = [
            "subscription=sub_x",
            "state=delivered",
            "event_type=order.shipped",
            "subject=1",
            "since=2026-01-02T03:04:01Z",
            "until=2026-01-02T03:04:00Z",
        ]

        assert [len(api.get(f"{DELIVERIES}?{query}").json()["results"]) for query in fits] == [1] * 6
        assert [len(api.get(f"{DELIVERIES}?{query}").json()["results"]) for query in fits_not] == [0] * 6

    @pytest.mark.parametrize("junk", ["state=eaten", "since=yesterday", "until=2026-13-01T00:00:00Z"])
    def test_a_filter_that_makes_no_sense_is_refused(self, api: Client, junk: str) -> None:
        answer = api.get(f"{DELIVERIES}?{junk}")

        assert answer.status_code == 400
        assert answer.json()["errors"][0]["field"] == junk.partition("=")[0]

    def test_list_costs_two_queries(
        self, api: Client, failed: Delivery, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        with django_assert_num_queries(2):
            api.get(DELIVERIES)

    def test_resend_puts_it_back(self, api: Client, receiver: Receiver, failed: Delivery) -> None:
        answer = post(api, f"{DELIVERIES}{failed.public_id}/resend/")
        send_now(Delivery.objects.get())

        failed.refresh_from_db()
        first, again = receiver.received
        assert (answer.status_code, answer.json()["state"]) == (202, "pending")
        assert (failed.state, failed.resent_by) == ("delivered", "OMS")
        assert (again.body, again.headers["webhook-id"]) == (first.body, first.headers["webhook-id"])

    def test_resend_to_a_disabled_subscription_is_a_conflict(
        self, api: Client, failed: Delivery, now: datetime
    ) -> None:
        subscriptions.disable(failed.subscription, by="ann", now=now, reason="")

        answer = post(api, f"{DELIVERIES}{failed.public_id}/resend/")

        assert (answer.status_code, answer.json()["code"]) == (409, "replay_refused")
        assert Delivery.objects.get().resent_by == ""

    def test_cannot_be_written(self, api: Client, failed: Delivery) -> None:
        url = f"{DELIVERIES}{failed.public_id}/"

        assert post(api, DELIVERIES, {}).status_code == 405
        assert patch(api, url, {"state": "delivered"}).status_code == 405
        assert api.delete(url).status_code == 405
        assert api.get(f"{DELIVERIES}dlv_nothing/").status_code == 404
