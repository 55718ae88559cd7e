"""`GET events/`: the feed by REST (spec/interface.md)."""

import json
from typing import Any

import pytest
from django.test import Client

from commerce import tokens
from tests.factories import place_order
from tests.webhooks.factories import happen
from webhooks.models import Event

# On PostgreSQL what a transaction has not yet committed is not in the feed, not even in its own.
pytestmark = pytest.mark.django_db(transaction=True)

FEED = "/api/v1/events/"


@pytest.fixture
def api() -> Client:
    return Client(headers={"Authorization": f"Bearer {tokens.issue('BI', scopes=['events'])}"})


def read(api: Client, url: str) -> Any:
    return api.get(url).json()


def test_gives_the_very_bodies_that_are_sent(api: Client) -> None:
    place_order()

    text = api.get(FEED).content.decode()

    events = list(Event.objects.order_by("pk"))
    assert [event["id"] for event in json.loads(text)["results"]] == [event.public_id for event in events]
    assert all(event.body in text for event in events)


def test_leads_from_page_to_page_until_nothing_has_happened_yet(api: Client) -> None:
    happened = [happen().public_id for _ in range(5)]

    pages = [read(api, f"{FEED}?page_size=2&type=webhook.*")]
    while pages[-1]["next"]:
        pages.append(read(api, pages[-1]["next"]))

    assert [[event["id"] for event in page["results"]] for page in pages] == [happened[:2], happened[2:4], happened[4:]]
    assert read(api, f"{FEED}?after={happened[-1]}") == {"next": None, "previous": None, "results": []}


def test_goes_on_where_a_webhook_was_the_last_to_arrive(api: Client) -> None:
    order = place_order()
    seen = Event.objects.get(type="customer.created").public_id

    rest = read(api, f"{FEED}?after={seen}&subject={order.public_id}")

    assert [event["type"] for event in rest["results"]] == ["order.created"]


def test_gives_several_types_at_once(api: Client) -> None:
    place_order()

    told = read(api, f"{FEED}?type=customer.*&type=order.created")["results"]

    assert {event["type"] for event in told} == {"customer.created", "order.created"}


@pytest.mark.parametrize("query", ["page_size=0", "page_size=201", "page_size=x", "type=order.eaten", "type="])
def test_refuses_what_it_cannot_read(api: Client, query: str) -> None:
    answer = api.get(f"{FEED}?{query}")

    assert (answer.status_code, answer.json()["code"]) == (400, "validation_error")


def test_says_that_an_event_is_gone(api: Client) -> None:
    answer = api.get(f"{FEED}?after=evt_gone")

    assert (answer.status_code, answer.json()["code"]) == (410, "cursor_gone")


def test_is_for_tokens_with_its_scope(client: Client) -> None:
    assert client.get(FEED).status_code == 401
    secret = tokens.issue("OMS", scopes=["webhooks"])
    assert client.get(FEED, headers={"Authorization": f"Bearer {secret}"}).status_code == 403
