"""Queries compiled once, and rows added by a statement of their own: what they give is what the ORM would."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.apps import apps
from django.db import IntegrityError, connection
from django.db.models import QuerySet
from django.db.models.sql.compiler import SQLCompiler
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from tests.factories import NOW
from tests.webhooks.factories import NOWHERE, happen, make_subscription
from webhooks import adding
from webhooks.adding import ROWS_PER_STATEMENT, add
from webhooks.models import Delivery, Event, Subscription
from webhooks.prepared import LONGEST, Prepared, Reader

pytestmark = pytest.mark.django_db


def fields_of(row: Any) -> dict[str, Any]:
    return {name: value for name, value in vars(row).items() if not name.startswith("_")}


def deliveries_of(subject: str) -> QuerySet[Delivery]:
    return Delivery.objects.select_related("event", "subscription").filter(subject=subject)


class TestPrepared:
    def test_gives_the_rows_the_queryset_gives(self) -> None:
        make_subscription(name="One", headers={"x-key": "s3cret"})
        make_subscription(name="Two")
        happen("sub_1")
        rows = Prepared(deliveries_of)("sub_1")

        expected = list(deliveries_of("sub_1"))
        assert len(rows) == 2
        assert list(map(fields_of, rows)) == list(map(fields_of, expected))
        assert [fields_of(row.subscription) for row in rows] == [fields_of(row.subscription) for row in expected]
        assert [row.event for row in rows] == [row.event for row in expected]
        assert not rows[0]._state.adding

    def test_takes_other_values_each_time(self) -> None:
        happen("sub_1")
        happen("sub_2")
        of = Prepared(lambda subject, sequence: Event.objects.filter(subject=subject, sequence=sequence))

        assert [[event.subject for event in of(subject, 1)] for subject in ("sub_1", "sub_2", "sub_3")] == [
            ["sub_1"],
            ["sub_2"],
            [],
        ]
        assert of("sub_1", 2) == []

    def test_is_compiled_once_for_each_number_of_values(self, monkeypatch: pytest.MonkeyPatch) -> None:
        events = [happen(f"sub_{n}") for n in range(3)]
        compiled, as_sql = [], SQLCompiler.as_sql

        def listen(self: SQLCompiler, *args: Any, **kwargs: Any) -> Any:
            compiled.append(self)
            return as_sql(self, *args, **kwargs)

        monkeypatch.setattr(SQLCompiler, "as_sql", listen)
        of = Prepared(lambda keys: Event.objects.filter(pk__in=keys).order_by("pk"))

        found = [of([event.pk]) for event in events] + [of([events[0].pk, events[2].pk])] * 2

        assert found == [[events[0]], [events[1]], [events[2]], [events[0], events[2]], [events[0], events[2]]]
        assert len(compiled) == 2

    @pytest.mark.parametrize("count", [0, LONGEST + 1])
    def test_leaves_no_and_very_many_values_to_the_queryset(self, count: int) -> None:
        events = [happen(f"sub_{n}") for n in range(count)]
        of = Prepared(lambda keys: Event.objects.filter(pk__in=keys).order_by("pk"))

        assert of([event.pk for event in events]) == events
        assert of.compiled == {}

    def test_leaves_what_was_not_asked_for_to_be_read_later(
        self, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        make_subscription()
        (row,) = Prepared(lambda: Subscription.objects.only("name"))()

        with django_assert_num_queries(1):
            assert row.url == NOWHERE

    def test_refuses_a_value_that_is_no_parameter(self) -> None:
        happen("sub_1")

        with pytest.raises(ValueError, match="takes each value as a parameter"):
            Prepared(lambda count: Event.objects.order_by("pk")[:count])(1)


class TestReader:
    def test_gives_the_rows_the_orm_gives_with_what_else_was_found(self) -> None:
        make_subscription(name="One", headers={"x-key": "s3cret"})
        make_subscription(name="Two", conditions=[])
        read = Reader(Subscription, "shout", "number")
        select = f"SELECT {read.columns_of('s')}, upper(s.name), %s"

        rows: list[Any] = read(f"{select} FROM webhooks_subscription s ORDER BY s.id", [7])

        assert [(row.shout, row.number) for row in rows] == [("ONE", 7), ("TWO", 7)]
        found = [{name: value for name, value in fields_of(row).items() if name not in read.others} for row in rows]
        assert found == [fields_of(row) for row in Subscription.objects.order_by("id")]


class TestAdd:
    def deliveries(self, count: int) -> list[Delivery]:
        subscription = make_subscription(event_types=["order.created"])
        events = [happen(f"sub_{n}") for n in range(count)]
        return [
            Delivery(event=event, subscription=subscription, event_type=event.type, subject=event.subject, label="x")
            for event in events
        ]

    def test_adds_what_bulk_create_would(self) -> None:
        now = timezone.now() - timedelta(hours=1)
        one, other = self.deliveries(2)
        one.next_attempt_at, one.lease_owner, one.last_status_code = now, "w1", 503

        add([one, other])

        assert Delivery.objects.count() == 2
        for row in (one, other):
            kept = Delivery.objects.get(pk=row.pk)
            assert fields_of(kept) == fields_of(row)
            assert not row._state.adding

    @pytest.mark.parametrize("value", ["MUG", "", True, 0, 7, -1, 40_000, NOW], ids=repr)
    def test_stores_each_kind_of_value_as_its_field_would(self, value: Any) -> None:
        fields = [field for model in apps.get_models() for field in model._meta.local_concrete_fields]
        ways = [(field, way) for field in fields if (way := adding._ways(field).get(type(value)))]

        for field, way in ways:
            assert way(value) == field.get_db_prep_save(value, connection)
        # SQLite has no type for moments: their field writes them out.
        assert bool(ways) is not (isinstance(value, datetime) and connection.vendor == "sqlite")

    def test_takes_one_statement_for_many(self) -> None:
        rows = self.deliveries(ROWS_PER_STATEMENT + 1)

        with CaptureQueriesContext(connection) as told:
            add(rows)

        assert len(told) == 2
        assert Delivery.objects.count() == ROWS_PER_STATEMENT + 1
        assert len({row.pk for row in rows}) == ROWS_PER_STATEMENT + 1

    def test_of_nothing_does_nothing(self, django_assert_num_queries: DjangoAssertNumQueries) -> None:
        with django_assert_num_queries(0):
            add([])

    def test_adds_all_or_none(self) -> None:
        one, other = self.deliveries(2)
        other.public_id = one.public_id

        with pytest.raises(IntegrityError):
            add([one, other])

    def test_gives_each_row_what_the_database_fills_in(self) -> None:
        first, second = (
            Event(type="webhook.test", subject="a", sequence=1, occurred_at=timezone.now()),
            Event(type="webhook.test", subject="a", sequence=2, occurred_at=timezone.now()),
        )

        add([first, second])

        assert (first.pk, second.pk) == tuple(Event.objects.order_by("sequence").values_list("pk", flat=True))
        assert [first.position, second.position] == list(
            Event.objects.order_by("sequence").values_list("position", flat=True)
        )
