"""What a cluster would hear of the bells."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from django.db import connection
from django_q.models import OrmQ

from webhooks.broker import _Listener


@dataclass
class Rings:
    listener: _Listener | None

    def __call__(self) -> list[str]:
        """The bells that rang since it was asked last, each once."""
        if self.listener is None:
            keys = list(OrmQ.objects.values_list("key", flat=True))
            OrmQ.objects.all().delete()
            return keys
        # The answer to any statement comes behind what the connection was notified of before.
        self.listener._execute("SELECT 1")
        return list(dict.fromkeys(self.listener._notified(0)))


@contextmanager
def listening() -> Iterator[Rings]:
    if connection.vendor != "postgresql":
        yield Rings(None)
        return
    listener = _Listener()
    yield Rings(listener)
    listener.close()
