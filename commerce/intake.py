"""What every request to the API, or to a list of the admin, must satisfy before a view sees it."""

from collections.abc import Callable
from http import HTTPStatus

from django.conf import settings
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import BadRequest, DisallowedHost, ValidationError
from django.http import HttpRequest, HttpResponse

from commerce import problems


class IntakeMiddleware:
    """Refuses a host that is not ours, a body too large before a byte of it is read, and text no database keeps."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return (request.path.startswith("/api/") and _refuse(request)) or self.get_response(request)

    def process_view(self, request: HttpRequest, view: Callable[..., HttpResponse], *_: object) -> None:
        """Django's admin looks ticked rows up by whatever was sent as their keys, and fails on what can be none."""
        model_admin = getattr(view, "model_admin", None)
        if request.method != "POST" or model_admin is None:
            return
        for key in request.POST.getlist(ACTION_CHECKBOX_NAME):
            try:
                model_admin.opts.pk.clean(key, None)
            except ValidationError:
                raise BadRequest("What was ticked is no row of this list.") from None


def _refuse(request: HttpRequest) -> HttpResponse | None:
    if not _is_our_host(request):
        return problems.respond(HTTPStatus.BAD_REQUEST, "unknown_host", "The Host header names no host of ours.")
    if "chunked" in request.headers.get("Transfer-Encoding", ""):
        # WSGI has no way to read it: it would be taken for an empty one.
        return problems.respond(HTTPStatus.LENGTH_REQUIRED, "length_required", "Send the body with a Content-Length.")
    limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    if _content_length(request) > limit:
        return problems.respond(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body_too_large", f"A body may be {limit:,} bytes long at most."
        )
    if any("\x00" in text for text in _texts(request)):
        return problems.respond(HTTPStatus.BAD_REQUEST, "malformed_request", "An address may not hold a NUL character.")
    return None


def _is_our_host(request: HttpRequest) -> bool:
    try:
        request.get_host()
    except DisallowedHost:
        return False
    return True


def _content_length(request: HttpRequest) -> int:
    length = request.META.get("CONTENT_LENGTH") or ""
    return int(length) if length.isdecimal() else 0


def _texts(request: HttpRequest) -> list[str]:
    """The path, and every name and value of the query."""
    values = [value for name in request.GET for value in request.GET.getlist(name)]
    return [request.path, *request.GET, *values]
