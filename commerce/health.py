"""/healthz: the process answers. /readyz: what it needs to do its work is there."""

from collections.abc import Callable
from datetime import timedelta
from http import HTTPStatus

from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from commerce import database, metrics
from webhooks import standing

# A few heartbeats.
LONGEST_SILENCE = timedelta(seconds=30)
LONGEST_DUE = timedelta(minutes=5)


class NotReady(Exception):
    """The message says what is missing."""


# Exempt, so that a POST is told that it is the wrong method, and not that it lacks a cookie.
@csrf_exempt
@require_safe
@never_cache
def healthz(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"status": "ok"})


@csrf_exempt
@require_safe
@never_cache
def readyz(request: HttpRequest) -> HttpResponse:
    checks = {name: _result(check) for name, check in CHECKS.items()}
    is_ready = all(result == "ok" for result in checks.values())
    return JsonResponse(
        {"status": "ready" if is_ready else "not ready", "checks": checks},
        status=HTTPStatus.OK if is_ready else HTTPStatus.SERVICE_UNAVAILABLE,
    )


def _result(check: Callable[[], None]) -> str:
    try:
        check()
    except NotReady as error:
        return str(error)
    except DatabaseError:
        return "the database does not answer"
    return "ok"


def _check_database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def _check_migrations() -> None:
    if waiting := database.pending_migrations():
        raise NotReady(f"{waiting} migrations are not applied: run manage.py migrate")


def _check_queue() -> None:
    heartbeat_at = metrics.last_heartbeat()
    if heartbeat_at is None:
        raise NotReady("no queue cluster has ever run: start manage.py qcluster")
    silence = timezone.now() - heartbeat_at
    if silence > LONGEST_SILENCE:
        raise NotReady(f"no queue cluster has been heard of for {silence.total_seconds():.0f} s")


def _check_deliveries() -> None:
    """Only what nobody but us keeps from going out: a slow or failing receiver must not take this process away."""
    now = timezone.now()
    lag = standing.longest_left_alone(standing.read_queues(now=now), now=now)
    if lag > LONGEST_DUE:
        raise NotReady(f"the oldest delivery that could go out has been due for {lag.total_seconds():.0f} s")


CHECKS: dict[str, Callable[[], None]] = {
    "database": _check_database,
    "migrations": _check_migrations,
    "queue": _check_queue,
    "deliveries": _check_deliveries,
}
