from datetime import datetime
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone

ORDERS = "/admin/orders/order/"


@pytest.fixture
def now() -> datetime:
    return timezone.now()


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("ann"))
    return client


def log_in_with(*permissions: str) -> Client:
    """A member of staff who may do just that."""
    user = User.objects.create_user("ben", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


def said(page: Any) -> list[str]:
    """The messages that a page shows."""
    return [str(message) for message in page.context["messages"]]
