"""Several events of one transaction, written at its end."""

from contextlib import suppress
from datetime import datetime

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from tests.webhooks.factories import make_subscription
from webhooks.events import TEST, Ping
from webhooks.models import Delivery, Event, EventSequence
from webhooks.outbox import amend, emit, retract, together

pytestmark = pytest.mark.django_db


class Refused(Exception):
    pass


def tell(subject: str, now: datetime, *, by: str = "ann") -> Event:
    return emit(TEST, Ping(subject, "a shop", by, now))


def kept() -> list[tuple[str, int]]:
    return list(Event.objects.order_by("pk").values_list("subject", "sequence"))


def test_takes_four_statements_for_all_of_them(now: datetime) -> None:
    make_subscription()
    with transaction.atomic(), CaptureQueriesContext(connection) as queries, together():
        for n in range(20):
            tell(f"sub_{n % 3}", now)

    statements = [query["sql"] for query in queries if "SAVEPOINT" not in query["sql"]]
    assert len(statements) == 4
    assert Event.objects.count() == Delivery.objects.count() == 20


def test_numbers_each_subject_in_the_order_of_emission(now: datetime) -> None:
    with together():
        tell("b", now)
        tell("a", now)
        tell("b", now)
    with together():
        tell("b", now)

    assert kept() == [("b", 1), ("a", 1), ("b", 2), ("b", 3)]


def test_puts_the_number_into_the_body(now: datetime) -> None:
    with together():
        tell("a", now)
        second = tell("a", now)

    assert '"sequence":2' in second.body
    assert Event.objects.get(public_id=second.public_id).body == second.body


def test_waits_for_the_end_of_the_outermost(now: datetime) -> None:
    with together():
        with together():
            tell("a", now)
        assert kept() == []

    assert kept() == [("a", 1)]


def test_is_written_before_what_is_emitted_after_it(now: datetime) -> None:
    with transaction.atomic():
        with together():
            tell("a", now, by="ann")
        after = tell("a", now, by="bob")

    assert after.sequence == 2


def test_leaves_out_what_a_savepoint_has_undone(now: datetime) -> None:
    with together():
        tell("a", now)
        with suppress(Refused), transaction.atomic():
            tell("a", now)
            raise Refused
        tell("a", now)

    assert kept() == [("a", 1), ("a", 2)]


def test_leaves_nothing_behind_when_it_is_rolled_back(now: datetime) -> None:
    with transaction.atomic():
        with suppress(Refused), together():
            tell("a", now)
            raise Refused
        tell("b", now)

    assert kept() == [("b", 1)]
    assert not EventSequence.objects.filter(subject="a").exists()


def test_does_not_gather_any_more_after_a_refusal(now: datetime) -> None:
    with suppress(Refused), together():
        raise Refused
    with transaction.atomic():
        tell("a", now)

        assert kept() == [("a", 1)]


def test_tells_an_amended_event_once_as_it_ended(now: datetime) -> None:
    with together():
        event = tell("a", now, by="ann")
        tell("a", now, by="eve")
        amend(event, TEST, Ping("a", "a shop", "bob", now))

    first, second = Event.objects.order_by("pk")
    assert (first.public_id, first.sequence) == (event.public_id, 1)
    assert '"bob"' in first.body
    assert '"ann"' not in first.body
    assert '"eve"' in second.body


def test_does_not_tell_a_retracted_event(now: datetime) -> None:
    with together():
        event = tell("a", now)
        retract(event)
        tell("a", now)

    assert kept() == [("a", 1)]


def test_tells_it_all_the_same_when_the_retraction_is_undone(now: datetime) -> None:
    with together():
        event = tell("a", now)
        with suppress(Refused), transaction.atomic():
            retract(event)
            raise Refused

    assert kept() == [("a", 1)]
