import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from rest_framework import serializers

from tests.rings import Rings
from tests.webhooks.factories import happen, make_subscription
from webhooks import subscriptions
from webhooks.catalogue import API_VERSION, EventType, Subject
from webhooks.events import TEST, Ping
from webhooks.models import Delivery, Event, EventSequence, Subscription
from webhooks.outbox import emit, rfc3339

pytestmark = pytest.mark.django_db


@dataclass(frozen=True)
class Fact:
    subject: str
    at: datetime
    amount: Decimal = Decimal("49.90")


class FactSerializer(serializers.Serializer[Fact]):
    zebra = serializers.SerializerMethodField()
    amount = serializers.DecimalField(max_digits=9, decimal_places=2)
    at = serializers.DateTimeField()

    def get_zebra(self, fact: Fact) -> str:
        return 'Käse 🧀 "\u2028\x00'


ODD = EventType(
    name="odd.happened",
    summary="",
    subject=Subject(kind="odd", example="odd_1", id=lambda fact: fact.subject, label=lambda fact: fact.subject.upper()),
    serializer=FactSerializer,
    example={},
)
# 18:04:05.123456 in Vienna.
AT = datetime(2026, 11, 23, 19, 4, 5, 123456, tzinfo=timezone(timedelta(hours=1)))


def ping(subject: str, now: datetime) -> Ping:
    return Ping(subject, "a shop", "ann", now)


class TestBody:
    def test_is_compact_json_in_the_order_of_the_envelope(self) -> None:
        with transaction.atomic():
            event = emit(ODD, Fact("odd_1", AT))

        assert event.body == (
            f'{{"id":"{event.public_id}","type":"odd.happened","api_version":"{API_VERSION}",'
            '"timestamp":"2026-11-23T18:04:05.123Z","subject":"odd_1","sequence":1,'
            '"data":{"zebra":"Käse 🧀 \\"\u2028\\u0000","amount":"49.90","at":"2026-11-23T18:04:05.123456Z"}}'
        )

    def test_comes_back_from_the_database_byte_for_byte(self) -> None:
        with transaction.atomic():
            event = emit(ODD, Fact("odd_1", AT))

        stored = Event.objects.get()
        assert stored.body.encode() == event.body.encode()
        assert (stored.type, stored.subject, stored.label, stored.sequence) == ("odd.happened", "odd_1", "ODD_1", 1)
        assert stored.occurred_at == AT

    def test_names_the_event_by_an_id_without_a_full_stop(self) -> None:
        with transaction.atomic():
            event = emit(ODD, Fact("odd_1", AT))

        assert event.public_id.startswith("evt_")
        assert "." not in event.public_id

    @pytest.mark.parametrize(
        ("moment", "text"),
        [
            (datetime(2026, 1, 1, tzinfo=UTC), "2026-01-01T00:00:00.000Z"),
            (datetime(2026, 1, 1, 0, 0, 0, 999_999, tzinfo=UTC), "2026-01-01T00:00:00.999Z"),
            (datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=-5))), "2026-01-01T05:00:00.000Z"),
        ],
    )
    def test_tells_the_time_in_utc_and_milliseconds(self, moment: datetime, text: str) -> None:
        assert rfc3339(moment) == text


class TestSequence:
    def test_counts_each_subject_from_one_without_a_gap(self) -> None:
        sequences = [(subject, happen(subject).sequence) for subject in ("a", "b", "a", "a", "b")]

        assert sequences == [("a", 1), ("b", 1), ("a", 2), ("a", 3), ("b", 2)]

    def test_gives_the_number_of_a_rolled_back_event_to_the_next(self, now: datetime) -> None:
        happen("a")
        with transaction.atomic():
            emit(TEST, ping("a", now))
            transaction.set_rollback(True)

        assert happen("a").sequence == 2
        assert EventSequence.objects.get().last == 2

    @pytest.mark.django_db(transaction=True)
    def test_has_neither_gap_nor_double_when_many_emit_at_once(self) -> None:
        def emit_some(_: int) -> None:
            for _n in range(10):
                happen("a")
            connection.close()

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(emit_some, range(4)))

        events = Event.objects.order_by("sequence")
        assert [event.sequence for event in events] == list(range(1, 41))
        assert [json.loads(event.body)["sequence"] for event in events] == list(range(1, 41))


class TestDeliveries:
    def test_are_owed_to_every_subscription_that_wants_the_event(self, now: datetime) -> None:
        everything = make_subscription(name="everything")
        group = make_subscription(name="group", event_types=["order.*", "webhook.*"])
        exact = make_subscription(name="exact", event_types=["webhook.test"])
        make_subscription(name="other", event_types=["order.*"])

        event = happen("sub_1")

        deliveries = event.deliveries.order_by("id")
        assert [delivery.subscription for delivery in deliveries] == [everything, group, exact]
        assert {
            (d.state, d.lane, d.attempt_count, d.event_type, d.subject, d.label, d.next_attempt_at) for d in deliveries
        } == {("pending", 0, 0, "webhook.test", "sub_1", "a shop", event.created_at)}

    def test_wait_for_a_paused_subscription_are_skipped_for_a_disabled_one_and_nothing_for_a_draft(
        self, now: datetime
    ) -> None:
        paused, disabled = make_subscription(name="paused"), make_subscription(name="disabled")
        subscriptions.pause(paused, by="ann", now=now)
        subscriptions.disable(disabled, by="ann", now=now, reason="It is gone.")
        Subscription.objects.create(name="draft", event_types=["*"])

        happen("sub_1")

        states = (
            Delivery.objects.filter(event_type="webhook.test")
            .order_by("id")
            .values_list("subscription__name", "state", "next_attempt_at")
        )
        assert [(name, state, due is None) for name, state, due in states] == [
            ("paused", "pending", False),
            ("disabled", "skipped", True),
        ]

    def test_of_a_test_event_are_owed_to_one_subscription_only(self, now: datetime) -> None:
        wanted = make_subscription(event_types=["order.*"])
        make_subscription(name="another")

        with transaction.atomic():
            event = emit(TEST, ping("sub_1", now), only_to=wanted)

        assert event.deliveries.get().subscription == wanted

    def test_are_not_needed_for_the_event_to_be_kept(self) -> None:
        event = happen("sub_1")

        assert Event.objects.get() == event
        assert not Delivery.objects.exists()


class TestEmit:
    @pytest.mark.django_db(transaction=True)
    def test_refuses_to_work_outside_a_transaction(self, now: datetime) -> None:
        with pytest.raises(
            transaction.TransactionManagementError, match=r"webhook\.test must be emitted in the transaction"
        ):
            emit(TEST, ping("sub_1", now))

        assert not Event.objects.exists()
        assert not EventSequence.objects.exists()

    def test_takes_four_statements_with_one_subscription(self, now: datetime) -> None:
        make_subscription()
        with transaction.atomic():
            emit(TEST, ping("sub_1", now))
            with CaptureQueriesContext(connection) as statements:
                emit(TEST, ping("sub_1", now))

        assert len(statements) <= 4

    def test_takes_no_more_with_twenty(self, now: datetime) -> None:
        for n in range(20):
            make_subscription(name=str(n))

        with transaction.atomic(), CaptureQueriesContext(connection) as statements:
            emit(TEST, ping("sub_1", now))

        # The two around them are the savepoint of this test's own transaction.
        assert len([s for s in statements if "SAVEPOINT" not in s["sql"]]) <= 4
        assert Delivery.objects.count() == 20

    @pytest.mark.django_db(transaction=True)
    def test_wakes_the_cluster_only_when_it_has_committed(self, now: datetime, rings: Rings) -> None:
        make_subscription()
        with transaction.atomic():
            emit(TEST, ping("sub_1", now))
            heard_before = rings()

        assert (heard_before, rings()) == ([], ["bell"])

    @pytest.mark.django_db(transaction=True)
    def test_leaves_nothing_behind_when_it_is_rolled_back(self, now: datetime, rings: Rings) -> None:
        make_subscription()

        with transaction.atomic():
            emit(TEST, ping("sub_1", now))
            transaction.set_rollback(True)

        for model in (Event, Delivery, EventSequence):
            assert not model._default_manager.exists()
        assert rings() == []

    @pytest.mark.django_db(transaction=True)
    def test_lets_nobody_wake_for_an_event_nobody_wants(self, rings: Rings) -> None:
        make_subscription(event_types=["order.*"])

        happen("sub_1")

        assert rings() == []
