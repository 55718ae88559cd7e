import threading
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.db import OperationalError
from django.utils import timezone

from tests.rings import Rings
from tests.webhooks.factories import happen, make_subscription
from webhooks import claims, clock, timers
from webhooks.clock import Clock
from webhooks.models import Attempt, Delivery
from webhooks.timers import Timer

pytestmark = pytest.mark.django_db(transaction=True)

ran: list[str] = []
goes_on = threading.Event()


def seldom() -> None:
    ran.append("seldom")


def often() -> None:
    ran.append("often")


def long() -> None:
    ran.append("long")
    goes_on.wait(10)


def broken() -> None:
    ran.append("broken")
    raise ValueError("a bug")


@pytest.fixture(autouse=True)
def _nothing_ran() -> Iterator[None]:
    ran.clear()
    goes_on.clear()
    yield
    goes_on.set()


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> list[Timer]:
    registered: list[Timer] = []
    monkeypatch.setattr(timers, "registered", registered)
    return registered


def timer(name: str, seconds: float) -> Timer:
    return Timer(f"{__name__}.{name}", seconds)


def tick(ticking: Clock, *, later_s: float = 0) -> list[str]:
    """What has run at a tick so much later."""
    ran.clear()
    ticking.next_at = {timer: at - later_s for timer, at in ticking.next_at.items()}
    ticking.tick()
    time.sleep(0.1)
    return sorted(ran)


def fail() -> None:
    raise OperationalError("the database is away")


class TestLook:
    def test_rings_when_something_is_due_that_nobody_rang_for(self, rings: Rings) -> None:
        make_subscription()
        happen()
        rings()

        clock.look()

        assert rings() == ["bell"]

    def test_is_silent_when_nothing_is_due(self, rings: Rings) -> None:
        make_subscription()
        happen()
        rings()
        Delivery.objects.update(next_attempt_at=timezone.now() + timedelta(minutes=1))

        clock.look()

        assert rings() == []

    def test_recovers_what_a_lost_worker_held(self, rings: Rings) -> None:
        make_subscription()
        happen()
        rings()
        claims.claim(1, owner="w1", now=timezone.now())
        Delivery.objects.update(lease_until=timezone.now() - timedelta(seconds=1))

        clock.look()

        assert rings() == ["bell"]
        assert Attempt.objects.get().reason == "worker_lost"


class TestTimers:
    def test_run_in_their_time(self, registered: list[Timer]) -> None:
        registered += [timer("seldom", 60), timer("often", 5)]
        ticking = Clock()

        assert tick(ticking) == ["often", "seldom"]
        assert tick(ticking, later_s=4) == []
        assert tick(ticking, later_s=1) == ["often"]
        assert tick(ticking, later_s=5) == ["often"]
        assert tick(ticking, later_s=50) == ["often", "seldom"]

    def test_begin_one_after_the_other_and_the_quickest_first(self, registered: list[Timer]) -> None:
        registered += [Timer(f"shop.{seconds}", seconds) for seconds in (3600, 5, 300, 2, 60)]

        ticking = Clock()

        first = min(ticking.next_at.values())
        begins = {timer.seconds: round(at - first, 3) for timer, at in ticking.next_at.items()}
        assert begins == {2: 0, 5: 0.25, 60: 0.5, 300: 0.75, 3600: 1}

    def test_that_take_long_keep_no_other_waiting_and_are_not_begun_again(self, registered: list[Timer]) -> None:
        registered += [timer("long", 1), timer("often", 1)]
        ticking = Clock()

        assert tick(ticking) == ["long", "often"]
        assert tick(ticking, later_s=1) == ["often"]

        goes_on.set()
        time.sleep(0.1)
        assert tick(ticking, later_s=1) == ["long", "often"]

    def test_that_fail_are_told_in_the_log_and_run_again(
        self, registered: list[Timer], caplog: pytest.LogCaptureFixture
    ) -> None:
        registered += [timer("broken", 1)]
        ticking = Clock()

        assert tick(ticking) == ["broken"]
        assert tick(ticking, later_s=1) == ["broken"]

        [first, _] = caplog.records
        assert first.getMessage() == "The timer tests.webhooks.test_clock.broken failed"
        assert first.exc_text is not None
        assert "a bug" in first.exc_text

    def test_run_while_the_clock_cannot_reach_the_database(
        self, registered: list[Timer], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        registered += [timer("often", 1)]
        monkeypatch.setattr(clock, "look", fail)

        assert tick(Clock()) == ["often"]

        assert "The clock cannot reach the database, and tries again: the database is away" in caplog.text

    def test_may_end_by_themselves_when_the_cluster_stops(
        self, registered: list[Timer], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(clock, "STOP_WITHIN_S", 0.3)
        registered += [timer("long", 1)]
        ticking = Clock()
        tick(ticking)
        started = time.monotonic()

        ticking.finish()

        assert 0.3 <= time.monotonic() - started < 0.5
