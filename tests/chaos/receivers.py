"""Systems that are told of the shop, and misbehave at random while the storm lasts."""

import json
import random
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tests.chaos.clocks import DEADLINE_S
from tests.receiver import (
    CUT_SHORT,
    HANG_UP,
    MALFORMED_STATUS,
    RESET,
    Answer,
    Received,
    Receiver,
    Reply,
    Wire,
    running_receiver,
)
from webhooks import subscriptions
from webhooks.models import Subscription

PATIENT = [1] * 50
# Is parked soon, and comes back when the system is well.
BRIEF = [1, 1]
SYSTEMS: dict[str, dict[str, Any]] = {
    "OMS": {"event_types": ["order.*"], "ordering": Subscription.Ordering.STRICT, "retry_schedule": PATIENT},
    "ERP": {"event_types": ["*"], "retry_schedule": PATIENT, "max_in_flight": 16},
    "shipping": {"event_types": ["order.packed", "order.shipped", "order.tracking.*"], "retry_schedule": BRIEF},
    "stock": {"event_types": ["inventory.*"], "retry_schedule": BRIEF, "max_in_flight": 4},
    "CRM": {"event_types": ["customer.*", "payment.*"], "retry_schedule": PATIENT, "max_per_second": 50},
}
SILENCE = Wire([DEADLINE_S * 1.5])
ODDITIES: list[Reply] = [
    Answer(500),
    Answer(404),
    Answer(503),
    Answer(429, headers={"retry-after": "1"}),
    HANG_UP,
    RESET,
    CUT_SHORT,
    MALFORMED_STATUS,
    SILENCE,
]
MOODS = ("well", "slow", "odd", "odd", "down")
MOOD_S = (0.5, 3.0)
ODD_SHARE = 0.3
SLOW_S = 0.6
WELL = Answer()


@dataclass(frozen=True)
class Receipt:
    """A whole request: `attempt` is the number the sender gave it."""

    event_id: str
    attempt: int
    subject: str
    sequence: int
    at: datetime
    is_redelivery: bool = False


class System:
    """One subscriber. `receipts` are in the order they came."""

    def __init__(self, name: str, receiver: Receiver, *, seed: str) -> None:
        self.name, self.receiver = name, receiver
        self.random = random.Random(f"{seed} {name}")
        self.choosing = threading.Lock()
        self.receipts: list[Receipt] = []
        self.is_calm = False
        self.mood, self.mood_ends = "well", 0.0
        receiver.script = self._answer
        self.subscription = subscriptions.create(
            name=name, url=receiver.url, headers={}, by="chaos", now=datetime.now(UTC), **SYSTEMS[name]
        )

    def _answer(self, received: Received) -> Reply:
        at = datetime.now(UTC)
        body = json.loads(received.body)
        attempt = int(received.headers["webhook-attempt"])
        is_redelivery = "webhook-redelivery" in received.headers
        with self.choosing:
            self.receipts.append(Receipt(body["id"], attempt, body["subject"], body["sequence"], at, is_redelivery))
            return WELL if self.is_calm else self._misbehave()

    def _misbehave(self) -> Reply:
        if time.monotonic() > self.mood_ends:
            self.mood = self.random.choice(MOODS)
            self.mood_ends = time.monotonic() + self.random.uniform(*MOOD_S)
        if self.mood == "down":
            return RESET
        if self.mood == "slow":
            return Answer(delay_s=self.random.uniform(0, SLOW_S))
        if self.mood == "odd" and self.random.random() < ODD_SHARE:
            return self.random.choice(ODDITIES)
        return WELL


@contextmanager
def running_systems(seed: str) -> Iterator[list[System]]:
    with ExitStack() as running:
        yield [System(name, running.enter_context(running_receiver()), seed=seed) for name in SYSTEMS]
