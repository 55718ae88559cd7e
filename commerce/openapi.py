"""The OpenAPI description beyond what the views say by themselves."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter

from commerce.problems import CONTENT_TYPE
from webhooks import catalogue
from webhooks.catalogue import EventType
from webhooks.schema import body_example, body_schema

IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    str,
    OpenApiParameter.HEADER,
    description="A new random text for each request. The same again gets the first answer again, for 24 hours.",
)


class Schema(AutoSchema):
    def get_override_parameters(self) -> list[Any]:
        is_known_by_its_id = self.path.startswith("/api/v1/inbound/")
        return [IDEMPOTENCY_KEY] if self.method == "POST" and not is_known_by_its_id else []


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "commerce.tokens.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        return {"type": "http", "scheme": "bearer"}


def add_problems(result: dict[str, Any], **_: object) -> dict[str, Any]:
    """Postprocessing: every operation may answer a problem document."""
    result.setdefault("components", {}).setdefault("schemas", {})["Problem"] = _PROBLEM
    content = {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for operations in result.get("paths", {}).values():
        for operation in operations.values():
            operation["responses"].setdefault("default", {"description": "A problem (RFC 9457).", "content": content})
    return result


def add_webhooks(result: dict[str, Any], **_: object) -> dict[str, Any]:
    """Postprocessing: what a subscriber is sent, for every event there is."""
    result["webhooks"] = {event_type.name: {"post": _told(event_type)} for event_type in catalogue.all_types()}
    return result


def _told(event_type: EventType) -> dict[str, Any]:
    body = {"schema": body_schema(event_type), "example": body_example(event_type)}
    return {
        "operationId": event_type.name,
        "summary": event_type.summary,
        "tags": [event_type.name.partition(".")[0]],
        "parameters": [
            {"name": name, "in": "header", "required": always, "description": what, "schema": _TEXT}
            for name, always, what in _HEADERS
        ],
        "requestBody": {"required": True, "content": {"application/json": body}},
        "responses": {
            "2XX": {"description": "It arrived; the body is not looked at."},
            "default": {"description": "It did not: it is sent again, by the subscription's schedule."},
        },
        # Signed, not authenticated.
        "security": [],
    }


_HEADERS = (
    ("webhook-id", True, "The event's id, the same on every attempt and to every subscriber."),
    ("webhook-timestamp", True, "Of this attempt, in seconds since 1970."),
    ("webhook-signature", True, "Standard Webhooks: one `v1,…` or `v1a,…` for each secret in use."),
    ("webhook-attempt", True, "1 for the first."),
    ("webhook-redelivery", False, "On what somebody has asked for to be sent again."),
)
_TEXT = {"type": "string"}
_PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": _TEXT,
        "status": {"type": "integer"},
        "detail": _TEXT,
        "code": _TEXT | {"description": "What programs look at."},
        "errors": {
            "type": "array",
            "description": "What is wrong with each field (`field`, `code`, `detail`) or item.",
            "items": {"type": "object"},
        },
    },
}
