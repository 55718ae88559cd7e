"""Each check of the audit is shown a fault that no verb can make, planted by raw SQL."""

from datetime import datetime, timedelta

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from commerce import audit
from inventory.models import StockLevel
from orders import couriers, fulfilment
from orders.models import Order, TrackingUpdate
from tests import factories
from tests.webhooks.factories import make_subscription
from webhooks import subscriptions
from webhooks.models import Delivery, Event, EventSequence, Subscription

pytestmark = pytest.mark.django_db


@pytest.fixture
def now() -> datetime:
    return timezone.now()


@pytest.fixture
def shop(now: datetime) -> Order:
    """An order that was shipped, scanned and delivered, told to a system that wants everything."""
    make_subscription()
    Subscription.objects.update(wants_since=now - timedelta(hours=1))
    shipment = factories.ship_order(now=now)
    for status, minutes in (("in_transit", 2), ("delayed", 3), ("label_created", 1)):
        at = now + timedelta(minutes=minutes)
        couriers.track(shipment.public_id, status=status, occurred_at=at, source="dhl", now=now)
    fulfilment.deliver(shipment.public_id, delivered_at=now, actor="ben", now=now)
    return shipment.order


def plant(sql: str, *values: str | int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)


def findings(now: datetime) -> list[str]:
    return audit.audit(now=now).findings


def drop_event(event: Event) -> None:
    """Without a trace in the sequence, as if it had never been written."""
    plant("DELETE FROM webhooks_delivery WHERE event_id = %s", event.pk)
    plant("DELETE FROM webhooks_event WHERE id = %s", event.pk)
    # In two steps, as no two rows may have one number even in passing.
    later = Event.objects.filter(subject=event.subject, sequence__gt=event.sequence)
    later.update(sequence=F("sequence") + 1000)
    later.update(sequence=F("sequence") - 1001)
    plant("UPDATE webhooks_eventsequence SET last = last - 1 WHERE subject = %s", event.subject)


class TestFacts:
    def test_a_shop_run_by_the_verbs_is_clean(self, shop: Order, now: datetime) -> None:
        report = audit.audit(now=now)

        assert report.findings == []
        # The late scan is told by no event, the delay by two, and so is the first stock.
        assert report.counts["events"] == Event.objects.count() == report.counts["facts"] + 1
        assert report.counts["deliveries"] == Event.objects.count()
        assert TrackingUpdate.objects.filter(is_late=True).count() == 1

    @pytest.mark.parametrize(
        "event_type",
        [
            "order.shipped",
            "payment.success",
            "order.tracking.updated",
            "order.tracking.exception",
            "inventory.updated",
            "customer.created",
            "product.created",
        ],
    )
    def test_names_a_fact_whose_event_is_missing(self, shop: Order, now: datetime, event_type: str) -> None:
        untold = Event.objects.filter(type=event_type).latest("id")
        same = Event.objects.filter(type=event_type, subject=untold.subject, occurred_at=untold.occurred_at).count()
        drop_event(untold)

        (found,) = findings(now)

        assert found.startswith(f"{untold.subject}: {same} × {event_type} at ")
        assert found.endswith(f" happened, and {same - 1} events tell of it.")

    def test_holds_no_fact_against_what_retention_took_away(self, shop: Order, now: datetime) -> None:
        first = Event.objects.get(type="order.created")
        plant("DELETE FROM webhooks_delivery WHERE event_id = %s", first.pk)
        plant("DELETE FROM webhooks_event WHERE id = %s", first.pk)
        plant("UPDATE webhooks_eventsequence SET pruned = 1 WHERE subject = %s", first.subject)
        assert len(findings(now)) == 1

        assert findings(now + timedelta(days=100)) == []


class TestSequences:
    def test_names_a_gap(self, shop: Order, now: datetime) -> None:
        plant("DELETE FROM webhooks_delivery")
        plant("DELETE FROM webhooks_event WHERE subject = %s AND sequence = 2", shop.public_id)
        Subscription.objects.update(state=Subscription.State.DRAFT)
        last = EventSequence.objects.get(subject=shop.public_id).last

        found = f"events 1 to {last} were written, and there are {last - 1} events, numbered 1 to {last}."
        assert f"{shop.public_id}: {found}" in findings(now)

    def test_names_a_lost_end(self, shop: Order, now: datetime) -> None:
        plant("UPDATE webhooks_eventsequence SET last = last + 1 WHERE subject = %s", shop.public_id)
        last = EventSequence.objects.get(subject=shop.public_id).last

        assert findings(now) == [
            f"{shop.public_id}: events 1 to {last} were written,"
            f" and there are {last - 1} events, numbered 1 to {last - 1}."
        ]

    def test_names_a_subject_that_was_never_counted(self, shop: Order, now: datetime) -> None:
        plant("DELETE FROM webhooks_eventsequence WHERE subject = %s", shop.public_id)

        (found,) = findings(now)

        assert found.startswith(f"{shop.public_id}: events 1 to 0 were written")


class TestDeliveries:
    def test_names_an_event_that_is_owed_to_nobody(self, shop: Order, now: datetime) -> None:
        lost = Delivery.objects.get(event_type="order.packed")
        plant("DELETE FROM webhooks_delivery WHERE id = %s", lost.pk)

        assert findings(now) == [
            f"{lost.event.public_id} (order.packed, {shop.number}) is not owed to ERP, which wants it."
        ]

    def test_names_an_event_that_meets_the_conditions_of_one_it_is_not_owed_to(
        self, shop: Order, now: datetime
    ) -> None:
        """Subscriptions of the same events, of which one wants those of another channel only."""
        for name, channel in (("Web", "web"), ("Tills", "pos"), ("Web too", "web")):
            condition = {"field": "channel", "operator": "eq", "value": channel}
            make_subscription(name=name, event_types=["order.created"], conditions=[condition])
        Subscription.objects.update(wants_since=now - timedelta(hours=1))

        event = Event.objects.get(type="order.created")
        assert findings(now) == [
            f"{event.public_id} (order.created, {shop.number}) is not owed to {name}, which wants it."
            for name in ("Web", "Web too")
        ]

    def test_of_conditions_are_read_once_however_many_subscriptions_have_some(self, shop: Order, now: datetime) -> None:
        asked = []
        for n in range(3):
            condition = {"field": "channel", "operator": "eq", "value": "pos"}
            make_subscription(name=f"Till {n}", event_types=["order.*"], conditions=[condition])
            Subscription.objects.update(wants_since=now - timedelta(hours=1))
            with CaptureQueriesContext(connection) as queries:
                assert findings(now) == []
            asked.append(len(queries))

        assert len(set(asked)) == 1

    def test_asks_nothing_of_what_retention_may_take_away_meanwhile(self, shop: Order, now: datetime) -> None:
        plant("DELETE FROM webhooks_delivery")
        Subscription.objects.update(wants_since=now - timedelta(days=90))
        assert findings(now + timedelta(days=28, hours=23))

        assert findings(now + timedelta(days=29, hours=1)) == []

    def test_asks_nothing_of_a_draft_of_one_that_wants_other_events_or_of_test_events(
        self, shop: Order, now: datetime
    ) -> None:
        Subscription.objects.create(name="Draft", event_types=["*"], wants_since=now - timedelta(hours=1))
        other = make_subscription(name="Other", event_types=["order.cancelled"])
        Subscription.objects.filter(pk=other.pk).update(wants_since=now - timedelta(hours=1))
        subscriptions.send_test(other, by="ann", now=now)

        assert findings(now) == []

    def test_cannot_tell_what_one_wanted_before_it_was_changed(self, shop: Order, now: datetime) -> None:
        plant("DELETE FROM webhooks_delivery")
        assert findings(now)
        subscription = Subscription.objects.get()

        subscription.save(update_fields=["event_types"])

        assert findings(now) == []

    def test_cannot_tell_what_one_wanted_while_it_was_a_draft(self, now: datetime) -> None:
        draft = Subscription.objects.create(
            name="ERP", url="http://127.0.0.1:9/", event_types=["*"], wants_since=now - timedelta(days=1)
        )
        factories.place_order(now=now)

        subscriptions.activate(draft, by="ann", now=now)

        assert findings(now) == []


class TestCounters:
    @pytest.mark.parametrize(
        ("column", "name"), [("on_hand", "on hand"), ("safety_stock", "safety stock"), ("version", "movements")]
    )
    def test_names_stock_that_is_not_the_sum_of_its_movements(
        self, shop: Order, now: datetime, column: str, name: str
    ) -> None:
        StockLevel.objects.update(**{column: F(column) + 1})

        (found,) = findings(now)

        assert found.startswith("MUG in BER: the level says ")
        assert f" {name}, its movements add up to " in found

    @pytest.mark.parametrize(
        ("sql", "found"),
        [
            ("UPDATE orders_allocation SET quantity = 3", "the line says 2 wanted, its allocations hold 3."),
            ("UPDATE orders_allocation SET packed = 1", "the line says 2 packed, its allocations have packed 1."),
            ("UPDATE orders_shipment SET state = 'shipped'", "2 delivered, its parcels that arrived hold 0."),
            ("UPDATE orders_orderline SET shipped = 1, delivered = 1", "1 shipped, its parcels that left hold 2."),
        ],
    )
    def test_names_an_order_whose_counters_are_wrong(self, shop: Order, now: datetime, sql: str, found: str) -> None:
        plant(sql)

        first = findings(now)[0]

        assert first.startswith(f"Order {shop.number}, MUG: ")
        assert first.endswith(found)

    @pytest.mark.parametrize(
        ("sql", "found"),
        [
            ("UPDATE orders_orderline SET returned = 1", "the line says 1 returned, its returns have received 0."),
            (
                "UPDATE orders_order SET refunded_minor = 5",
                "it says 5 minor units refunded, its payments and refunds add up to 0.",
            ),
            (
                "UPDATE orders_order SET refund_pending_minor = 5",
                "it says 5 minor units to be refunded, its payments and refunds add up to 0.",
            ),
        ],
    )
    def test_names_what_came_back_and_nobody_took(self, shop: Order, now: datetime, sql: str, found: str) -> None:
        plant(sql)

        assert any(each.endswith(found) for each in findings(now))

    def test_names_a_parcel_that_holds_more_than_was_packed(self, shop: Order, now: datetime) -> None:
        plant("UPDATE orders_shipmentline SET quantity = 5")

        assert f"Order {shop.number}, MUG: the line says 2 packed, its parcels hold 5." in findings(now)


class TestCommand:
    def test_says_in_one_line_that_all_is_well(self, shop: Order, capsys: pytest.CaptureFixture[str]) -> None:
        call_command("audit")

        (line,) = capsys.readouterr().out.splitlines()
        assert line.startswith(f"All is well: {Event.objects.count() - 1} facts, {Event.objects.count()} events, ")

    def test_lists_what_differs_and_exits_1(self, shop: Order, capsys: pytest.CaptureFixture[str]) -> None:
        plant("UPDATE orders_shipmentline SET quantity = 5")

        with pytest.raises(SystemExit) as ended:
            call_command("audit")

        assert ended.value.code == 1
        assert "its parcels hold 5." in capsys.readouterr().out

    def test_lists_no_more_than_some_of_each_kind(self, now: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(audit, "LISTED", 2)
        for sku in "ABC":
            factories.make_product(sku)
        plant("UPDATE inventory_stocklevel SET on_hand = 1")

        assert len(findings(now)) == 3
        assert findings(now)[2] == "… and more of the same kind."
