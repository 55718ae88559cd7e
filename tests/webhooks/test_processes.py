"""The engine as it runs: `manage.py qcluster` in processes of its own, killed at the worst moments."""

import json
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import pytest
from django_q.models import OrmQ

from tests.chaos.processes import Cluster, kill, run, running_cluster, wait_until
from tests.receiver import Answer, Receiver
from tests.webhooks.factories import happen, happen_often, make_subscription
from webhooks.models import Attempt, Delivery, Event

pytestmark = [pytest.mark.processes, pytest.mark.django_db(transaction=True)]


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
    return int(owner.split(":")[1]) if count > 2 else None


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

    def test_between_commit_and_wake_up_loses_nothing(self, receiver: Receiver) -> None:
        make_subscription(receiver.url)

        returned = run(self.EMIT.format(before=f"transaction.on_commit(lambda: {self.DIE})", after=""))

        assert returned == -9
        assert not OrmQ.objects.exists()
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
        with running_cluster():
            happen_often(300, subjects=150)
            wait_until_settled()

        assert set(arrivals(receiver).values()) == {1}
        assert len(receiver.received) == 300
        assert in_order(receiver)
        assert len(set(Attempt.objects.values_list("worker", flat=True))) > 1

    def test_that_is_stopped_finishes_what_it_has_begun(self, receiver: Receiver, cluster: Cluster) -> None:
        make_subscription(receiver.url)
        receiver.script = lambda _: Answer(delay_s=0.2)
        happen_often(200, subjects=200)
        receiver.wait_for(20)

        cluster.stop()

        assert not Delivery.objects.filter(state="sending").exists()
        assert Delivery.objects.filter(state="delivered").count() == len(receiver.received)
        assert set(arrivals(receiver).values()) == {1}
