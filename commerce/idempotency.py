"""Idempotency-Key: the same POST twice has one effect, and gets the first answer again.

The answer is written in the transaction of the effect: a crash keeps both or neither. A view that speaks HTTP itself
(`transaction.non_atomic_requests`) is run without that transaction.
"""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.template.response import SimpleTemplateResponse
from django.utils import timezone
from rest_framework.exceptions import AuthenticationFailed

from commerce.models import IdempotencyRecord
from commerce.problems import respond
from commerce.tokens import read_token

# Longer than any request runs: its process has died, and its transaction with it.
LOST_AFTER = timedelta(minutes=2)
# Of an IPv6 address that is written with an IPv4 one at its end, and no zone.
ADDRESS_LENGTH = 45
# Refused before the view began, so the same call may succeed later.
_NEVER_KEPT = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS}
_KEY = re.compile(r"[\x21-\x7e]{1,255}")

View = Callable[..., HttpResponse]


class IdempotencyMiddleware:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: View, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> HttpResponse | None:
        """None where the key does not apply: Django then calls the view itself."""
        key = request.headers.get("Idempotency-Key")
        if key is None or not _is_covered(request):
            return None
        if not _KEY.fullmatch(key):
            return respond(
                HTTPStatus.BAD_REQUEST,
                "invalid_idempotency_key",
                "An Idempotency-Key is 1 to 255 characters of ASCII without spaces.",
            )
        try:
            token = read_token(request)
        except AuthenticationFailed:
            return None
        # Strangers may have thought of the same key, so each has keys of its own: as far as its address tells.
        caller = token.prefix if token else request.META.get("REMOTE_ADDR", "")[:ADDRESS_LENGTH]
        record, is_ours = _claim(caller=caller, key=key, fingerprint=_fingerprint(request), now=timezone.now())
        if is_ours:
            return _answer(record, view, request, args, kwargs)
        again = _answer_again(record, request)
        for name, value in _headers_of(view).items():
            again.headers.setdefault(name, value)
        return again


def _headers_of(view: Any) -> dict[str, str]:
    """What a view of the REST framework sends with all of its answers, such as who may read them."""
    headers: dict[str, str] = view.cls().default_response_headers if hasattr(view, "cls") else {}
    return headers


def _is_covered(request: HttpRequest) -> bool:
    return (
        request.method == "POST"
        and request.path.startswith("/api/v1/")
        and not request.path.startswith("/api/v1/inbound/")
    )


def _fingerprint(request: HttpRequest) -> str:
    return hashlib.sha256(request.get_full_path().encode() + b"\n" + request.body).hexdigest()


def _claim(*, caller: str, key: str, fingerprint: str, now: datetime) -> tuple[IdempotencyRecord, bool]:
    """The record of this key, and whether the request that asks is the one to answer it."""
    record, is_ours = IdempotencyRecord.objects.get_or_create(
        caller=caller, key=key, defaults={"fingerprint": fingerprint, "started_at": now}
    )
    age = now - record.started_at
    if not is_ours and (age >= IdempotencyRecord.KEPT_FOR or (record.status_code is None and age >= LOST_AFTER)):
        is_ours = _same(record).update(fingerprint=fingerprint, started_at=now, status_code=None) == 1
        record.refresh_from_db()
    return record, is_ours


def _same(record: IdempotencyRecord) -> Any:
    return IdempotencyRecord.objects.filter(pk=record.pk, started_at=record.started_at)


class _Overtaken(Exception):
    """This request took so long that a later one with the same key was let through."""


def _answer(
    record: IdempotencyRecord, view: View, request: HttpRequest, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> HttpResponse:
    is_atomic = "default" not in getattr(view, "_non_atomic_requests", ())
    is_final = False
    try:
        with transaction.atomic() if is_atomic else nullcontext():
            response = view(request, *args, **kwargs)
            if isinstance(response, SimpleTemplateResponse):
                response.render()
            is_final = response.status_code < 500 and response.status_code not in _NEVER_KEPT
            if is_final:
                _keep(record, response)
            elif is_atomic:
                transaction.set_rollback(True)
    except _Overtaken:
        return _still_running()
    finally:
        if not is_final:
            _same(record).delete()
    return response


def _keep(record: IdempotencyRecord, response: HttpResponse) -> None:
    written = _same(record).update(
        status_code=response.status_code, content_type=response["Content-Type"], body=response.content.decode()
    )
    if not written:
        raise _Overtaken


def _answer_again(record: IdempotencyRecord, request: HttpRequest) -> HttpResponse:
    if record.fingerprint != _fingerprint(request):
        return respond(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "idempotency_key_reused",
            "This Idempotency-Key was used for another request. Use a new key for each.",
        )
    if record.status_code is None:
        return _still_running()
    return HttpResponse(
        record.body,
        status=record.status_code,
        content_type=record.content_type,
        headers={"Idempotency-Replayed": "true"},
    )


def _still_running() -> HttpResponse:
    response = respond(
        HTTPStatus.CONFLICT,
        "request_in_progress",
        "A request with this Idempotency-Key is still running. Try again soon.",
    )
    response["Retry-After"] = "1"
    return response
