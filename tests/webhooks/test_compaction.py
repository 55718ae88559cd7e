"""Latest wins: what a backlog shrinks to, and what is never touched."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from commerce import audit
from inventory import stock
from inventory.models import Product, Warehouse
from tests.factories import make_product, make_warehouse
from tests.receiver import Answer, Receiver
from tests.webhooks.factories import NOWHERE, crank, happen, make_due, make_subscription
from webhooks import claims, compaction, parking, replay, subscriptions, turns
from webhooks.models import Delivery, Event, Subscription
from webhooks.replay import ReplayRefused

pytestmark = pytest.mark.django_db(transaction=True)

STOCK = "inventory.updated"
SKUS = ("CUP", "MUG", "PAN")


def connect(url: str = NOWHERE, **wishes: Any) -> Subscription:
    options: dict[str, Any] = {"event_types": [STOCK], "compact": True} | wishes
    return make_subscription(url, **options)


@pytest.fixture
def products(transactional_db: None) -> None:
    """Of which no stock has moved yet."""
    make_warehouse()
    for sku in SKUS:
        Product.objects.create(sku=sku, name=sku, price_minor=2495, currency="EUR")


def move(sku: str, times: int = 1) -> None:
    """One more of it, so many times: as many events."""
    product, warehouse = Product.objects.get(sku=sku), Warehouse.objects.get()
    for _ in range(times):
        stock.adjust(product=product, warehouse=warehouse, delta=1, reason="received", actor="ann", now=timezone.now())


def states() -> list[str]:
    return list(Delivery.objects.order_by("id").values_list("state", flat=True))


def bodies(receiver: Receiver) -> list[Any]:
    return [json.loads(received.body) for received in receiver.received]


@pytest.mark.usefixtures("products")
class TestAnOutage:
    @pytest.mark.parametrize("ordering", ["best_effort", "strict"])
    def test_ends_with_the_newest_of_each_subject(self, receiver: Receiver, ordering: str, now: datetime) -> None:
        subscription = connect(receiver.url, ordering=ordering)
        subscriptions.pause(subscription, by="ann", now=now)
        with transaction.atomic():
            for n in range(100):
                move(SKUS[n % 3])

        subscriptions.resume(subscription, by="ann", now=now)
        crank()

        assert sorted((body["data"]["sku"], body["data"]["on_hand"]) for body in bodies(receiver)) == [
            ("CUP", 34),
            ("MUG", 33),
            ("PAN", 33),
        ]
        assert sorted(states()) == ["delivered"] * 3 + ["superseded"] * 97
        assert Delivery.objects.filter(state="superseded", attempt_count=0, next_attempt_at=None).count() == 97

    @pytest.mark.parametrize("ordering", ["best_effort", "strict"])
    def test_leaves_what_failed_behind_what_is_newer(self, receiver: Receiver, ordering: str) -> None:
        connect(receiver.url, ordering=ordering)
        receiver.answers = [Answer(500)]
        move("MUG")
        crank()
        move("MUG")
        crank()

        assert states() == ["superseded", "delivered"]
        make_due()
        crank()
        assert [body["sequence"] for body in bodies(receiver)] == [1, 2]

    def test_that_parked_them_brings_back_the_newest_only(self, receiver: Receiver, now: datetime) -> None:
        connect(receiver.url)
        for sku in SKUS:
            move(sku, 4)
        Delivery.objects.update(state="parked", next_attempt_at=None, claimed_at=now, attempt_count=10, lane=1)

        parking.work(now=now)
        crank()
        parking.work(now=now + timedelta(seconds=10))
        make_due()
        crank()

        assert sorted(body["data"]["on_hand"] for body in bodies(receiver)) == [4, 4, 4]
        assert sorted(states()) == ["delivered"] * 3 + ["superseded"] * 9

    def test_is_no_fault_to_the_audit(self, receiver: Receiver, now: datetime) -> None:
        connect(receiver.url)
        Subscription.objects.update(wants_since=now - timedelta(hours=1))
        move("MUG", 3)
        crank()

        assert states() == ["superseded", "superseded", "delivered"]
        assert audit.audit(now=now + timedelta(minutes=1)).findings == []


@pytest.mark.usefixtures("products")
class TestNeverTouches:
    def test_what_is_in_flight(self, now: datetime) -> None:
        connect()
        move("MUG")
        [claimed] = claims.claim(10, owner="w1", now=now + timedelta(minutes=1))
        move("MUG", 2)

        claims.claim(10, owner="w2", now=now + timedelta(minutes=1))

        assert states() == ["sending", "superseded", "pending"]
        assert Delivery.objects.get(pk=claimed.id).lease_owner == "w1"

    def test_events_that_do_not_tell_all(self, receiver: Receiver) -> None:
        connect(receiver.url, event_types=["product.*"])
        make_product("NEW")
        product = Product.objects.get(sku="NEW")
        for price in (1_100, 1_200):
            product.price_minor = price
            product.save()

        crank()

        told = [(body["type"], body["data"]["price_amount"]) for body in bodies(receiver)]
        assert [event_type for event_type, _ in told] == ["product.created", "product.updated"]
        assert told[-1][1] == "12.00"

    def test_a_subscription_that_does_not_ask_for_it(self, receiver: Receiver) -> None:
        connect(receiver.url, compact=False)
        connect(name="other")
        move("MUG", 5)

        crank()

        assert [body["data"]["on_hand"] for body in bodies(receiver)] == [1, 2, 3, 4, 5]

    def test_what_a_newer_one_that_was_skipped_would_leave_untold(self, receiver: Receiver, now: datetime) -> None:
        subscription = connect(receiver.url)
        subscriptions.pause(subscription, by="ann", now=now)
        move("MUG")
        subscriptions.disable(subscription, by="ann", now=now, reason="x")
        move("MUG")
        subscriptions.resume(subscription, by="ann", now=now)

        crank()

        assert states() == ["delivered", "skipped"]

    def test_the_newer_event_when_an_older_one_was_added_later(self, receiver: Receiver, now: datetime) -> None:
        move("MUG")
        subscription = connect(receiver.url)
        subscriptions.pause(subscription, by="ann", now=now)
        move("MUG")
        subscriptions.resume(subscription, by="ann", now=now)
        older = replay.replay_missing(subscription, since=now - timedelta(minutes=1), by="ann", now=now)
        replay.advance_one(older.pk, now=now)
        assert Delivery.objects.earliest("id").event.sequence > Delivery.objects.latest("id").event.sequence

        compaction.settle(subscription, look_ahead=200, now=now + timedelta(minutes=1))

        assert set(states()) == {"pending"}


@pytest.mark.usefixtures("products")
class TestASupersededOne:
    @pytest.fixture
    def superseded(self, receiver: Receiver) -> Delivery:
        connect(receiver.url)
        move("MUG", 3)
        crank()
        return Delivery.objects.earliest("id")

    def test_names_the_one_that_went_in_its_place(self, superseded: Delivery) -> None:
        assert superseded.state == "superseded"
        assert compaction.successor(superseded) == Delivery.objects.latest("id")

    def test_can_be_resent_by_hand(self, superseded: Delivery, receiver: Receiver, now: datetime) -> None:
        replay.resend(superseded, by="ann", now=now)
        crank()

        assert [body["sequence"] for body in bodies(receiver)] == [3, 1]
        assert states() == ["delivered", "superseded", "delivered"]

    def test_is_not_tried_again_when_that_fails(self, superseded: Delivery, receiver: Receiver, now: datetime) -> None:
        receiver.answers = [Answer(500)]
        replay.resend(superseded, by="ann", now=now)
        crank()
        make_due()
        crank()

        assert [body["sequence"] for body in bodies(receiver)] == [3, 1]
        assert states() == ["superseded", "superseded", "delivered"]

    def test_is_not_brought_back_by_recover(self, superseded: Delivery, now: datetime) -> None:
        since = now - timedelta(hours=1)

        assert replay.count_recoverable(superseded.subscription, since=since) == 0
        assert replay.count_missing(superseded.subscription, since=since) == 0

    def test_is_refused_while_the_subscription_is_disabled(self, superseded: Delivery, now: datetime) -> None:
        subscriptions.disable(superseded.subscription, by="ann", now=now, reason="x")

        with pytest.raises(ReplayRefused):
            replay.resend(superseded, by="ann", now=now)


@pytest.mark.usefixtures("products")
def test_recovering_what_was_skipped_sends_the_newest_of_each(receiver: Receiver, now: datetime) -> None:
    subscription = connect(receiver.url)
    subscriptions.disable(subscription, by="ann", now=now, reason="x")
    for sku in SKUS:
        move(sku, 5)
    subscriptions.resume(subscription, by="ann", now=now, recover=False)
    since = now - timedelta(hours=1)
    assert replay.count_recoverable(subscription, since=since) == 3

    started = replay.recover(subscription, since=since, by="ann", now=now)
    replay.advance_one(started.pk, now=now)
    crank()

    assert sorted(body["data"]["on_hand"] for body in bodies(receiver)) == [5, 5, 5]
    assert sorted(states()) == ["delivered"] * 3 + ["skipped"] * 12
    assert replay.count_recoverable(subscription, since=since) == 0


@pytest.mark.usefixtures("products")
def test_resuming_sends_the_newest_of_each_that_was_skipped(
    receiver: Receiver, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "BATCH", 2)
    subscription = connect(receiver.url)
    subscriptions.disable(subscription, by="ann", now=now, reason="x")
    for sku in SKUS:
        move(sku, 5)

    resumed = subscriptions.resume(subscription, by="ann", now=now)
    parking.work(now=now)
    assert resumed is not None
    replay.advance_one(resumed.pk, now=now)
    crank()

    assert sorted(body["data"]["on_hand"] for body in bodies(receiver)) == [5, 5, 5]
    assert sorted(states()) == ["delivered"] * 3 + ["superseded"] * 12


class TestCost:
    @pytest.mark.usefixtures("products")
    def test_a_backlog_beyond_one_claims_time_is_superseded_over_several(
        self, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(compaction, "BATCH", 2)
        monkeypatch.setattr(compaction, "CLAIM_ROUNDS", 2)
        connect(receiver.url)
        with transaction.atomic():
            move("MUG", 20)

        crank()

        assert [body["data"]["on_hand"] for body in bodies(receiver)] == [20]
        assert states().count("superseded") == 19

    @pytest.mark.usefixtures("products")
    def test_is_nothing_to_those_that_do_not_ask_for_it(self, now: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object, **__: object) -> bool:
            raise AssertionError("asked for nothing")

        monkeypatch.setattr(compaction, "settle", refuse)
        connect(compact=False)
        move("MUG", 2)

        assert len(claims.claim(10, owner="w1", now=now + timedelta(minutes=1))) == 1

    @pytest.mark.usefixtures("products")
    def test_is_not_paid_while_other_claims_wait(self, now: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
        settle, under_the_lock = compaction.settle, []

        def look(*args: Any, **kwargs: Any) -> bool:
            under_the_lock.append(connection.in_atomic_block)
            return settle(*args, **kwargs)

        monkeypatch.setattr(compaction, "settle", look)
        connect()
        move("MUG", 2)

        assert len(claims.claim(10, owner="w1", now=now + timedelta(minutes=1))) == 1
        assert under_the_lock == [False]

    @pytest.mark.usefixtures("products")
    def test_of_what_lies_behind_much_that_waits_is_one_more_claim(
        self, now: datetime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(turns, "LOOK_AHEAD", 3)
        connect(event_types=[STOCK, "webhook.*"], ordering="strict")
        for _ in range(6):
            happen("failed")
        Delivery.objects.filter(event__sequence=1).update(state="parked", next_attempt_at=None)
        move("MUG", 3)
        soon = now + timedelta(minutes=1)

        assert claims.claim(10, owner="w1", now=soon) == []
        [claimed] = claims.claim(10, owner="w1", now=soon)

        assert states()[-3:] == ["superseded", "superseded", "sending"]
        assert claimed.id == Delivery.objects.latest("id").pk

    @pytest.mark.usefixtures("products")
    def test_of_looking_is_two_statements(self, now: datetime, django_assert_num_queries: Callable[..., Any]) -> None:
        subscription = connect()
        for sku in SKUS:
            move(sku)

        with django_assert_num_queries(2 + 4):
            # Each in a transaction of its own here; within a claim's they are savepoints of it.
            assert compaction.settle(subscription, look_ahead=200, now=now + timedelta(minutes=1))


WAITS = st.sampled_from(["pending", "parked", "sending", "delivered", "skipped"])


class TestAnyLog(TestCase):
    """Whatever is in the log, in whatever state."""

    @settings(max_examples=30, deadline=None)
    @given(st.lists(st.tuples(st.sampled_from(["a", "b"]), WAITS), min_size=1, max_size=8))
    def test_keeps_the_newest_and_supersedes_all_that_waits_behind_it(self, log: list[tuple[str, str]]) -> None:
        subscription = connect()
        at = subscription.created_at
        for n, (subject, state) in enumerate(log, start=1):
            event = Event.objects.create(
                type=STOCK, subject=subject, label=subject, sequence=n, body="{}", occurred_at=at
            )
            Delivery.objects.create(
                event=event,
                subscription=subscription,
                event_type=STOCK,
                subject=subject,
                label=subject,
                state=state,
                next_attempt_at=at if state == "pending" else None,
            )

        compaction.settle(subscription, look_ahead=200, now=at + timedelta(minutes=1))
        compaction.settle_parked(subscription)

        for n, (row, (subject, before)) in enumerate(zip(Delivery.objects.order_by("id"), log, strict=True)):
            newer = any(other == subject and state != "skipped" for other, state in log[n + 1 :])
            waits = before in ("pending", "parked")
            assert row.state == ("superseded" if newer and waits else before)
