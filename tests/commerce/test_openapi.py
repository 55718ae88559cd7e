import pytest
from django.core.management import call_command
from django.test import Client
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from webhooks import catalogue

pytestmark = pytest.mark.django_db


def test_the_description_is_valid_and_without_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("spectacular", "--validate", "--fail-on-warn")

    assert "openapi: 3.1.1" in capsys.readouterr().out


def test_every_operation_may_answer_a_problem_and_every_post_takes_a_key(client: Client) -> None:
    schema = client.get("/api/schema/?format=json", headers={"Accept": "application/vnd.oai.openapi+json"}).json()

    operations = [(path, *each) for path, operations in schema["paths"].items() for each in operations.items()]
    assert operations
    for path, method, operation in operations:
        (content_type,) = operation["responses"]["default"]["content"]
        assert content_type == "application/problem+json"
        taken = {parameter["name"] for parameter in operation.get("parameters", [])}
        # A sender's message is known by the id that the sender gave it.
        assert ("Idempotency-Key" in taken) == (method == "post" and not path.startswith("/api/v1/inbound/"))


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
