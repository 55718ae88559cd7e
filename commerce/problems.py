"""Every refusal of the API as a problem document (RFC 9457), and the one table from exception to HTTP status."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from django.core.exceptions import ObjectDoesNotExist
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import Resolver404, resolve
from django.views.decorators.csrf import csrf_exempt
from drf_standardized_errors.formatter import ExceptionFormatter, flatten_errors
from drf_standardized_errors.handler import ExceptionHandler
from drf_standardized_errors.types import ExceptionHandlerContext
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.settings import api_settings

from commerce.inbound.schemes import BadSignature
from inventory.stock import InsufficientStock, ReferenceReused, StaleCount
from orders.refunds import NotRefundable
from orders.transitions import InvalidTransition
from webhooks.errors import DomainError
from webhooks.feed import CursorGone
from webhooks.replay import ReplayRefused
from webhooks.subscriptions import InvalidSubscription, SubscriptionConflict

CONTENT_TYPE = "application/problem+json"

# A subclass that is not listed is answered like the nearest of its bases that is.
STATUS_OF: dict[type[DomainError], HTTPStatus] = {
    DomainError: HTTPStatus.UNPROCESSABLE_ENTITY,
    BadSignature: HTTPStatus.UNAUTHORIZED,
    InsufficientStock: HTTPStatus.CONFLICT,
    StaleCount: HTTPStatus.CONFLICT,
    ReferenceReused: HTTPStatus.CONFLICT,
    InvalidTransition: HTTPStatus.CONFLICT,
    NotRefundable: HTTPStatus.CONFLICT,
    SubscriptionConflict: HTTPStatus.CONFLICT,
    ReplayRefused: HTTPStatus.CONFLICT,
    CursorGone: HTTPStatus.GONE,
    InvalidSubscription: HTTPStatus.BAD_REQUEST,
}

_CODE_OF: dict[type[exceptions.APIException], str] = {
    exceptions.ValidationError: "validation_error",
    exceptions.ParseError: "malformed_request",
}


def document(status: int, code: str, detail: str, errors: Sequence[dict[str, Any]] = ()) -> dict[str, Any]:
    problem = {
        "type": f"urn:commerce-engine:problem:{code}",
        "title": code.replace("_", " ").capitalize(),
        "status": int(status),
        "detail": detail,
        "code": code,
    }
    return problem | ({"errors": list(errors)} if errors else {})


def respond(status: int, code: str, detail: str) -> HttpResponse:
    """A problem found before or outside of the REST framework's views."""
    return JsonResponse(document(status, code, detail), status=status, content_type=CONTENT_TYPE)


class DomainProblem(exceptions.APIException):
    """A domain exception on its way out: the status of the table, the words of the domain."""

    def __init__(self, error: DomainError) -> None:
        self.status_code = int(next(STATUS_OF[base] for base in type(error).__mro__ if base in STATUS_OF))
        self.errors = error.errors
        super().__init__(detail=str(error), code=error.code)


class ProblemFormatter(ExceptionFormatter):
    def run(self) -> dict[str, Any]:
        if isinstance(self.exc, exceptions.ValidationError):
            errors = _errors_of(self.exc)
            return document(self.exc.status_code, self._code, _summary(errors), errors)
        return document(self.exc.status_code, self._code, str(self.exc.detail), getattr(self.exc, "errors", ()))

    @property
    def _code(self) -> str:
        return _CODE_OF.get(type(self.exc)) or str(self.exc.get_codes())


def in_words(error: exceptions.ValidationError) -> str:
    """`data.status: This field is required. (and 2 more)`"""
    return _summary(_errors_of(error))


def _errors_of(error: exceptions.ValidationError) -> list[dict[str, Any]]:
    return [
        {"field": _dotted(each.attr), "code": each.code, "detail": each.detail} for each in flatten_errors(error.detail)
    ]


def _dotted(attr: str | None) -> str | None:
    """`lines.0.quantity`; None where an error is about no single field."""
    parts = [part for part in (attr or "").split(".") if part != api_settings.NON_FIELD_ERRORS_KEY]
    return ".".join(parts) or None


def _summary(errors: Sequence[dict[str, Any]]) -> str:
    first = errors[0]
    where = f"{first['field']}: " if first["field"] else ""
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return f"{where}{first['detail']}{more}"


class _Handler(ExceptionHandler):
    def convert_known_exceptions(self, exc: Exception) -> Exception:
        if isinstance(exc, ObjectDoesNotExist):
            return exceptions.NotFound()
        if isinstance(exc, DomainError):
            return DomainProblem(exc)
        return super().convert_known_exceptions(exc)

    def should_not_handle(self, exc: Exception) -> bool:
        return False

    def convert_unhandled_exceptions(self, exc: Exception) -> exceptions.APIException:
        if isinstance(exc, exceptions.APIException):
            return exc
        return exceptions.APIException("Something went wrong on our side. It has been logged.", code="server_error")

    def format_exception(self, exc: exceptions.APIException) -> dict[str, Any]:
        return ProblemFormatter(exc, self.context, self.exc).run()

    def get_response(self, exc: exceptions.APIException, data: dict[str, Any]) -> Response:
        return Response(data, status=exc.status_code, headers=self.get_headers(exc), content_type=CONTENT_TYPE)


def exception_handler(exc: Exception, context: ExceptionHandlerContext) -> Response | None:
    return _Handler(exc, context).run()


@csrf_exempt
def unknown_url(request: HttpRequest, **_: object) -> HttpResponse:
    """Everything under /api/ that no route knows."""
    hint = ""
    if not request.path.endswith("/") and _is_known(request.path_info + "/"):
        hint = f" Did you mean {request.path}/ with a slash at the end?"
    return respond(HTTPStatus.NOT_FOUND, "not_found", f"There is nothing at {request.path}.{hint}")


def _is_known(path: str) -> bool:
    try:
        return resolve(path).func is not unknown_url
    except Resolver404:
        return False


def server_error(request: HttpRequest) -> HttpResponse:
    """`handler500`: what broke outside of the REST framework's views."""
    detail = "Something went wrong on our side. It has been logged."
    if request.path.startswith("/api/"):
        return respond(HTTPStatus.INTERNAL_SERVER_ERROR, "server_error", detail)
    return HttpResponse(f"<h1>Server error</h1><p>{detail}</p>", status=HTTPStatus.INTERNAL_SERVER_ERROR)
