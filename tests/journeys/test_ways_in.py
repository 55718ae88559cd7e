"""Whichever way something happens (API, admin, inbound message, timer), the same event tells of it, once."""

import json
from contextlib import suppress
from typing import Any

import pytest
from django.db import connection
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from orders import holds
from orders.models import Shipment
from tests.journeys import ways_of_goods, ways_of_orders, ways_of_returns  # noqa: F401 (they add their ways)
from tests.journeys.faces import WAYS, Faces
from webhooks import catalogue
from webhooks.models import Event
from webhooks.schema import body_schema

pytestmark = pytest.mark.django_db

# They tell of the engine itself.
OF_THE_ENGINE = {"webhook.test", "subscription.failing", "subscription.recovered", "subscription.disabled"}


def read(event: Event) -> Any:
    return json.loads(event.body)


@pytest.mark.parametrize(("event", "face"), WAYS)
def test_tells_the_same_once(event: str, face: str) -> None:
    faces = Faces()
    act, subject = WAYS[event, face](faces)
    before = set(Event.objects.values_list("pk", flat=True))
    # As if what was prepared had been committed: it is not undone, but followed.
    connection.run_on_commit.clear()

    act()

    [told] = Event.objects.filter(type=event).exclude(pk__in=before)
    assert subject in ("", told.subject)
    schema = body_schema(catalogue.get(event))
    Draft202012Validator(schema).validate(read(told))
    assert set(read(told)["data"]) == set(catalogue.get(event).example)


@pytest.mark.parametrize("face", [face for event, face in WAYS if event == "order.packed"])
def test_a_hold_stops_packing_whichever_way_it_is_tried(face: str) -> None:
    faces = Faces()
    act, order_id = WAYS["order.packed", face](faces)
    holds.place(order_id, kind="fraud", reason="Odd", actor="ann", now=faces.now)

    # The API refuses with a status that its face does not expect; the others take it, and say why not.
    with suppress(AssertionError):
        act()

    assert not Shipment.objects.exists()
    assert not Event.objects.filter(type="order.packed").exists()


def test_every_event_has_its_ways_in() -> None:
    declared = {event_type.name for event_type in catalogue.all_types()} - OF_THE_ENGINE

    assert {event for event, _ in WAYS} == declared


@pytest.mark.parametrize(("event", "face"), [key for key in WAYS if key[0] in ("product.updated", "customer.updated")])
def test_a_change_names_what_has_changed(event: str, face: str) -> None:
    act, _ = WAYS[event, face](Faces())

    act()

    assert read(Event.objects.get(type=event))["data"]["changed_fields"] == ["name"]
