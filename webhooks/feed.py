"""All events in one order that no late commit can break into, to be read from any point.

Keys are given out before the commit: on PostgreSQL a lower one may appear after a higher one has been read. So the feed
goes by `position`, then by key, and only up to the horizon: the number of the oldest transaction still running. What
stands before it has ended, since no position is below the number of the transaction that wrote it. An event is written
after the one before it of its subject was committed, so a subject's events stand in their sequence. SQLite has one
writer at a time: there every position is 0 and the key is the order.
"""

from collections.abc import Iterable
from typing import Any

from django.db import connection, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Value
from django.db.models.lookups import GreaterThan
from django.db.models.sql.compiler import SQLCompiler

from webhooks import catalogue
from webhooks.errors import DomainError
from webhooks.models import Event

FROM_ZERO = ""


class CursorGone(DomainError):
    """The event to go on after is not there, or not any more: what came after it may be missing too."""

    code = "cursor_gone"


class _Horizon(models.Func):
    template = "pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
    output_field = models.BigIntegerField()

    def as_sqlite(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any) -> Any:
        return self.as_sql(compiler, connection, template="1", **context)


class _Place(models.Func):
    """Compared as one value, which an index can answer; Django's own comparison takes no such form on SQLite."""

    template = "(%(expressions)s)"
    output_field = models.Field()


def after(cursor: str, *, types: Iterable[str] = (), subject: str = "", limit: int) -> list[Event]:
    """The next events after the one whose public id is `cursor` (FROM_ZERO: from the oldest), two statements.

    `types` are names or groups, as a subscription's; none: all. Raises CursorGone.
    """
    events = _settled_after(cursor)
    if patterns := list(types):
        events = events.filter(type__in=_names(patterns))
    if subject:
        events = events.filter(subject=subject)
    return list(events.order_by("position", "id")[:limit])


def newest(*, since: str = FROM_ZERO) -> str:
    """The cursor after which only what has yet to happen comes; `since` where nothing comes after that.

    Raises CursorGone. Whoever was told of an event by a webhook may go on after one that is not settled yet.
    """
    newest_first = _settled_after(since).order_by("-position", "-id")
    return newest_first.values_list("public_id", flat=True).first() or since


def resettle() -> None:
    """Put what was brought from another PostgreSQL, whose transactions had higher numbers, before all that is new.

    Nothing committed here can stand beyond the newest transaction that has ended.
    """
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE webhooks_event SET position = 0"
                " WHERE position >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
            )


def _names(patterns: list[str]) -> list[str]:
    return [kind.name for kind in catalogue.all_types() if catalogue.matches(patterns, kind.name)]


def _settled_after(cursor: str) -> models.QuerySet[Event]:
    settled = Event.objects.filter(position__lt=_Horizon())
    if cursor == FROM_ZERO:
        return settled
    return settled.filter(GreaterThan(_Place("position", "id"), _place_of(cursor)))


def _place_of(cursor: str) -> _Place:
    place = Event.objects.filter(public_id=cursor).values_list("position", "id").first()
    if place is None:
        raise CursorGone(f"There is no event {cursor[:40]!r}, or not any more: start again from zero, without `after`.")
    return _Place(*map(Value, place))
