"""The contract with receivers: every event type as the API serves it, and every body as it is sent."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from jsonschema import Draft202012Validator, FormatChecker  # type: ignore[import-untyped]

from commerce import tokens
from inventory import stock
from inventory.models import Product
from orders import checkout, couriers, refunds
from orders.models import Customer
from tests.factories import (
    ask_refund,
    make_cart,
    make_product,
    make_warehouse,
    pay_for,
    place_order,
    send_back,
    ship_order,
    take_back,
)
from webhooks.models import Event

pytestmark = pytest.mark.django_db

OF_THE_MISSION = {
    *("order.return.initiated", "order.refund.processed"),
    *("order.created", "order.confirmed", "order.packed", "order.shipped", "order.delivered", "order.cancelled"),
    *("inventory.updated", "product.updated", "customer.created", "customer.updated"),
    *("payment.success", "payment.failed"),
}
ENVELOPE = {"id", "type", "api_version", "timestamp", "subject", "sequence", "data"}

Served = dict[str, Any]


@pytest.fixture
def served() -> dict[str, Served]:
    """What `GET webhooks/event-types/` says, by name."""
    token = tokens.issue("reader", scopes=["webhooks"])
    answer = Client().get("/api/v1/webhooks/event-types/", headers={"Authorization": f"Bearer {token}"})
    return {event_type["name"]: event_type for event_type in answer.json()["results"]}


def faults(body: dict[str, Any], event_type: Served) -> list[str]:
    validator = Draft202012Validator(event_type["schema"], format_checker=FormatChecker())
    return [error.message for error in validator.iter_errors(body)]


def objects(schema: Any) -> list[dict[str, Any]]:
    """Every object that a schema describes, however deep."""
    if isinstance(schema, list):
        return [found for each in schema for found in objects(each)]
    if not isinstance(schema, dict):
        return []
    found = [found for each in schema.values() for found in objects(each)]
    return [schema, *found] if schema.get("type") == "object" else found


def depth(value: Any) -> int:
    """1 for a flat object; lists do not count, what is in them does."""
    if isinstance(value, list):
        return max((depth(each) for each in value), default=0)
    return 1 + max((depth(each) for each in value.values()), default=0) if isinstance(value, dict) else 0


def walk() -> None:
    """All of the mission, at least once."""
    now = timezone.now()
    parcel = ship_order(now=now)
    product = Product.objects.get()
    for minutes, status in enumerate(("in_transit", "attempt_failed", "delivered"), start=1):
        at = now + timedelta(minutes=minutes)
        couriers.track(parcel.public_id, status=status, occurred_at=at, message="🫖", source="dhl", now=at)
    refund = ask_refund(take_back(send_back(parcel.order, now=now), now=now).order, now=now)
    refunds.processed(refund.public_id, gateway_reference="re_1", actor="stripe", now=now)
    declined = place_order(("MUG", 1), now=now)
    pay_for(declined, reference="ch_declined", result="failed", failure_code="card_declined", now=now)
    checkout.cancel(declined.public_id, reason="Changed my mind", actor="ann", now=now)
    product.name = "Mug, blue"
    product.save()
    customer = Customer.objects.get()
    customer.phone = ""
    customer.save()
    stock.sell(warehouse=make_warehouse(), lines=[(product, 1)], reference="till-1", actor="till", now=now)


class TestEventTypes:
    def test_are_all_there(self, served: dict[str, Served]) -> None:
        assert set(served) >= OF_THE_MISSION

    def test_have_a_strict_schema_that_their_example_fits(self, served: dict[str, Served]) -> None:
        for name, event_type in served.items():
            Draft202012Validator.check_schema(event_type["schema"])
            assert set(event_type["schema"]["properties"]) == ENVELOPE
            for described in objects(event_type["schema"]):
                assert described["additionalProperties"] is False
                assert set(described["required"]) == set(described["properties"])
            assert faults(event_type["example"], event_type) == [], name

    def test_say_in_a_sentence_when_they_are_told(self, served: dict[str, Served]) -> None:
        assert all(event_type["summary"].endswith(".") for event_type in served.values())


class TestBodies:
    def test_of_a_whole_walk_fit_what_is_served(self, served: dict[str, Served]) -> None:
        walk()

        events = list(Event.objects.all())
        assert {event.type for event in events} >= OF_THE_MISSION
        for event in events:
            body = json.loads(event.body)
            assert faults(body, served[event.type]) == [], event.type
            assert (body["id"], body["type"], body["subject"]) == (event.public_id, event.type, event.subject)
            assert depth(body["data"]) <= 2

    def test_say_money_as_text_beside_its_currency(self) -> None:
        walk()

        for event in Event.objects.all():
            data = json.loads(event.body)["data"]
            amounts = {name: value for name, value in data.items() if name.endswith("amount")}
            assert all(value is None or isinstance(value, str) for value in amounts.values())
            assert "currency" in data or not amounts

    def test_of_fifty_lines_stay_under_20_kb(self) -> None:
        skus = [f"A-LONG-STOCK-KEEPING-UNIT-{number:02}" for number in range(50)]
        for sku in skus:
            make_product(sku, name=f"A product with a rather long name, no. {sku[-2:]}")

        checkout.place(make_cart(*((sku, 9) for sku in skus)), actor="storefront", now=timezone.now())

        assert len(Event.objects.get(type="order.created").body.encode()) <= 20_000
