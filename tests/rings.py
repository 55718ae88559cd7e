"""What a cluster would hear of the bells."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import connection
from django_q.models import OrmQ

from webhooks.broker import CHANNEL


@dataclass
class Rings:
    listener: Any

    def __call__(self) -> list[str]:
        """The bells that rang since it was asked last, each once."""
        if self.listener is None:
            keys = list(OrmQ.objects.values_list("key", flat=True))
            OrmQ.objects.all().delete()
            return keys
        # The answer to any statement comes behind what the connection was notified of before.
        with self.listener.cursor() as cursor:
            cursor.execute("SELECT 1")
        return list(dict.fromkeys(heard.payload for heard in self.listener.connection.notifies(timeout=0)))


@contextmanager
def listening() -> Iterator[Rings]:
    if connection.vendor != "postgresql":
        yield Rings(None)
        return
    listener = connection.copy()
    with listener.cursor() as cursor:
        cursor.execute(f"LISTEN {CHANNEL}")
    yield Rings(listener)
    listener.close()
