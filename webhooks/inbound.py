"""The door for what others tell us: an app registers an adapter, which makes one domain call of a verified message.

Who signs how, how a message is kept, tried again and shown is not the adapter's affair: see `commerce.inbound`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.dispatch import Signal

from webhooks.errors import DomainError


@dataclass(frozen=True, kw_only=True)
class Message:
    """A verified message. `source` is the name it came by, the actor of what follows; `body` is its JSON.

    `warehouse` is the code of the only warehouse its source works for; empty: all of them.
    """

    source: str
    body: dict[str, Any]
    warehouse: str = ""


@dataclass(frozen=True)
class Effect:
    """What a message did, in words, and the public id of what it was about.

    `is_refusal`: the domain has kept it, but refused what it says; the words say why. It is not tried again.
    """

    words: str
    subject: str
    is_refusal: bool = False


class Ignored(Exception):
    """A message that asks nothing of us; the words say why."""


class Unprocessable(DomainError):
    """A message that can never be processed as it is: it is not tried again."""

    code = "unprocessable_message"


class Unmatched(DomainError):
    """A message about something that is not there yet: tried again when `arrived(awaits)` is said, and now and then."""

    code = "unmatched_message"

    def __init__(self, message: str, *, awaits: str) -> None:
        super().__init__(message)
        self.awaits = awaits


Adapter = Callable[[Message, datetime], Effect]
_adapters: dict[str, Adapter] = {}
_arrivals = Signal()


def adapter(dialect: str) -> Callable[[Adapter], Adapter]:
    """Register the function that understands a sender's messages.

    It is given the message and the moment, makes one domain call in the transaction it is run in, and raises Ignored,
    Unmatched, Unprocessable, or what the domain raises, which is tried again later.
    """

    def register(function: Adapter) -> Adapter:
        if _adapters.setdefault(dialect, function) is not function:
            raise ValueError(f"{dialect} has two adapters.")
        return function

    return register


def adapter_of(dialect: str) -> Adapter:
    return _adapters[dialect]


def arrived(key: str) -> None:
    """What messages have waited for under this key is there, once the running transaction has committed."""
    _arrivals.send(sender=None, key=key)


def on_arrival(receiver: Callable[..., None]) -> None:
    _arrivals.connect(receiver, weak=False, dispatch_uid=f"{receiver.__module__}.{receiver.__qualname__}")
