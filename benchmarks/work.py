"""What benchmarks do inside Django, each call in a process of its own."""

import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime

import requests
from django.db import transaction
from django.db.models import Count

from commerce import tokens
from commerce.models import AuditRun
from webhooks import subscriptions
from webhooks.events import TEST, Ping
from webhooks.models import Attempt, Delivery, Subscription
from webhooks.outbox import emit
from webhooks.transport import Reason


def be_audited() -> None:
    """The night is over: a cluster that starts now does not begin with its audit."""
    now = datetime.now(UTC)
    AuditRun.objects.create(day=now.date(), started_at=now, renewed_at=now, finished_at=now)


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


def subscribe_all(urls: list[str]) -> list[int]:
    return [subscribe(url) for url in urls]


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


def await_delivered(timeout_s: float) -> list[tuple[str, int]]:
    """(event id, how many of its attempts the log calls lost), once nothing is left to deliver."""
    ends = time.monotonic() + timeout_s
    while Delivery.objects.exclude(state=Delivery.State.DELIVERED).exists():
        if time.monotonic() > ends:
            raise TimeoutError(f"Not everything was delivered within {timeout_s:.0f} s.")
        time.sleep(0.5)
    lost = Attempt.objects.filter(reason=Reason.WORKER_LOST).values_list("delivery__event__public_id")
    return list(lost.annotate(times=Count("pk")))


def take_part(subscription: int, is_told: bool) -> None:
    """Whether it is sent what waits for it, as one that nothing bad is known of."""
    state = Subscription.State.ACTIVE if is_told else Subscription.State.PAUSED
    Subscription.objects.filter(pk=subscription).update(state=state, **Subscription.WELL)


def count_statements(url: str) -> tuple[int, float]:
    from benchmarks import statements

    return statements.count(url)


def browse_log(small: int, large: int) -> dict[str, list[float]]:
    from benchmarks import log_browser

    return log_browser.measure(small, large)


def page_orders(small: int, large: int) -> dict[str, list[float]]:
    from benchmarks import api_paging

    return api_paging.measure(small, large)


def claim_beside_a_dead_one(backlog: int, claims: int) -> None:
    from benchmarks import dead_subscriber

    dead_subscriber.claim_when_asked(backlog, claims)


def fill(events: int, systems: int) -> None:
    from benchmarks import filling

    filling.fill(events, systems)


def wish(systems: int) -> None:
    from benchmarks import filling

    filling.wish(systems)


def race(rounds: int) -> Mapping[str, Mapping[str, float]]:
    from benchmarks import races

    return races.run_all(rounds)


def shop(products: int, url: str) -> str:
    """Products with stock in plenty and one subscriber of everything; a token for the API."""
    from tests.factories import make_product

    for n in range(products):
        make_product(f"SKU-{n}", on_hand=1_000_000)
    subscribe(url)
    return tokens.issue("Bench", scopes=["storefront", "orders"])


def issue_token(scopes: list[str]) -> str:
    return tokens.issue("Bench", scopes=scopes)


def place_orders(count: int) -> list[tuple[str, str]]:
    from benchmarks import streams

    return streams.place_orders(count)


def change_orders(count: int, per_second: float) -> list[tuple[str, str, int, float]]:
    from benchmarks import streams

    return streams.change_orders(count, per_second)
