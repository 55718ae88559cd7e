"""What every request must satisfy before a view sees it."""

from collections.abc import Callable
from http import HTTPStatus

from django.conf import settings
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import BadRequest, DisallowedHost, ValidationError
from django.http import HttpRequest, HttpResponse

from commerce import problems

NO_NUL = "An address may not hold a NUL character."


class IntakeMiddleware:
    """Refuses text no database keeps; of the API's calls, a foreign host and a body too large before it is read."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        refuse = _refuse_call if request.path.startswith("/api/") else _refuse_page
        return refuse(request) or self.get_response(request)

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


def _refuse_call(request: HttpRequest) -> HttpResponse | None:
    if not _is_our_host(request):
        return problems.respond(HTTPStatus.BAD_REQUEST, "unknown_host", "The Host header names no host of ours.")
    if "chunked" in request.headers.get("Transfer-Encoding", ""):
        # How long it will be is not known before it is read.
        return problems.respond(HTTPStatus.LENGTH_REQUIRED, "length_required", "Send the body with a Content-Length.")
    limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    if _content_length(request) > limit:
        return problems.respond(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body_too_large", f"A body may be {limit:,} bytes long at most."
        )
    if _holds_nul(request):
        return problems.respond(HTTPStatus.BAD_REQUEST, "malformed_request", NO_NUL)
    return None


def _refuse_page(request: HttpRequest) -> HttpResponse | None:
    if _holds_nul(request):
        return HttpResponse(NO_NUL, status=HTTPStatus.BAD_REQUEST, content_type="text/plain")
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


def _holds_nul(request: HttpRequest) -> bool:
    """In the path, or in a name or value of the query."""
    values = [value for name in request.GET for value in request.GET.getlist(name)]
    return any("\x00" in text for text in [request.path, *request.GET, *values])
