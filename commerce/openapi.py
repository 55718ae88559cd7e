"""The OpenAPI description beyond what the views say by themselves, and the page to try it."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter
from drf_spectacular.views import SpectacularSwaggerSplitView

from commerce.problems import CONTENT_TYPE

IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    str,
    OpenApiParameter.HEADER,
    description="The same key and body get the first answer again, for 24 hours. Use a new random one for each request.",
)


class Schema(AutoSchema):
    def get_override_parameters(self) -> list[OpenApiParameter]:
        return [IDEMPOTENCY_KEY] if self.method == "POST" else []


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
            "description": "One entry per field, with `field`, `code` and `detail`; or per item, with what is wrong with it.",
            "items": {"type": "object"},
        },
    },
}


class DocsView(SpectacularSwaggerSplitView):
    """The script comes from an address of its own and the template has no inline style: the strict CSP holds here too."""

    template_name = "commerce/api_docs.html"
