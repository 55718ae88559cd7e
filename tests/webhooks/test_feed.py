"""The feed: every event once, in an order that no late commit can break into."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from tests.marks import only_on
from tests.webhooks.factories import happen
from webhooks import feed, streams
from webhooks.events import FAILING, TEST
from webhooks.feed import FROM_ZERO, CursorGone
from webhooks.hub import Page
from webhooks.models import Event

# On PostgreSQL what a transaction has not yet committed is not in the feed, not even in its own.
pytestmark = pytest.mark.django_db(transaction=True)

on_postgresql = only_on("postgresql", because="SQLite has one writer at a time")


def ids(events: list[Event]) -> list[str]:
    return [event.public_id for event in events]


def in_a_thread(work: Callable[[], Any]) -> Any:
    """Through a connection of its own, which ends with it."""

    def run() -> Any:
        try:
            return work()
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(run).result()


class TestAfter:
    def test_gives_all_events_in_the_order_they_were_committed(self) -> None:
        happened = [happen(f"sub_{n % 2}").public_id for n in range(5)]

        assert ids(feed.after(FROM_ZERO, limit=10)) == happened

    def test_goes_on_after_any_event(self) -> None:
        happened = [happen().public_id for _ in range(5)]

        assert ids(feed.after(happened[1], limit=2)) == happened[2:4]
        assert feed.after(happened[-1], limit=2) == []

    def test_gives_those_of_one_subject(self) -> None:
        mine = [happen(f"sub_{n % 2}").public_id for n in range(4)][::2]

        assert ids(feed.after(FROM_ZERO, subject="sub_0", limit=10)) == mine

    @pytest.mark.parametrize("patterns", [["webhook.test"], ["webhook.*"], ["*"], ["order.*", "webhook.test"]])
    def test_gives_those_of_some_types(self, patterns: list[str]) -> None:
        event = happen()

        assert ids(feed.after(FROM_ZERO, types=patterns, limit=10)) == [event.public_id]
        assert feed.after(FROM_ZERO, types=[FAILING.name], limit=10) == []

    def test_refuses_an_event_that_is_not_there_any_more(self) -> None:
        forgotten = happen()
        Event.objects.all().delete()

        with pytest.raises(CursorGone, match="start again from zero"):
            feed.after(forgotten.public_id, limit=10)

    @pytest.mark.parametrize("types", [(), (TEST.name,)])
    def test_is_answered_by_an_index(self, types: tuple[str, ...]) -> None:
        happen_at_once(2_000)
        cursor = feed.after(FROM_ZERO, limit=1_000)[-1].public_id
        if connection.vendor == "postgresql":
            with connection.cursor() as database:
                database.execute("ANALYZE webhooks_event")

        plan = explained(lambda: feed.after(cursor, types=types, limit=50))

        assert "event_feed" in plan
        assert "TEMP B-TREE" not in plan
        assert "Sort" not in plan


class TestNewest:
    def test_is_where_only_what_is_yet_to_happen_comes_after(self) -> None:
        happen()
        cursor = feed.newest()
        later = happen()

        assert ids(feed.after(cursor, limit=10)) == [later.public_id]

    def test_is_zero_while_nothing_has_happened(self) -> None:
        assert feed.newest() == FROM_ZERO

    def test_is_where_one_stands_while_nothing_else_happens(self) -> None:
        happen()
        cursor = happen().public_id

        assert feed.newest(since=cursor) == cursor


@on_postgresql
class TestLateCommits:
    def test_what_commits_late_is_never_skipped(self) -> None:
        """The earlier of two has the lower key and commits last; the later one waits for it."""
        first = happen("sub_1")
        with transaction.atomic():
            early = happen("sub_early")
            late = in_a_thread(lambda: happen("sub_late"))
            assert early.pk < late.pk
            read = in_a_thread(lambda: ids(feed.after(FROM_ZERO, limit=10)))

        assert read == [first.public_id]
        assert ids(feed.after(read[-1], limit=10)) == [early.public_id, late.public_id]

    def test_a_reader_between_any_two_commits_gets_every_event_once(self) -> None:
        """Transactions that begin, write and commit in every crossing order; a reader after each commit."""
        read: list[str] = []
        written: set[str] = set()

        def look() -> None:
            read.extend(ids(in_a_thread(lambda: feed.after(read[-1] if read else FROM_ZERO, limit=100))))

        with transaction.atomic():
            written.add(happen("sub_outer").public_id)

            def inner() -> None:
                with transaction.atomic():
                    written.add(happen("sub_inner").public_id)
                    written.add(in_a_thread(lambda: happen("sub_quick")).public_id)
                    look()
                look()
                written.add(happen("sub_quick").public_id)
                look()

            in_a_thread(inner)
            written.add(happen("sub_last").public_id)
            look()
        look()

        assert len(read) == len(set(read))
        assert set(read) == written

    def test_a_subject_stands_in_its_sequence_even_where_the_older_transaction_wrote_last(self) -> None:
        """The outer transaction has the lower number; both tell of one subject, the inner one first."""
        with transaction.atomic():
            happen("sub_other")
            in_a_thread(lambda: happen("sub_1"))
            happen("sub_1")

        assert [event.sequence for event in feed.after(FROM_ZERO, subject="sub_1", limit=10)] == [1, 2]

    def test_takes_no_reader_back_who_knows_of_more_than_is_settled(self) -> None:
        """A webhook tells of an event at once, and a stream can be asked to go on after it."""
        happen("sub_1")
        with transaction.atomic():
            happen("sub_early")
            known = in_a_thread(lambda: happen("sub_1")).public_id
            meanwhile = in_a_thread(lambda: streams.Feed().since(known))
        later = happen("sub_1")

        assert meanwhile == Page(known)
        assert streams.Feed().since(known).position == later.public_id

    def test_nothing_waits_once_every_transaction_has_ended(self) -> None:
        """Not even an event whose transaction ended before a younger one did."""
        with transaction.atomic():
            in_a_thread(lambda: happen("sub_quick"))
            happen("sub_1")

        assert len(feed.after(FROM_ZERO, limit=10)) == 2

    def test_a_transaction_that_was_rolled_back_holds_up_nothing(self) -> None:
        with transaction.atomic():
            happen("sub_gone")
            event = in_a_thread(lambda: happen("sub_1"))
            transaction.set_rollback(True)

        assert ids(feed.after(FROM_ZERO, limit=10)) == [event.public_id]


@on_postgresql
class TestResettle:
    def test_what_was_restored_from_another_server_comes_first(self) -> None:
        """There the transactions had numbers that here are far off."""
        old = [happen("sub_1") for _ in range(2)]
        Event.objects.update(position=10**12)
        assert feed.after(FROM_ZERO, limit=10) == []

        feed.resettle()
        new = happen("sub_1")

        assert ids(feed.after(FROM_ZERO, limit=10)) == [*ids(old), new.public_id]

    def test_leaves_what_was_written_here(self) -> None:
        before = happen().position

        feed.resettle()

        assert Event.objects.get().position == before > 0


def happen_at_once(count: int) -> None:
    now = datetime.now(UTC)
    Event.objects.bulk_create(
        Event(type=TEST.name if n % 2 else "order.created", subject=f"sub_{n}", sequence=1, body="{}", occurred_at=now)
        for n in range(count)
    )


def explained(work: Callable[[], Any]) -> str:
    """The plan of the last statement of `work`."""
    with CaptureQueriesContext(connection) as captured:
        work()
    prefix = "EXPLAIN" if connection.vendor == "postgresql" else "EXPLAIN QUERY PLAN"
    with connection.cursor() as cursor:
        cursor.execute(f"{prefix} {captured.captured_queries[-1]['sql']}")
        return "\n".join(str(row[-1]) for row in cursor.fetchall())
