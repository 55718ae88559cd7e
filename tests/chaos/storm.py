"""A shop under load whose processes and database are killed at random, until all is told that there is to tell."""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import IO, Any

from django.db import OperationalError, connection

from commerce import processes as product
from commerce import tokens
from inventory import stock
from inventory.models import Product, Warehouse
from tests.chaos import processes
from tests.chaos.processes import Cluster, Running, kill
from tests.chaos.receivers import System, running_systems
from tests.chaos.shoppers import SKUS, Caller, Clerk, Shopper
from tests.postgres import crash, start_again
from webhooks.models import Delivery

SHOPPERS = 6
WEB_SERVERS = 2
STOCKED = 100_000
PAUSES_S = (0.5, 1.5)
AWAY_S = (0.0, 0.8)
# A round of faults in random order; each round all over again.
WORKERS, CLUSTERS, WEBS, DATABASES = 5, 2, 2, 2
READY_S = 60.0
SETTLED_S = 120.0


@dataclass
class Storm:
    """Call `rage`, then `settle`. What it has done is in `faults`."""

    seed: str
    systems: Sequence[System]
    shoppers: Sequence[Shopper]
    clerk: Clerk
    webs: Sequence[Running]
    clusters: Sequence[Cluster]
    server: Any = None  # The PostgreSQL server, where it is one.
    faults: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    @property
    def callers(self) -> list[Caller]:
        return [*self.shoppers, self.clerk]

    def rage(self, seconds: float) -> None:
        """For so long, but at least until each fault has had its turn."""
        for system in self.systems:
            system.is_calm = False
        for caller in self.callers:
            caller.start()
        ends = time.monotonic() + seconds
        for round_of_faults in self._rounds():
            for fault in round_of_faults:
                fault()
                self._supervise()
                time.sleep(self.random.uniform(*PAUSES_S))
                if time.monotonic() > ends and not self.missing():
                    return

    def _rounds(self) -> Iterator[list[Callable[[], None]]]:
        faults = [self.kill_worker] * WORKERS + [self.kill_cluster] * CLUSTERS + [self.kill_web] * WEBS
        if self.server is not None:
            faults += [self.crash_database] * DATABASES
        while True:
            yield self.random.sample(faults, k=len(faults))

    def missing(self) -> list[str]:
        """What has not happened yet, so that the storm would prove nothing of it."""
        wanted = {
            "workers killed": self.faults["workers killed"],
            "clusters killed": self.faults["clusters killed"],
            "web servers killed": self.faults["web servers killed"],
            "databases crashed": self.server is None or self.faults["databases crashed"],
            "deliveries resent": self.clerk.promised,
        }
        return [what for what, has_happened in wanted.items() if not has_happened]

    def _supervise(self) -> None:
        """A cluster ends when its sentinel does."""
        for running in (*self.webs, *self.clusters):
            self.faults["ended by themselves"] += running.revive()

    def kill_worker(self) -> None:
        """One process of a cluster, not its head: sentinel, worker, monitor or pusher."""
        members = processes.family(self.random.choice(self.clusters).process.pid)
        if members:
            kill(self.random.choice(members))
            self.faults["workers killed"] += 1

    def kill_cluster(self) -> None:
        self._kill(self.random.choice(self.clusters), "clusters killed")

    def kill_web(self) -> None:
        self._kill(self.random.choice(self.webs), "web servers killed")

    def _kill(self, running: Running, what: str) -> None:
        running.kill()
        self.faults[what] += 1
        time.sleep(self.random.uniform(*AWAY_S))
        running.start()

    def crash_database(self) -> None:
        crash(self.server)
        self.faults["databases crashed"] += 1
        time.sleep(self.random.uniform(*AWAY_S))
        start_again(self.server)

    def settle(self) -> None:
        """The receivers behave, orders that were begun are brought to the door, and everything is delivered."""
        for system in self.systems:
            system.is_calm = True
        for caller in self.callers:
            caller.stopping.set()
        ends = time.monotonic() + SETTLED_S
        while waiting := [caller.name for caller in self.callers if caller.is_alive()]:
            assert time.monotonic() < ends, f"Still wait for an answer: {waiting}."
            self._supervise()
            time.sleep(0.2)
        for caller in self.callers:
            assert not caller.failure, f"{caller.name} was refused {caller.failure}"
        connection.close()
        while left := _waiting():
            assert time.monotonic() < ends, f"After {SETTLED_S:.0f} s there are still deliveries {dict(left)}."
            self._supervise()
            time.sleep(0.2)


def _waiting() -> Counter[str]:
    try:
        return Counter(Delivery.objects.exclude(state="delivered").values_list("state", flat=True))
    except OperationalError:
        connection.close()
        return Counter(["of a database that is away"])


@contextmanager
def brewing(seed: str, *, server: Any, log: IO[bytes]) -> Iterator[Storm]:
    """Everything started and well: systems, web servers, a cluster, on PostgreSQL two. All of it ends afterwards."""
    with ExitStack() as running:
        systems = running.enter_context(running_systems(seed))
        _stock_up()
        ports = [product.free_port() for _ in range(WEB_SERVERS)]
        webs = [Running(*_serving(port), log=log) for port in ports]
        clusters = [Cluster(log) for _ in range(1 if server is None else 2)]
        for process in (*webs, *clusters):
            running.callback(process.kill)
        for port in ports:
            processes.wait_until(partial(product.is_listening, port), what="web server", timeout_s=READY_S)
        for cluster in clusters:
            processes.wait_until(cluster.is_whole, what="cluster", timeout_s=READY_S)
        token = tokens.issue("chaos", scopes=["storefront", "payments", "orders", "fulfilment", "webhooks"])
        shoppers = [Shopper(f"shopper {n}", ports=ports, token=token, seed=seed) for n in range(SHOPPERS)]
        clerk = Clerk("clerk", ports=ports, token=token, seed=seed)
        yield Storm(seed, systems, shoppers, clerk, webs, clusters, server)


def _stock_up() -> None:
    warehouse = Warehouse.objects.create(code="BER", name="Berlin", country="DE")
    for sku in SKUS:
        item = Product.objects.create(sku=sku, name=sku, price_minor=1990, currency="EUR")
        stock.adjust(
            product=item, warehouse=warehouse, delta=STOCKED, reason="received", actor="chaos", now=datetime.now(UTC)
        )


def _serving(port: int) -> tuple[str, ...]:
    options = ("--host", "127.0.0.1", "--port", str(port), "--lifespan", "off", "--log-level", "warning")
    return ("-m", "uvicorn", "commerce.asgi:application", *options)
