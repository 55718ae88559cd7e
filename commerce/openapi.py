"""The OpenAPI description beyond what the views say by themselves."""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter

from commerce.problems import CONTENT_TYPE
from commerce.tokens import required_scopes
from webhooks import catalogue
from webhooks.catalogue import EventType
from webhooks.schema import body_example, body_schema

IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    str,
    OpenApiParameter.HEADER,
    description="A new random text for each request. The same again gets the first answer again, for 24 hours.",
)


# Of which operations they may be answered: Schema.problems.
PROBLEMS = {
    HTTPStatus.BAD_REQUEST: "What was sent does not fit; `errors` names each field or parameter.",
    HTTPStatus.UNAUTHORIZED: "The token, or the signature, is missing or is none that is good now.",
    HTTPStatus.FORBIDDEN: "The token does not have the scope, or is of another warehouse.",
    HTTPStatus.NOT_FOUND: "There is no such thing, or the caller does not see it; or the cursor is none of ours.",
    HTTPStatus.CONFLICT: "What is there does not allow it now; or a request with this Idempotency-Key still runs.",
    HTTPStatus.GONE: "The event to go on after has been forgotten (`cursor_gone`).",
    HTTPStatus.LENGTH_REQUIRED: "The body was sent without its length.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is too large.",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "The body is not said to be JSON.",
    HTTPStatus.UNPROCESSABLE_ENTITY: "It makes no sense as things are; or the Idempotency-Key is of another request.",
    HTTPStatus.TOO_MANY_REQUESTS: "Too many calls: `Retry-After` says when to come back.",
    HTTPStatus.SERVICE_UNAVAILABLE: "Too many streams are open: `Retry-After` says when to come back.",
}


class Schema(AutoSchema):
    def get_override_parameters(self) -> list[Any]:
        return [IDEMPOTENCY_KEY] if self.method == "POST" and not self._is_inbound else []

    def get_operation(self, *args: Any, **kwargs: Any) -> dict[str, Any] | None:
        operation: dict[str, Any] | None = super().get_operation(*args, **kwargs)
        if operation is not None and self.path.startswith("/api/v1/"):
            content = {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
            for status in self.problems(operation):
                answer = {"description": PROBLEMS[status], "content": content}
                operation["responses"].setdefault(str(int(status)), answer)
        return operation

    def problems(self, operation: dict[str, Any]) -> Iterator[HTTPStatus]:
        """What it may be refused with, but for what any address may answer (405, 406, 5xx)."""
        yield from (HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS)
        names = {parameter["name"]: parameter["in"] for parameter in operation.get("parameters", [])}
        if required_scopes(self.view, self.method):
            yield HTTPStatus.FORBIDDEN
        if "path" in names.values() or "cursor" in names:
            yield HTTPStatus.NOT_FOUND
        if "after" in names:
            yield HTTPStatus.GONE
        if self.path.endswith("/stream"):
            yield HTTPStatus.SERVICE_UNAVAILABLE
        if self.method in ("POST", "PATCH"):
            yield from (HTTPStatus.LENGTH_REQUIRED, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        if self.method in ("POST", "PATCH") and not self._is_inbound:
            yield HTTPStatus.UNSUPPORTED_MEDIA_TYPE
        if self.method == "POST" and not self._is_inbound:
            yield from (HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY)

    @property
    def _is_inbound(self) -> bool:
        """Its messages are known by their own ids, and taken in as they come."""
        return bool(self.path.startswith("/api/v1/inbound/"))


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "commerce.tokens.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        return {"type": "http", "scheme": "bearer"}


def add_problems(result: dict[str, Any], **_: object) -> dict[str, Any]:
    """Postprocessing: the shape that Schema's problems refer to."""
    result.setdefault("components", {}).setdefault("schemas", {})["Problem"] = _PROBLEM
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
