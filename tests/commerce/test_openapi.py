from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from webhooks import catalogue

pytestmark = pytest.mark.django_db


def test_the_description_is_valid_and_without_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("spectacular", "--validate", "--fail-on-warn")

    assert "openapi: 3.1.1" in capsys.readouterr().out


def operations_of(client: Client) -> dict[str, Any]:
    """By `GET /api/v1/orders/`."""
    schema = client.get("/api/schema/?format=json", headers={"Accept": "application/vnd.oai.openapi+json"}).json()
    return {
        f"{method.upper()} {path}": operation
        for path, operations in schema["paths"].items()
        for method, operation in operations.items()
    }


def test_every_post_takes_a_key(client: Client) -> None:
    for name, operation in operations_of(client).items():
        taken = {parameter["name"] for parameter in operation.get("parameters", [])}
        # A sender's message is known by the id that the sender gave it.
        assert ("Idempotency-Key" in taken) == (name.startswith("POST") and "/inbound/" not in name)


def test_every_operation_names_the_problems_it_may_answer(client: Client) -> None:
    operations = operations_of(client)

    for name, operation in operations.items():
        answers = operation["responses"]
        assert "default" not in answers
        assert {"400", "401", "429"} <= set(answers), name
        problems = [answer for status, answer in answers.items() if status[0] in "45"]
        assert {content_type for each in problems for content_type in each["content"]} == {"application/problem+json"}


@pytest.mark.parametrize(
    ("operation", "statuses"),
    [
        ("GET /api/v1/orders/", "200 400 401 403 404 429"),
        ("GET /api/v1/products/", "200 400 401 404 429"),
        ("GET /api/v1/webhooks/event-types/", "200 400 401 403 429"),
        ("GET /api/v1/events/", "200 400 401 403 410 429"),
        ("GET /api/v1/track/{token}/stream", "200 400 401 404 429 503"),
        ("POST /api/v1/orders/", "201 400 401 409 411 413 415 422 429"),
        ("POST /api/v1/orders/{order_id}/confirm/", "200 400 401 403 404 409 411 413 415 422 429"),
        ("PATCH /api/v1/products/{sku}/", "200 400 401 403 404 411 413 415 429"),
        ("DELETE /api/v1/webhooks/subscriptions/{public_id}/", "204 400 401 403 404 429"),
        ("POST /api/v1/inbound/{source}/", "202 400 401 404 411 413 429"),
    ],
)
def test_names_those_that_apply(client: Client, operation: str, statuses: str) -> None:
    assert sorted(operations_of(client)[operation]["responses"]) == statuses.split()


def test_every_event_is_described_as_a_webhook(client: Client) -> None:
    schema = client.get("/api/schema/?format=json", headers={"Accept": "application/vnd.oai.openapi+json"}).json()

    told = {
        name: each["post"]["requestBody"]["content"]["application/json"] for name, each in schema["webhooks"].items()
    }
    assert list(told) == [event_type.name for event_type in catalogue.all_types()]
    for body in told.values():
        Draft202012Validator(body["schema"]).validate(body["example"])


def test_the_page_to_try_it_has_nothing_inline(client: Client) -> None:
    page = client.get("/api/docs/")
    script = client.get("/api/docs/?script")

    assert page.status_code == 200
    assert b"<style" not in page.content
    assert b"<script>" not in page.content
    assert "unsafe-inline" not in page["Content-Security-Policy"]
    assert b'src="/api/docs/?script="' in page.content
    assert script["Content-Type"] == "application/javascript"
