"""A reader of the feed alone, from zero, knows every order as the database does."""

import json
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import Client

from commerce import tokens
from inventory.money import to_text
from orders import checkout, couriers, fulfilment, holds, payments, refunds, returns
from orders.models import Order, Refund, Return, Shipment
from orders.returns import Receipt, Wish
from tests.factories import NOW, make_cart, make_product
from webhooks.errors import DomainError

# The database changes what is skipped, which `tests/webhooks/test_feed.py` shows; not what is told.
ORDERS = 1_000 if connection.vendor == "sqlite" else 200
MOST_STEPS = 6
MINUTE = timedelta(minutes=1)
BY: dict[str, Any] = {"actor": "ann"}
# Of the order block: what the steps of an order move. A parcel's scan has a `status` of its own.
MOVING = ("status", "state", "fulfilment_status", "payment_status", "on_hold", "paid_amount", "refunded_amount")
COUNTED = {
    "order.cancelled": "cancelled",
    "order.packed": "packed",
    "order.shipped": "shipped",
    "order.delivered": "delivered",
}


TAKEN_BACK = {"order.unpacked": ("packed",), "order.shipment.returned": ("packed", "shipped")}


class Shop:
    """Takes random steps of random orders; what the rules refuse is not taken."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now = NOW
        self.steps = [
            *[self.pay] * 4,
            *[self.pack] * 3,
            *[self.ship] * 3,
            self.unpack,
            self.bring_back,
            *[self.deliver] * 3,
            self.confirm,
            self.scan,
            self.cancel,
            self.hold,
            self.release,
            self.send_back,
            self.receive,
            self.refund,
            self.settle_refund,
            self.expire,
        ]
        for n in range(20):
            make_product(f"SKU-{n}", on_hand=10_000)

    def live(self) -> None:
        skus = self.random.sample(range(20), self.random.choice((1, 1, 2)))
        cart = make_cart(
            *((f"SKU-{n}", self.random.randint(1, 3)) for n in skus), method=self.random.choice(("card", "card", "cod"))
        )
        order = checkout.place(cart, actor="storefront", now=self.now)
        for _ in range(self.random.randint(0, MOST_STEPS)):
            self.now += MINUTE
            with suppress(DomainError):
                self.random.choice(self.steps)(Order.objects.get(pk=order.pk))

    def some(self, order: Order) -> tuple[str, int]:
        line = self.random.choice(order.items)
        return line.public_id, self.random.randint(1, line.quantity)

    def pay(self, order: Order) -> None:
        payments.record(
            order.public_id,
            result=self.random.choice(("success", "success", "success", "failed")),
            kind="cod_collection" if order.is_cash_on_delivery else self.random.choice(("authorisation", "capture")),
            amount_minor=order.total_minor,
            currency=order.currency,
            method=order.payment_method,
            gateway="stripe",
            gateway_reference=f"ch_{self.random.random()}",
            now=self.now,
            **BY,
        )

    def confirm(self, order: Order) -> None:
        checkout.confirm(order.public_id, now=self.now, **BY)

    def pack(self, order: Order) -> None:
        some = dict([self.some(order)]) if self.random.random() < 0.3 else None
        fulfilment.pack(order.public_id, quantities=some, now=self.now, **BY)

    def ship(self, order: Order) -> None:
        for parcel in Shipment.objects.filter(order=order):
            fulfilment.ship(parcel.public_id, carrier="DHL", tracking_number=f"JD{parcel.pk}", now=self.now, **BY)

    def unpack(self, order: Order) -> None:
        for parcel in Shipment.objects.filter(order=order):
            fulfilment.unpack(parcel.public_id, now=self.now, **BY)

    def bring_back(self, order: Order) -> None:
        for parcel in Shipment.objects.filter(order=order):
            condition = self.random.choice(("sellable", "lost"))
            receipts = [Receipt(each.line.public_id, each.quantity, condition) for each in parcel.contents]
            fulfilment.bring_back(parcel.public_id, receipts=receipts, now=self.now, **BY)

    def deliver(self, order: Order) -> None:
        for parcel in Shipment.objects.filter(order=order):
            fulfilment.deliver(parcel.public_id, delivered_at=self.now, source="staff", now=self.now, **BY)

    def scan(self, order: Order) -> None:
        for parcel in Shipment.objects.filter(order=order):
            word = self.random.choice(("in_transit", "out_for_delivery", "attempt_failed", "delivered"))
            couriers.track(parcel.public_id, status=word, occurred_at=self.now, source="dhl", now=self.now)

    def cancel(self, order: Order) -> None:
        some = dict([self.some(order)]) if self.random.random() < 0.5 else None
        checkout.cancel(order.public_id, reason="changed", quantities=some, now=self.now, **BY)

    def hold(self, order: Order) -> None:
        holds.place(order.public_id, kind="manual", reason="Call first", now=self.now, **BY)

    def release(self, order: Order) -> None:
        holds.release(order.public_id, now=self.now, **BY)

    def send_back(self, order: Order) -> None:
        wishes = [Wish(*self.some(order))]
        returns.open_return(order.public_id, wishes=wishes, reason="Too small", now=self.now, **BY)

    def receive(self, order: Order) -> None:
        for goods in Return.objects.filter(order=order):
            line_id, quantity = self.some(order)
            receipts = [Receipt(line_id, quantity, condition=self.random.choice(("sellable", "damaged")))]
            returns.receive_return(goods.public_id, receipts=receipts, now=self.now, **BY)

    def refund(self, order: Order) -> None:
        refunds.request(
            order.public_id, amount_minor=100, currency=order.currency, reason="Scratched", now=self.now, **BY
        )

    def settle_refund(self, order: Order) -> None:
        for refund in Refund.objects.filter(order=order, state=Refund.State.REQUESTED):
            refunds.processed(refund.public_id, gateway_reference=f"re_{refund.pk}", now=self.now, **BY)

    def expire(self, order: Order) -> None:
        if order.hold_expires_at is not None:
            checkout.expire(order.public_id, now=order.hold_expires_at)


class Reader:
    """Knows nothing but the events, as they come."""

    def __init__(self) -> None:
        self.orders: dict[str, dict[str, Any]] = {}
        self.units: dict[str, Counter[str]] = {}
        self.parcels: dict[str, dict[str, str | None]] = {}

    def read(self, event: dict[str, Any]) -> None:
        data, kind, order_id = event["data"], event["type"], event["subject"]
        if kind == "order.created":
            self.orders[order_id] = {name: data[name] for name in MOVING} | {"total_amount": data["total_amount"]}
            self.units[order_id] = Counter()
            self.parcels[order_id] = {}
        elif kind.startswith("order."):
            told = MOVING if not kind.startswith("order.tracking") else MOVING[1:]
            self.orders[order_id] |= {name: data[name] for name in told}
        elif kind.startswith("payment."):
            self._pay(self.orders[order_id], data, succeeded=kind == "payment.success")
        if counter := COUNTED.get(kind):
            self.units[order_id] += Counter({f"{line['sku']} {counter}": line["quantity"] for line in data["lines"]})
        for counter in TAKEN_BACK.get(kind, ()):
            self.units[order_id] -= Counter({f"{line['sku']} {counter}": line["quantity"] for line in data["lines"]})
        if "shipment_id" in data and kind in COUNTED:
            self.parcels[order_id][data["shipment_id"]] = data.get("tracking_number")
        elif kind == "order.unpacked":
            del self.parcels[order_id][data["shipment_id"]]

    @staticmethod
    def _pay(order: dict[str, Any], data: dict[str, Any], *, succeeded: bool) -> None:
        order |= {"state": data["order_state"], "payment_status": data["payment_status"]}
        if succeeded and data["kind"] != "authorisation":
            order["paid_amount"] = str(Decimal(order["paid_amount"]) + Decimal(data["amount"]))


@pytest.mark.django_db(transaction=True)
def test_every_order_is_rebuilt_from_its_events(client: Client) -> None:
    """A thousand lives of orders, each of some random steps: long, because the claim is about any of them."""
    shop = Shop(seed=20261124)
    with transaction.atomic():
        for _ in range(ORDERS):
            shop.live()
    reader = Reader()

    for event in feed(client):
        if event["type"].startswith(("order.", "payment.")):
            reader.read(event)

    differing = [
        (order.number, name, known, known_to_reader[name])
        for order in Order.objects.with_items()
        for known_to_reader in [as_read(reader, order.public_id)]
        for name, known in as_known(order).items()
        if known != known_to_reader[name]
    ]
    assert differing == []
    assert len(reader.orders) == ORDERS
    assert len({order["status"] for order in reader.orders.values()}) >= 6


def feed(client: Client) -> Iterator[dict[str, Any]]:
    headers = {"Authorization": f"Bearer {tokens.issue('BI', scopes=['events'])}"}
    url = "/api/v1/events/?page_size=200"
    while url:
        page = json.loads(client.get(url, headers=headers).content)
        yield from page["results"]
        url = page["next"]


def as_known(order: Order) -> dict[str, Any]:
    """As the database has it."""
    units = {f"{line.sku} {name}": getattr(line, name) for line in order.items for name in COUNTED.values()}
    return {
        **{name: getattr(order, name) for name in MOVING[:5]},
        "paid_amount": to_text(order.paid_minor, order.currency),
        "refunded_amount": to_text(order.refunded_minor, order.currency),
        "total_amount": to_text(order.total_minor, order.currency),
        "units": {name: count for name, count in units.items() if count},
        "parcels": {
            parcel.public_id: parcel.tracking_number or None
            for parcel in Shipment.objects.filter(order=order).exclude(state="unpacked")
        },
    }


def as_read(reader: Reader, order_id: str) -> dict[str, Any]:
    return reader.orders[order_id] | {
        "units": dict(reader.units[order_id]),
        "parcels": reader.parcels[order_id],
    }
