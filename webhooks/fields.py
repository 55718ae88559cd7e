"""Columns of our own: ids that sort by time, and values encrypted at rest."""

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.sql.compiler import SQLCompiler
from ulid import ULID


class UnreadableSecret(Exception):
    """A stored value was encrypted with a key that ENCRYPTION_KEYS no longer lists."""


def new_public_id(prefix: str) -> str:
    """`ord_01jd…`: the prefix and a ULID in lower case. Sorts by time, to the millisecond."""
    return f"{prefix}_{str(ULID()).lower()}"


class PublicIdField(models.CharField):  # type: ignore[type-arg]
    """The id outsiders see, made when the object is: `PublicIdField("ord")`."""

    def __init__(self, prefix: str = "", **kwargs: Any) -> None:
        self.prefix = prefix
        kwargs |= {"max_length": 32, "unique": True, "editable": False}
        super().__init__(**kwargs)

    def deconstruct(self) -> tuple[str, str, list[Any], dict[str, Any]]:
        name, _, _, kwargs = super().deconstruct()
        for fixed in ("max_length", "unique", "editable"):
            kwargs.pop(fixed, None)
        # By the door through which the domain's migrations may import it.
        return name, "webhooks.sources.PublicIdField", [self.prefix], kwargs

    def db_type(self, connection: BaseDatabaseWrapper) -> str | None:
        """By its other name on PostgreSQL: to a `varchar` Django adds an index for prefixes, which nobody looks for."""
        kind = super().db_type(connection)
        return kind.replace("varchar", "character varying") if kind and connection.vendor == "postgresql" else kind

    def get_default(self) -> str:
        return new_public_id(self.prefix)


def drop_prefix_indexes(_: Any, schema_editor: Any, *, tables: Sequence[str]) -> None:
    """For a migration: those that were made of the public ids of these tables."""
    if schema_editor.connection.vendor != "postgresql":
        return
    for table in tables:
        name = schema_editor._create_index_name(table, ["public_id"], suffix="_like")
        schema_editor.execute(f"DROP INDEX IF EXISTS {schema_editor.quote_name(name)}")


class _Position(models.Func):
    """At least the writing transaction's own number, and that of every one that had ended before."""

    template = "GREATEST(pg_current_xact_id()::text::bigint, pg_snapshot_xmax(pg_current_snapshot())::text::bigint - 1)"
    output_field = models.BigIntegerField()

    def as_sqlite(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any) -> Any:
        return self.as_sql(compiler, connection, template="0", **context)


class PositionField(models.BigIntegerField):  # type: ignore[type-arg]
    """Where a row stands among all that are ever committed; `feed` says why. Written by the database as it is added."""

    db_returning = True

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**(kwargs | {"editable": False}))

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        return _Position() if add else super().pre_save(model_instance, add)


@lru_cache(maxsize=4)
def _cipher(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])


def encrypt(text: str) -> str:
    return _cipher(tuple(settings.ENCRYPTION_KEYS)).encrypt(text.encode()).decode()


@lru_cache(maxsize=1024)
def decrypt(token: str) -> str:
    """Raises UnreadableSecret: never hands out the ciphertext in place of the secret."""
    try:
        return _cipher(tuple(settings.ENCRYPTION_KEYS)).decrypt(token.encode()).decode()
    except InvalidToken:
        raise UnreadableSecret(
            "A stored secret cannot be decrypted: add the key it was written with to ENCRYPTION_KEYS."
        ) from None


class EncryptedJSONField(models.TextField):  # type: ignore[type-arg]
    """Any JSON value, kept as one Fernet token. Cannot be searched."""

    def to_python(self, value: Any) -> Any:
        """As it is: a model form cleans with this, and a text field would make a text of it."""
        return value

    def get_prep_value(self, value: Any) -> str:
        return encrypt(json.dumps(value))

    def from_db_value(self, value: str | None, *_: object) -> Any:
        return None if value is None else json.loads(decrypt(value))

    def value_to_string(self, obj: models.Model) -> str:
        return self.get_prep_value(self.value_from_object(obj))
