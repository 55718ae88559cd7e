"""The engine as it runs: `manage.py qcluster` in processes of its own, killed at the worst moments."""

import json
import os
import signal
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import psycopg
import pytest
from django.db import connection

from tests.chaos import clocks
from tests.chaos.processes import Cluster, Running, kill, run, running_cluster, wait_until
from tests.postgres import crash, own_postgres, start_again
from tests.receiver import Answer, Receiver
from tests.rings import Rings
from tests.webhooks.factories import happen, happen_often, make_subscription
from webhooks import claims
from webhooks.models import Attempt, Delivery, Event

pytestmark = [pytest.mark.processes, pytest.mark.django_db(transaction=True)]


# A tick, and what a busy machine needs to come to it.
RECOVERED_WITHIN = timedelta(seconds=2.5)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with running_cluster() as running:
        yield running


def settled() -> bool:
    return not Delivery.objects.exclude(state="delivered").exists()


def wait_until_settled() -> None:
    wait_until(settled, what="end of all deliveries")


def arrivals(receiver: Receiver) -> Counter[str]:
    """How many times each event came."""
    return Counter(received.headers["webhook-id"] for received in receiver.received)


def worker_in_the_middle() -> int | None:
    """The pid of a worker that has several deliveries under way."""
    owners = Counter(Delivery.objects.filter(state="sending").values_list("lease_owner", flat=True))
    [(owner, count)] = owners.most_common(1) or [("", 0)]
    return pid_of(owner) if count > 2 else None


def pid_of(worker: str) -> int:
    return int(worker.split(":")[1])


def in_order(receiver: Receiver) -> bool:
    """Whether the first copies of each subject's events came in sequence."""
    last: dict[str, int] = {}
    for body in (json.loads(received.body) for received in receiver.received):
        if body["sequence"] > last.get(body["subject"], 0) + 1:
            return False
        last[body["subject"]] = max(body["sequence"], last.get(body["subject"], 0))
    return True


class TestKilledWorker:
    def test_in_the_middle_of_200_deliveries_loses_none(self, receiver: Receiver, cluster: Cluster) -> None:
        make_subscription(receiver.url, max_in_flight=16)
        receiver.script = lambda _: Answer(delay_s=0.1)
        happen_often(200, subjects=200)

        receiver.wait_for(40)
        kill(wait_until(worker_in_the_middle, what="worker with deliveries under way"))
        wait_until_settled()

        events = {event.public_id: event for event in Event.objects.all()}
        arrived = arrivals(receiver)
        lost = Attempt.objects.filter(reason="worker_lost").values_list("delivery__event__public_id", flat=True)
        assert set(arrived) == set(events)
        assert len(events) == 200
        assert 0 < len(lost) <= 16
        assert {name for name, count in arrived.items() if count > 1} <= set(lost)
        assert max(arrived.values()) <= 2
        for received in receiver.received:
            assert received.body == events[received.headers["webhook-id"]].body.encode()

    def test_that_was_idle_is_replaced_and_the_cluster_goes_on(self, receiver: Receiver, cluster: Cluster) -> None:
        make_subscription(receiver.url)
        happen("sub_1")
        wait_until_settled()
        first = cluster.workers()

        for pid in first[:2]:
            kill(pid)
            happen(f"killed {pid}")
            wait_until_settled()

        def replaced() -> bool:
            return len(cluster.workers()) == len(first) and not set(first[:2]) & set(cluster.workers())

        wait_until(replaced, what="new workers")
        happen("sub_2")
        wait_until_settled()
        assert set(arrivals(receiver).values()) == {1}
        assert len(receiver.received) == 4

    def test_every_process_of_the_cluster_but_its_head_can_be_lost(self, receiver: Receiver, cluster: Cluster) -> None:
        make_subscription(receiver.url)
        happen("before")
        wait_until_settled()

        for pid in cluster.workers():
            kill(pid)
        happen("after")

        receiver.wait_for(2)

    def test_has_what_it_held_recovered_within_a_tick_of_the_end_of_its_lease(
        self, receiver: Receiver, cluster: Cluster
    ) -> None:
        make_subscription(receiver.url, max_in_flight=16)
        receiver.script = lambda _: Answer(delay_s=0.1)
        happen_often(100, subjects=100)
        receiver.wait_for(20)

        kill(wait_until(worker_in_the_middle, what="worker with deliveries under way"))
        wait_until_settled()

        lost = Attempt.objects.filter(reason="worker_lost").values_list("duration_ms", flat=True)
        took = [timedelta(milliseconds=duration) for duration in lost]
        assert took
        assert clocks.LEASE <= min(took) <= max(took) <= clocks.LEASE + RECOVERED_WITHIN
        # As the product has it.
        assert timedelta(seconds=60) >= claims.LEASE + RECOVERED_WITHIN


class TestKilledEmitter:
    EMIT = """
import os, signal
from django.db import transaction
from tests.webhooks.factories import happen
with transaction.atomic():
    {before}
    happen("sub_1")
    {after}
"""
    DIE = "os.kill(os.getpid(), signal.SIGKILL)"

    def test_right_after_the_commit_loses_nothing(self, receiver: Receiver, rings: Rings) -> None:
        make_subscription(receiver.url)

        returned = run(self.EMIT.format(before=f"transaction.on_commit(lambda: {self.DIE})", after=""))

        assert returned == -9
        # On PostgreSQL the wake-up is a part of the commit. Nobody is there to hear it.
        assert rings() == (["bell"] if connection.vendor == "postgresql" else [])
        assert Delivery.objects.get().state == "pending"
        with running_cluster():
            receiver.wait_for(1)
            wait_until_settled()

    def test_before_commit_leaves_nothing(self, receiver: Receiver) -> None:
        make_subscription(receiver.url)

        returned = run(self.EMIT.format(before="", after=self.DIE))

        assert returned == -9
        assert not Event.objects.exists()
        assert not Delivery.objects.exists()


class TestCluster:
    def test_sends_a_retry_within_a_second_and_a_half_of_its_due_time(
        self, receiver: Receiver, cluster: Cluster
    ) -> None:
        make_subscription(receiver.url, retry_schedule=[1, 2, 1])
        receiver.answers = [Answer(500), Answer(503), Answer(500)]
        happen()

        receiver.wait_for(4)
        wait_until_settled()

        started = list(Attempt.objects.order_by("number").values_list("started_at", "duration_ms"))
        waits = [(later - earlier).total_seconds() - took / 1000 for (earlier, took), (later, _) in pairwise(started)]
        assert all(step <= wait <= step * 1.1 + 1.5 for step, wait in zip([1, 2, 1], waits, strict=True)), waits

    def test_is_woken_by_a_commit(self, receiver: Receiver, cluster: Cluster) -> None:
        make_subscription(receiver.url)
        happen("warm up")
        wait_until_settled()

        latencies = []
        for n in range(10):
            time.sleep(0.1)
            count, started = len(receiver.received), time.monotonic()
            happen(f"sub_{n}")
            receiver.wait_for(count + 1)
            latencies.append(time.monotonic() - started)

        # Without a wake-up it would be half a second on average: the clock looks once a second.
        assert statistics.median(latencies) < 0.25, latencies

    def test_shares_the_work_with_another_and_nothing_is_sent_twice(self, receiver: Receiver, cluster: Cluster) -> None:
        make_subscription(receiver.url, max_in_flight=100)
        receiver.script = lambda _: Answer(delay_s=0.05)
        with running_cluster() as other:
            clusters = {pid: name for name, each in (("one", cluster), ("other", other)) for pid in each.workers()}
            sent: Counter[str] = Counter()
            # Who comes first to a wave is chance.
            while set(sent) != {"one", "other"} and Event.objects.count() < 3_000:
                happen_often(300, subjects=150)
                wait_until_settled()
                sent = Counter(clusters[pid_of(worker)] for worker in Attempt.objects.values_list("worker", flat=True))

        assert set(sent) == {"one", "other"}
        assert sent.total() == len(receiver.received) == Event.objects.count()
        assert set(arrivals(receiver).values()) == {1}
        assert in_order(receiver)

    def test_that_is_stopped_finishes_what_it_has_begun(self, receiver: Receiver, cluster: Cluster) -> None:
        make_subscription(receiver.url)
        receiver.script = lambda _: Answer(delay_s=0.2)
        happen_often(200, subjects=200)
        receiver.wait_for(20)

        cluster.stop()

        assert not Delivery.objects.filter(state="sending").exists()
        assert Delivery.objects.filter(state="delivered").count() == len(receiver.received)
        assert set(arrivals(receiver).values()) == {1}

    def test_that_is_stopped_when_its_workers_have_just_died_ends(self, cluster: Cluster) -> None:
        for worker in cluster.workers()[:2]:
            kill(worker)

        cluster.stop()

        assert cluster.process.returncode == 0


class LingeringCluster(Cluster):
    """One worker, and a timer that does not end."""

    LINGER = """
import os
os.environ["WORKERS"] = "1"
import django
django.setup()
from django.core.management import call_command
from tests.webhooks import test_processes
from webhooks import timers
test_processes.lingers_at = {path!r}
timers.registered.insert(0, timers.Timer("tests.webhooks.test_processes.linger", 1))
call_command("qcluster")
"""

    def __init__(self, lingers_at: Path) -> None:
        Running.__init__(self, "-c", self.LINGER.format(path=str(lingers_at)))


lingers_at = ""


def linger() -> None:
    Path(lingers_at).touch()
    time.sleep(50)


class TestLongTimer:
    @pytest.fixture
    def _lingering(self, tmp_path: Path) -> Iterator[None]:
        lingers_at = tmp_path / "lingers"
        cluster = LingeringCluster(lingers_at)
        try:
            wait_until(lingers_at.exists, what="timer at work", timeout_s=60)
            yield
        finally:
            cluster.kill()

    @pytest.mark.usefixtures("_lingering")
    def test_keeps_no_delivery_and_no_retry_waiting(self, receiver: Receiver) -> None:
        make_subscription(receiver.url, retry_schedule=[1, 1])
        receiver.answers = [Answer(500), Answer(503)]
        started = time.monotonic()
        happen()

        receiver.wait_for(1)
        assert time.monotonic() - started < 1.5
        receiver.wait_for(3)
        wait_until_settled()

        started_at = list(Attempt.objects.order_by("number").values_list("started_at", flat=True))
        waits = [(later - earlier).total_seconds() for earlier, later in pairwise(started_at)]
        assert all(1 <= wait <= 1.1 + 1.5 for wait in waits), waits

    @pytest.mark.usefixtures("_lingering")
    def test_keeps_no_lost_worker_from_being_noticed(self, receiver: Receiver) -> None:
        make_subscription(receiver.url)
        happen_often(1, subjects=1)
        receiver.wait_for(1)
        Delivery.objects.update(
            state="sending",
            lease_owner="gone:1:0",
            lease_until=datetime.now(UTC),
            claimed_at=datetime.now(UTC),
            next_attempt_at=None,
        )
        started = time.monotonic()

        receiver.wait_for(2)

        assert time.monotonic() - started < RECOVERED_WITHIN.total_seconds()
        assert Attempt.objects.filter(reason="worker_lost", worker="gone:1:0").count() == 1


class TestClock:
    def test_that_hangs_is_replaced(self, receiver: Receiver, cluster: Cluster) -> None:
        make_subscription(receiver.url, retry_schedule=[1])
        receiver.answers = [Answer(500)]
        clock = cluster.workers()[-1]

        os.kill(clock, signal.SIGSTOP)
        wait_until(lambda: clock not in cluster.workers(), what="end of the clock that hangs")
        happen()

        receiver.wait_for(2)
        wait_until_settled()


@pytest.mark.once
class TestRestartedDatabase:
    PREPARE = """
from django.core.management import call_command
from tests.webhooks.factories import make_subscription
call_command("migrate", verbosity=0)
make_subscription({url!r}, max_in_flight=16)
"""
    EMIT = "from tests.webhooks.factories import happen_often; happen_often(200, subjects=200)"
    UNDELIVERED = "SELECT count(*) FROM webhooks_delivery WHERE state <> 'delivered'"
    LOST = """
        SELECT e.public_id FROM webhooks_attempt a JOIN webhooks_delivery d ON d.id = a.delivery_id
        JOIN webhooks_event e ON e.id = d.event_id WHERE a.reason = 'worker_lost'
    """

    def test_in_the_middle_of_200_deliveries_loses_none_and_every_copy_is_explained(self, receiver: Receiver) -> None:
        receiver.script = lambda _: Answer(delay_s=0.1)
        with own_postgres() as server:
            url = server.get_uri()
            assert run(self.PREPARE.format(url=receiver.url), url=url) == 0
            with running_cluster(url=url):
                assert run(self.EMIT, url=url) == 0
                receiver.wait_for(40)

                crash(server)
                time.sleep(0.5)
                start_again(server)

                with psycopg.connect(url) as connection:
                    wait_until(
                        lambda: connection.execute(self.UNDELIVERED).fetchone() == (0,), what="end of all deliveries"
                    )
                    events = {one for [one] in connection.execute("SELECT public_id FROM webhooks_event")}
                    lost = Counter(one for [one] in connection.execute(self.LOST))

        arrived = arrivals(receiver)
        assert len(events) == 200
        assert set(arrived) == events
        copies = Counter({one: count - 1 for one, count in arrived.items() if count > 1})
        assert copies <= lost
