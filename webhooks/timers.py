"""Functions the cluster runs again and again."""

import threading
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Timer:
    """A function without arguments, run about every `seconds`; a second run at the same time must do no harm.

    `webhooks.clock` runs it, on a thread beside the others: it may take its time.
    """

    path: str
    seconds: float


registered: list[Timer] = []
# Set when the cluster is to stop: what takes long looks at it.
stopping = threading.Event()


def every(seconds: float) -> Callable[[Callable[[], None]], Callable[[], None]]:
    def register(function: Callable[[], None]) -> Callable[[], None]:
        registered.append(Timer(f"{function.__module__}.{function.__qualname__}", seconds))
        return function

    return register
