"""A shop with one of everything, to send bad input to; and a look at every row it has."""

import json
from datetime import datetime, timedelta
from string import Template
from typing import Any

from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import connection
from django.db.backends.utils import CursorWrapper
from django.test import Client
from django.utils import timezone

from commerce import tokens
from commerce.models import ApiToken, IdempotencyRecord
from orders import fulfilment
from orders.models import Customer, Order, Payment, Shipment
from tests.factories import (
    ask_refund,
    confirm_order,
    deliver_order,
    make_product,
    make_warehouse,
    place_order,
    send_back,
)
from webhooks import subscriptions
from webhooks.models import Delivery, Subscription

# They tell of the request, not of the shop.
JOURNALS = (Session, LogEntry, IdempotencyRecord)


def every_row() -> dict[str, list[tuple[Any, ...]]]:
    """All that the database holds. Without the ORM, which takes longer to ask than the database to answer."""
    models = [model._meta for model in apps.get_models() if model not in JOURNALS]
    with connection.cursor() as cursor:
        return {model.label: _rows(cursor, model.db_table, model.pk.column) for model in models}


def _rows(cursor: CursorWrapper, table: str, key: str) -> list[tuple[Any, ...]]:
    cursor.execute(f'SELECT * FROM "{table}" ORDER BY "{key}"')  # noqa: S608 (the names are our own)
    return list(cursor.fetchall())


class Shop:
    """Its `names` stand for its ids: `$pending` in a path or a body is the id of the order that is pending."""

    def __init__(self) -> None:
        self.owner = User.objects.create_superuser("owner")
        self.clerk = User.objects.create_user("clerk", is_staff=True)
        self.client = Client(raise_request_exception=False)
        now = timezone.now()
        connected = subscriptions.create(
            name="OMS", url="http://127.0.0.1:9/", event_types=["order.*"], headers={}, by="owner", now=now
        )
        self.names = self._sell(now) | self._tell(connected)

    def _sell(self, now: datetime) -> dict[str, str]:
        """An order at every stage."""
        # East of UTC: where a moment near the end of the calendar has no day any more.
        make_warehouse("BER", time_zone="Europe/Berlin")
        product = make_product("MUG", on_hand=50)
        make_product("GONE", on_hand=5, is_active=False)
        pending = place_order(("MUG", 2), now=now)
        confirmed = confirm_order(("MUG", 2), now=now)
        packed, shipped = (self._packed(index) for index in range(2))
        fulfilment.ship(shipped.public_id, carrier="DHL", tracking_number="JD01", actor="ben", now=now)
        delivered = deliver_order(("MUG", 2), now=now)
        opened, refund = send_back(delivered, 1, now=now), ask_refund(delivered, 100, now=now)
        return {
            "product": product.public_id,
            "pending": pending.public_id,
            "pending_key": str(pending.pk),
            "pending_number": pending.number,
            "token": pending.tracking_token,
            "confirmed": confirmed.public_id,
            "confirmed_key": str(confirmed.pk),
            "line": confirmed.items[0].public_id,
            "other_line": pending.items[0].public_id,
            "reference": Payment.objects.get(order=confirmed).gateway_reference,
            "packed": packed.public_id,
            "packed_key": str(packed.order_id),
            "shipped": shipped.public_id,
            "shipped_order": shipped.order.public_id,
            "shipped_key": str(shipped.order_id),
            "shipped_token": shipped.order.tracking_token,
            "delivered": delivered.public_id,
            "delivered_line": delivered.items[0].public_id,
            "delivered_token": delivered.tracking_token,
            "return": opened.public_id,
            "refund": refund.public_id,
            "customer": Customer.objects.get().public_id,
            "customer_key": str(Customer.objects.get().pk),
            "product_key": str(product.pk),
            "level_key": str(product.levels.get().pk),
            "delta": f"delta_{product.levels.get().pk}",
        }

    def _tell(self, connected: Subscription) -> dict[str, str]:
        """What that made for the system that is connected, and two that are about to be."""
        delivery = Delivery.objects.order_by("pk")[0]
        return {
            "subscription": connected.public_id,
            "subscription_key": str(connected.pk),
            "draft": self._draft().public_id,
            "ready": self._draft(name="CRM", url="http://127.0.0.1:9/", event_types=["customer.*"]).public_id,
            "delivery": delivery.public_id,
            "delivery_key": str(delivery.pk),
            "event": delivery.event.public_id,
        }

    @staticmethod
    def _packed(index: int) -> Shipment:
        now = timezone.now()
        order: Order = confirm_order(("MUG", 1 + index), now=now)
        return fulfilment.pack(order.public_id, actor="ben", now=now)[0]

    def _draft(self, **fields: Any) -> Subscription:
        draft = subscriptions.start_draft(self.owner)
        Subscription.objects.filter(pk=draft.pk).update(**fields or {"name": ""})
        return draft

    def token(self, *scopes: str, **binding: Any) -> str:
        return tokens.issue("caller", scopes=scopes or list(tokens.SCOPES), **binding)

    def expired_token(self) -> str:
        return self.token(expires=timezone.now() - timedelta(days=1))

    def revoked_token(self) -> str:
        secret = self.token()
        ApiToken.objects.filter(prefix=secret.partition(".")[0]).update(revoked=True)
        return secret

    def fill(self, text: str) -> str:
        return Template(text).safe_substitute(self.names)

    def send(self, request: str, body: Any = None, *, token: str = "", **headers: str) -> Any:
        """`POST orders/`, with a body as JSON, or as it is if it is bytes. Headers as `content_type="text/plain"`."""
        method, path = self.fill(request).split(" ", 1)
        content = body if isinstance(body, bytes) else b"" if body is None else self.fill(json.dumps(body)).encode()
        sent = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        content_type = sent.pop("Content-Type")
        return self.client.generic(method, f"/api/v1/{path}", content, content_type, headers=sent)
