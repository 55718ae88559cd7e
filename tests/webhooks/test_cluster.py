import gc
import os
import signal
import time
from collections.abc import Iterator
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from threading import Thread

import pytest
from django_q import cluster as django_q_cluster
from django_q.signals import post_spawn

from webhooks.cluster import MessageQueue, shared_timer

pytestmark = pytest.mark.processes

fork = get_context("fork")


def close(queue: MessageQueue) -> None:
    queue._reader.close()
    queue._writer.close()


@pytest.fixture
def queue() -> Iterator[MessageQueue]:
    queue = MessageQueue()
    yield queue
    close(queue)


@pytest.fixture
def queues() -> Iterator[tuple[MessageQueue, MessageQueue]]:
    """One to a reader, and one back."""
    there, back = MessageQueue(), MessageQueue()
    yield there, back
    close(there)
    close(back)


def echo(there: MessageQueue, back: MessageQueue) -> None:
    back.put(os.getpid())
    for message in iter(there.get, "STOP"):
        back.put(message)


def start_echo(queues: tuple[MessageQueue, MessageQueue]) -> BaseProcess:
    process = fork.Process(target=echo, args=queues, daemon=True)
    process.start()
    assert queues[1].get() == process.pid
    return process


def kill(process: BaseProcess) -> None:
    assert process.pid
    os.kill(process.pid, signal.SIGKILL)
    process.join(5)


class TestMessageQueue:
    def test_carries_messages_in_order_and_apart(self, queue: MessageQueue) -> None:
        for message in ("one", {"two": 2}, b"3" * 10_000):
            queue.put(message)

        assert [queue.get(), queue.get(), queue.get()] == ["one", {"two": 2}, b"3" * 10_000]

    def test_tells_whether_something_waits(self, queue: MessageQueue) -> None:
        assert (queue.empty(), queue.qsize()) == (True, 0)

        queue.put("one")

        assert (queue.empty(), queue.qsize()) == (False, 1)

    def test_survives_kill_9_of_a_reader_that_waits(self, queues: tuple[MessageQueue, MessageQueue]) -> None:
        first, second = start_echo(queues), start_echo(queues)
        time.sleep(0.05)

        kill(first)
        for n in range(20):
            queues[0].put(n)

        assert [queues[1].get() for _ in range(20)] == list(range(20))
        kill(second)

    def test_serves_a_reader_that_comes_after_one_was_killed(self, queues: tuple[MessageQueue, MessageQueue]) -> None:
        kill(start_echo(queues))
        queues[0].put("hello")

        later = start_echo(queues)

        assert queues[1].get() == "hello"
        queues[0].put("STOP")
        later.join(5)
        assert later.exitcode == 0

    def test_gives_a_message_to_one_of_its_readers(self, queues: tuple[MessageQueue, MessageQueue]) -> None:
        readers = [start_echo(queues) for _ in range(3)]

        for n in range(100):
            queues[0].put(n)

        assert sorted(queues[1].get() for _ in range(100)) == list(range(100))
        for reader in readers:
            kill(reader)

    def test_with_a_limit_lets_one_message_wait_at_most(self) -> None:
        queue = MessageQueue(maxsize=1)
        queue.put("one")
        second = Thread(target=queue.put, args=["two"], daemon=True)
        second.start()
        second.join(0.1)
        assert second.is_alive()

        assert queue.get() == "one"
        second.join(1)
        assert not second.is_alive()
        assert queue.get() == "two"
        close(queue)

    def test_whose_limit_is_lifted_lets_nobody_wait_for_room_in_any_process(self) -> None:
        queue = MessageQueue(maxsize=1)
        queue.put("one")
        waiting = fork.Process(target=queue.put, args=["two"], daemon=True)
        waiting.start()
        waiting.join(0.1)
        assert waiting.is_alive()

        queue.lift_limit()
        waiting.join(5)
        queue.put("three")

        assert waiting.exitcode == 0
        assert [queue.get(), queue.get(), queue.get()] == ["one", "two", "three"]
        close(queue)


class TestTimer:
    def test_is_seen_by_every_process_and_needs_no_lock(self) -> None:
        timer = shared_timer("f", -1)

        def count_down() -> None:
            with timer.get_lock():
                timer.value = 12.5
                os.kill(os.getpid(), signal.SIGKILL)

        process = fork.Process(target=count_down)
        process.start()
        process.join(5)

        with timer.get_lock():
            assert timer.value == 12.5


class TestInstall:
    def test_has_given_them_to_the_cluster(self) -> None:
        assert django_q_cluster.Queue is MessageQueue
        assert django_q_cluster.Value is shared_timer


def test_a_worker_that_starts_looks_for_garbage_seldom(queue: MessageQueue) -> None:
    def start() -> None:
        post_spawn.send(sender="django_q", proc_name="worker")
        queue.put((gc.get_threshold()[0], gc.get_freeze_count() > 10_000))

    worker = fork.Process(target=start)
    worker.start()
    worker.join(10)

    assert queue.get() == (50_000, True)
