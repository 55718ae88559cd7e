"""What every request to the API must satisfy before a view sees it."""

from collections.abc import Callable
from http import HTTPStatus

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from commerce import problems


class IntakeMiddleware:
    """Refuses a body that is too large before a byte of it is read, and text that no database keeps."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return (request.path.startswith("/api/") and _refuse(request)) or self.get_response(request)


def _refuse(request: HttpRequest) -> HttpResponse | None:
    limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    if int(request.META.get("CONTENT_LENGTH") or 0) > limit:
        return problems.respond(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body_too_large", f"A body may be {limit:,} bytes long at most."
        )
    values = [value for key in request.GET for value in (key, *request.GET.getlist(key))]
    if any("\x00" in text for text in (request.path, *values)):
        return problems.respond(HTTPStatus.BAD_REQUEST, "malformed_request", "An address may not hold a NUL character.")
    return None
