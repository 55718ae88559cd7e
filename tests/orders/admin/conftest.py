from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db.models import Model
from django.test import Client
from django.utils import timezone

from inventory.models import StockLevel
from orders.models import Order, OrderTransition, Payment, Shipment
from webhooks.models import Event

ORDERS = "/admin/orders/order/"
RETURNS = "/admin/orders/return/"
REFUNDS = "/admin/orders/refund/"


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


def page_of(client: Client, order: Order) -> str:
    return client.get(f"{ORDERS}{order.pk}/change/").content.decode()


def choose(client: Client, path: str, action: str, rows: Sequence[Model]) -> Any:
    form = {"action": action, "_selected_action": [row.pk for row in rows]}
    return client.post(path, form, follow=True)


def fresh(order: Order) -> Order:
    return Order.objects.get(pk=order.pk)


def everything() -> tuple[int, ...]:
    """How much has been written, in rows, versions and units."""
    held = sum(StockLevel.objects.values_list("reserved", flat=True))
    versions = sum(Order.objects.values_list("version", flat=True))
    counts = (OrderTransition.objects.count(), Payment.objects.count(), Shipment.objects.count())
    return (*counts, Event.objects.count(), versions, held)
