import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django_q.models import OrmQ
from django_q.signing import SignedPackage

from tests.marks import only_on
from tests.rings import Rings
from tests.webhooks.factories import happen, make_subscription
from webhooks import broker
from webhooks.broker import BELL, InstantBroker, Task, ring
from webhooks.models import Delivery

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def queue() -> Iterator[InstantBroker]:
    """That of a cluster, which listens."""
    with listening_cluster() as instant:
        yield instant


@contextmanager
def listening_cluster() -> Iterator[InstantBroker]:
    instant = InstantBroker("commerce")
    with pytest.MonkeyPatch.context() as at_once:
        at_once.setattr(broker, "WAIT_S", 0.0)
        instant.dequeue()
    yield instant
    instant._disconnect()


def functions(tasks: list[Task]) -> list[str]:
    return [SignedPackage.loads(payload)["func"] for _, payload in tasks]


class TestRing:
    def test_many_times_in_a_transaction_puts_one_task_on_the_queue(self, queue: InstantBroker) -> None:
        with transaction.atomic():
            for _ in range(100):
                ring()

        assert functions(queue.dequeue()) == ["webhooks.tasks.drain"]
        assert queue.dequeue() == []

    def test_in_many_transactions_puts_one_task_on_the_queue(self, queue: InstantBroker) -> None:
        make_subscription()

        for n in range(50):
            happen(f"sub_{n}")

        assert functions(queue.dequeue()) == ["webhooks.tasks.drain"]
        assert queue.dequeue() == []

    def test_waits_for_the_commit(self, rings: Rings) -> None:
        with transaction.atomic():
            ring()
            heard_before = rings()

        assert (heard_before, rings()) == ([], [BELL])

    def test_leaves_no_more_than_one_row_behind_where_nobody_listens(self) -> None:
        for _ in range(50):
            ring()

        assert OrmQ.objects.count() == (0 if connection.vendor == "postgresql" else 1)

    @only_on("sqlite", because="Elsewhere nobody waits for a turn to write.")
    def test_of_a_bell_that_rings_already_writes_nothing(self) -> None:
        ring()

        with CaptureQueriesContext(connection) as statements:
            ring()

        assert [statement["sql"][:6] for statement in statements] == ["SELECT"]

    def test_of_a_transaction_that_is_rolled_back_is_not_heard(self, rings: Rings) -> None:
        with transaction.atomic():
            ring()
            transaction.set_rollback(True)

        assert rings() == []

    def test_after_a_savepoint_that_was_rolled_back_is_heard(self, rings: Rings) -> None:
        with transaction.atomic():
            with transaction.atomic():
                ring()
                transaction.set_rollback(True)
            ring()

        assert rings() == [BELL]

    def test_while_the_last_one_is_being_answered_is_heard_again(self, queue: InstantBroker) -> None:
        ring()
        first = queue.dequeue()

        ring()

        assert functions(first) == functions(queue.dequeue()) == ["webhooks.tasks.drain"]

    def test_of_one_bell_is_none_of_another(self, queue: InstantBroker) -> None:
        ring("inbound")

        assert functions(queue.dequeue()) == ["commerce.tasks.take_in"]

    @only_on("sqlite", because="On PostgreSQL it is a part of the change.")
    def test_never_fails_the_change_that_has_been_committed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_: object, **__: object) -> None:
            raise DatabaseError("the queue is away")

        monkeypatch.setattr(broker, "async_task", fail)
        make_subscription()

        event = happen()

        assert Delivery.objects.get().event == event


class TestDequeue:
    def test_gives_a_task_once_until_its_time_is_over(self, queue: InstantBroker) -> None:
        queue.enqueue("a task")

        assert [payload for _, payload in queue.dequeue()] == ["a task"]
        assert queue.dequeue() == []

        OrmQ.objects.update(lock=timezone.now() - timedelta(seconds=1))
        assert [payload for _, payload in queue.dequeue()] == ["a task"]

    def test_gives_the_oldest_first_and_forgets_what_is_acknowledged(self, queue: InstantBroker) -> None:
        for name in ("one", "two", "three"):
            queue.enqueue(name)

        given = [queue.dequeue()[0] for _ in range(3)]
        for pk, _ in given:
            queue.acknowledge(pk)

        assert [payload for _, payload in given] == ["one", "two", "three"]
        assert not OrmQ.objects.exists()

    def test_leaves_the_tasks_of_other_queues_alone(self, queue: InstantBroker) -> None:
        OrmQ.objects.create(key="another", payload="a task", lock=timezone.now())

        assert queue.dequeue() == []

    def test_never_gives_one_task_to_two_clusters(self, queue: InstantBroker) -> None:
        for n in range(60):
            queue.enqueue(str(n))
        together = threading.Barrier(4)

        def take_all(_: int) -> list[int | None]:
            mine = InstantBroker("commerce")
            together.wait()
            taken = []
            while tasks := mine._claim():
                taken += [pk for pk, _ in tasks]
            connection.close()
            return taken

        with ThreadPoolExecutor(4) as threads:
            taken = [pk for part in threads.map(take_all, range(4)) for pk in part]

        assert len(taken) == len(set(taken)) == 60

    def test_waits_no_longer_than_a_second_for_a_task(self, queue: InstantBroker) -> None:
        started = time.monotonic()

        assert queue.dequeue() == []

        assert time.monotonic() - started < broker.WAIT_S + 0.3

    def test_outlives_a_database_that_goes_away(self, queue: InstantBroker, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(broker, "RECONNECT_S", 0.01)
        queue._looks_at = 0.0
        with monkeypatch.context() as away:

            def fail(*_: object) -> None:
                raise DatabaseError("server closed the connection unexpectedly")

            away.setattr(InstantBroker, "_claim", fail)
            assert queue.dequeue() == []
        queue.enqueue("a task")

        assert [payload for _, payload in queue.dequeue()] == ["a task"]


@only_on("postgresql", because="SQLite has no LISTEN, and locks no single rows.")
class TestOnPostgres:
    def test_gives_one_at_a_time_by_whatever_plan(self, queue: InstantBroker) -> None:
        """One that looks for the next task again for each row of the table would find another each time."""
        for name in ("one", "two", "three"):
            queue.enqueue(name)
        with connection.cursor() as cursor:
            for method in ("hashagg", "hashjoin", "mergejoin", "sort", "material", "indexscan", "bitmapscan"):
                cursor.execute(f"SET enable_{method} = off")

        assert [len(queue.dequeue()) for _ in range(4)] == [1, 1, 1, 0]

    def test_is_woken_by_a_commit(self, queue: InstantBroker) -> None:
        heard: list[float] = []

        def ring_later() -> None:
            time.sleep(0.2)
            heard.append(time.monotonic())
            ring()
            connection.close()

        caller = threading.Thread(target=ring_later)
        caller.start()
        tasks: list[Task] = []
        while not tasks:
            tasks = queue.dequeue()
        woken = time.monotonic()
        caller.join()

        assert functions(tasks) == ["webhooks.tasks.drain"]
        # Without a wake-up it would have listened for a second.
        assert woken - heard[0] < broker.WAIT_S / 2

    def test_survives_the_end_of_its_connections(self, queue: InstantBroker, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(broker, "RECONNECT_S", 0.01)
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        assert queue.dequeue() == queue.dequeue() == []

        ring()

        assert functions(queue.dequeue()) == ["webhooks.tasks.drain"]

    def test_is_given_a_task_whose_time_has_come_while_bells_ring(self, queue: InstantBroker) -> None:
        soon = timezone.now() + timedelta(seconds=0.3)
        OrmQ.objects.create(key="commerce", payload="a task", lock=soon)
        taken: list[Task] = []

        ends = time.monotonic() + 2 * broker.WAIT_S
        while time.monotonic() < ends and "a task" not in [payload for _, payload in taken]:
            ring()
            taken = queue.dequeue()

        assert [payload for _, payload in taken] == ["a task"]


@only_on("postgresql", because="On SQLite there is one cluster, which polls.")
class TestSeveralClusters:
    @pytest.fixture(autouse=True)
    def _later_is_longer_than_a_machine_is_slow(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(broker, "LATER_S", 0.5)

    @pytest.fixture
    def second(self, queue: InstantBroker) -> Iterator[InstantBroker]:
        with listening_cluster() as second:
            yield second

    def test_leave_the_answer_to_the_first(self, queue: InstantBroker, second: InstantBroker) -> None:
        waits = []
        for cluster in (queue, second):
            ring()
            began = time.monotonic()
            assert functions(cluster.dequeue()) == ["webhooks.tasks.drain"]
            waits.append(time.monotonic() - began)

        assert waits[0] < broker.LATER_S <= waits[1]

    def test_share_what_the_first_does_not_keep_up_with(self, queue: InstantBroker, second: InstantBroker) -> None:
        for _ in range(20):
            ring()

        assert functions(second.dequeue()) == functions(queue.dequeue()) == ["webhooks.tasks.drain"]
        assert second.dequeue() == queue.dequeue() == []

    def test_have_another_first_when_the_first_has_ended(self, queue: InstantBroker, second: InstantBroker) -> None:
        queue._disconnect()
        second.dequeue()

        ring()
        began = time.monotonic()

        assert functions(second.dequeue()) == ["webhooks.tasks.drain"]
        assert time.monotonic() - began < broker.LATER_S
