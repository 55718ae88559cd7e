"""Functions the cluster runs again and again."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Timer:
    """A function without arguments, run about every `seconds`; a second run at the same time must do no harm."""

    path: str
    seconds: float


registered: list[Timer] = []


def every(seconds: float) -> Callable[[Callable[[], None]], Callable[[], None]]:
    def register(function: Callable[[], None]) -> Callable[[], None]:
        registered.append(Timer(f"{function.__module__}.{function.__qualname__}", seconds))
        return function

    return register
