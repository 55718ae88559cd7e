from datetime import datetime
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from tests.receiver import Receiver
from webhooks import subscriptions
from webhooks.drain import send_now
from webhooks.models import Delivery, Subscription


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
