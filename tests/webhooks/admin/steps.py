"""The four steps, as they are answered."""

from typing import Any

from django.test import Client

from webhooks.models import Subscription

ADD = "/admin/webhooks/subscription/add/"
NO_HEADERS: dict[str, Any] = {"headers-scheme": "", "headers-name": ["", ""], "headers-value": ["", ""]}


def begin(client: Client) -> str:
    """The address of a new draft, without its step."""
    return str(client.get(ADD)["Location"]).removesuffix("1/")


def draft_at(address: str) -> Subscription:
    return Subscription.objects.get(public_id=address.rstrip("/").rpartition("/")[2])


def walk_to(step: int, client: Client, url: str) -> str:
    """A draft whose steps before `step` are answered."""
    address = begin(client)
    answers = [{"name": "OMS", "url": url}, {"event_types": ["order.*"]}, NO_HEADERS]
    for number, answer in enumerate(answers[: step - 1], start=1):
        assert client.post(f"{address}{number}/", answer).status_code == 302
    return address
