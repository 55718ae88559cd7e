"""What benchmarks do inside Django, each call in a process of its own."""

import threading
import time
from datetime import UTC, datetime

import requests
from django.db import transaction

from webhooks import subscriptions
from webhooks.events import TEST, Ping
from webhooks.outbox import emit


def subscribe(url: str, max_in_flight: int = 8) -> int:
    created = subscriptions.create(
        name="Bench",
        url=url,
        event_types=["*"],
        headers={"x-api-key": "k"},
        by="bench",
        now=datetime.now(UTC),
        max_in_flight=max_in_flight,
    )
    return created.pk


def backlog(count: int) -> int:
    """`count` events of as many subjects, committed and not yet sent."""
    for start in range(0, count, 500):
        with transaction.atomic():
            for n in range(start, min(start + 500, count)):
                emit(TEST, Ping(f"sub_{n}", "Bench", "bench", datetime.now(UTC)))
    return count


def trickle(count: int, per_second: float) -> list[tuple[str, float]]:
    """(event id, moment of its commit) of `count` events, evenly spaced."""
    committed = []
    started = time.time()
    for n in range(count):
        time.sleep(max(started + n / per_second - time.time(), 0))
        with transaction.atomic():
            event = emit(TEST, Ping(f"sub_{n}", "Bench", "bench", datetime.now(UTC)))
        committed.append((event.public_id, time.time()))
    return committed


def bare_loop(url: str, count: int, threads: int, body: str) -> int:
    """The yardstick: `requests.Session().post` in a loop on each of `threads` threads, and nothing else."""
    headers = {
        "content-type": "application/json",
        "user-agent": "CommerceEngine",
        "webhook-id": "evt_01jdcq9v8k3x5w2m7r4t6y8z0a",
        "webhook-timestamp": "1795000000",
        "webhook-signature": "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=",
        "webhook-attempt": "1",
        "x-api-key": "k",
    }

    def post(times: int) -> None:
        session = requests.Session()
        for _ in range(times):
            session.post(url, data=body.encode(), headers=headers, timeout=15)

    running = [threading.Thread(target=post, args=(count // threads,)) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return count


def browse_log(small: int, large: int) -> dict[str, list[float]]:
    from benchmarks import log_browser

    return log_browser.measure(small, large)


def claim_beside_a_dead_one() -> dict[str, float]:
    from benchmarks import dead_subscriber

    return dead_subscriber.claim_beside_a_dead_one()
