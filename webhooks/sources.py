"""Where events come from: base classes of the domain's rows, and timers the cluster keeps.

A `Fact` is a row that is added and never changed; a `WatchedModel` is one that people edit in forms.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, ClassVar, NoReturn, Self

from django.db import models, transaction
from django.db.models.signals import post_save
from django.utils import timezone

from webhooks.adding import CompiledInsert, add
from webhooks.catalogue import EventType
from webhooks.errors import DomainError
from webhooks.fields import PublicIdField, drop_prefix_indexes
from webhooks.models import Event
from webhooks.outbox import amend, emit, retract, together
from webhooks.timers import every

__all__ = [
    "Change",
    "DomainError",
    "Fact",
    "PublicIdField",
    "WatchedModel",
    "drop_prefix_indexes",
    "every",
    "together",
    "turn",
    "watch",
]


class FactQuerySet(models.QuerySet[Any]):
    """Refuses what would change a fact, or add one without its signal."""

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError(f"{self.model.__name__} is a fact: add one with save(), and never change it.")

    update = delete = bulk_create = bulk_update = _refuse


class Fact(CompiledInsert):
    """An append-only row whose `post_save` emits an event.

    Django sends `post_save` after the row's own transaction has ended, so a crash between the two would keep the
    row and lose the event: `save` opens the transaction around both.
    """

    at = models.DateTimeField(default=timezone.now)

    objects = FactQuerySet.as_manager()

    class Meta:
        abstract = True

    def save(self, **kwargs: Any) -> None:
        if not self._state.adding:
            raise TypeError(f"{type(self).__name__} is a fact: it cannot be changed once it is added.")
        with transaction.atomic(savepoint=False):
            super().save(**(kwargs | {"force_insert": True}))

    @classmethod
    def add_all(cls, facts: Sequence[Self]) -> None:
        """Add several new ones by one statement; each one's `post_save` is sent once all of them are there."""
        with transaction.atomic(savepoint=False):
            add(facts)
            for fact in facts:
                post_save.send(cls, instance=fact, created=True, update_fields=None, raw=False, using=fact._state.db)

    def delete(self, **_: object) -> NoReturn:  # type: ignore[override]
        raise TypeError(f"{type(self).__name__} is a fact: it cannot be deleted.")


@dataclass(frozen=True)
class Change:
    """What the serializer of a watched model's event gets. `changed_fields` is empty for a new one."""

    instance: "WatchedModel"
    changed_fields: tuple[str, ...]
    at: datetime


class _OpenChange:
    """The event of one watched row in the running transaction, and the values the row had before it.

    It stands among the transaction's on-commit functions, so it is gone as soon as the transaction, or the savepoint
    it was made in, has ended either way.
    """

    def __init__(self, row: "WatchedModel", before: dict[str, Any], event: Event) -> None:
        self.key = (type(row), row.pk)
        self.before = before
        self.event: Event | None = event

    def __call__(self) -> None:
        """Nothing is left to do on commit."""

    @classmethod
    def find(cls, row: "WatchedModel") -> Self | None:
        for _, function, *_ in transaction.get_connection().run_on_commit:
            if isinstance(function, cls) and function.key == (type(row), row.pk):
                return function
        return None


class WatchedModel(CompiledInsert):
    """A row edited in forms: a save that changes one of WATCHED emits one event per transaction, with what changed."""

    WATCHED: ClassVar[tuple[str, ...]] = ()

    version = models.PositiveIntegerField(default=1, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(default=timezone.now, editable=False, db_index=True)

    class Meta:
        abstract = True

    _before: dict[str, Any] | None = None

    def save(self, **kwargs: Any) -> None:
        written = kwargs.get("update_fields")
        with transaction.atomic(savepoint=False):
            if not self._state.adding and self._before is not None and self._changed_since(self._before):
                self.version += 1
                self.updated_at = timezone.now()
                if written is not None:
                    kwargs["update_fields"] = {*written, "version", "updated_at"}
            super().save(**kwargs)
            self._remember(written)

    @classmethod
    def from_db(cls, db: str | None, field_names: Any, values: Any) -> Self:
        row = super().from_db(db, field_names, values)
        row._before = row._watched_values()
        return row

    def refresh_from_db(self, using: str | None = None, fields: Any = None, from_queryset: Any = None) -> None:
        super().refresh_from_db(using, fields, from_queryset)
        read = {name: value for name, value in self._watched_values().items() if fields is None or name in fields}
        self._compare_with(read)

    def _watched_values(self) -> dict[str, Any]:
        """The watched fields that are loaded; a deferred one cannot have been changed."""
        loaded = self.__dict__
        return {name: loaded[name] for name in self.WATCHED if name in loaded}

    def _changed_since(self, before: dict[str, Any]) -> tuple[str, ...]:
        now = self._watched_values()
        return tuple(name for name in self.WATCHED if name in now and now[name] != before.get(name))

    def _remember(self, written: Collection[str] | None) -> None:
        """What the row has now, once that is committed: after a rollback the same save must be told again."""
        saved = {name: value for name, value in self._watched_values().items() if written is None or name in written}
        if self._before is None:
            self._before = saved
        else:
            transaction.on_commit(partial(self._compare_with, saved))

    def _compare_with(self, values: dict[str, Any]) -> None:
        self._before = (self._before or {}) | values


def watch(model: type[WatchedModel], *, created: EventType | None, updated: EventType) -> None:
    """Emit `created` for each new row of `model` (None: stay silent), and `updated` for each change that shows."""

    def emit_changes(instance: WatchedModel, created: bool, raw: bool, **_: object) -> None:
        if raw:
            return
        if created:
            _emit_created(instance, created_type)
        else:
            _emit_updated(instance, updated)

    created_type = created
    post_save.connect(emit_changes, sender=model, weak=False, dispatch_uid=f"watch.{model._meta.label}")


class _Turn:
    """An event of the running transaction that one of another type would undo; kept as an `_OpenChange` is."""

    def __init__(self, event: Event) -> None:
        self.event = event
        self.is_open = True

    def __call__(self) -> None:
        """Nothing is left to do on commit."""

    @classmethod
    def find(cls, event_type: EventType, subject: str) -> Self | None:
        for _, function, *_ in transaction.get_connection().run_on_commit:
            if isinstance(function, cls) and function.is_open and function.tells(event_type, subject):
                return function
        return None

    def tells(self, event_type: EventType, subject: str) -> bool:
        return (self.event.type, self.event.subject) == (event_type.name, subject)


def turn(event_type: EventType, fact: Any, *, back: EventType) -> None:
    """Emit `event_type`; or, where the running transaction has told `back` of the same subject, take that back.

    So what went one way and the other within a transaction, and that nobody could see, is not told.
    """
    undone = _Turn.find(back, event_type.subject.id(fact))
    if undone is None:
        transaction.on_commit(_Turn(emit(event_type, fact)))
    else:
        retract(undone.event)
        undone.is_open = False


def _emit_created(row: WatchedModel, event_type: EventType | None) -> None:
    if event_type is not None:
        emit(event_type, Change(row, (), row.created_at))


def _emit_updated(row: WatchedModel, event_type: EventType) -> None:
    open_change = _OpenChange.find(row)
    before = open_change.before if open_change else row._before
    if before is None:
        return
    change = Change(row, row._changed_since(before), row.updated_at)
    if open_change is not None and open_change.event is not None:
        if change.changed_fields:
            amend(open_change.event, event_type, change)
        else:
            retract(open_change.event)
            open_change.event = None
    elif change.changed_fields:
        event = emit(event_type, change)
        if open_change is not None:
            open_change.event = event
        else:
            transaction.on_commit(_OpenChange(row, before, event))
