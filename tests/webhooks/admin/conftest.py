from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from tests.factories import place_order
from tests.receiver import Answer, Receiver
from webhooks import subscriptions
from webhooks.drain import send_now
from webhooks.models import Delivery, Event, Subscription


@pytest.fixture
def ann() -> User:
    return User.objects.create_superuser("ann")


@pytest.fixture
def staff(client: Client, ann: User) -> Client:
    client.force_login(ann)
    return client


def log_in_with(*permissions: str, username: str = "ben") -> Client:
    """A member of staff who may do just that."""
    user = User.objects.create_user(username, is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def subscription(receiver: Receiver, now: datetime) -> Subscription:
    return make_subscription(receiver.url, now=now)


def make_subscription(url: str, *, now: datetime, **wishes: Any) -> Subscription:
    defaults: dict[str, Any] = {
        "name": "Warehouse system",
        "event_types": ["order.*"],
        "headers": {"Authorization": "Bearer s3cret", "X-Store": "berlin"},
    }
    return subscriptions.create(url=url, by="ann", now=now, **(defaults | wishes))


def send_all() -> None:
    """What the cluster would do, by hand."""
    for delivery in Delivery.objects.filter(state=Delivery.State.PENDING).order_by("id"):
        send_now(delivery)


@pytest.fixture
def failed(receiver: Receiver, subscription: Subscription) -> Delivery:
    """The `order.created` of an order, answered 500 once."""
    receiver.answers = [Answer(500, b'{"error": "<b>down</b>"}', {"set-cookie": "id=s3cret"})]
    place_order()
    send_all()
    return Delivery.objects.get()


def make_deliveries(subscription: Subscription, count: int) -> None:
    """Many rows of one event type, without the domain."""
    events = [
        Event(
            type="order.created", subject=f"ord_{n}", label=f"{n}", sequence=1, body="{}", occurred_at=datetime.now(UTC)
        )
        for n in range(count)
    ]
    Delivery.objects.bulk_create(
        Delivery(
            event=event, subscription=subscription, event_type=event.type, subject=event.subject, label=event.label
        )
        for event in Event.objects.bulk_create(events)
    )
