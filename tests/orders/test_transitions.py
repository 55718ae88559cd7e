from datetime import datetime

import pytest

from orders import checkout, fulfilment, holds, signals
from orders.models import HoldRule, Order, OrderTransition, Payment
from orders.transitions import ALLOWED_FROM, InvalidTransition, Kind, lock, record, store
from tests.factories import pay_for, place_order, ship_order
from tests.told import Told
from webhooks import catalogue


class TestNoSilentTransition:
    def test_every_kind_of_step_has_an_event_type_of_its_own(self) -> None:
        assert set(signals.BY_KIND) == set(OrderTransition.Kind)
        assert len({event_type.name for event_type in signals.BY_KIND.values()}) == len(OrderTransition.Kind)

    def test_every_result_of_a_payment_has_one(self) -> None:
        assert set(signals.BY_RESULT) == set(Payment.Result)

    def test_all_of_them_are_declared(self) -> None:
        for event_type in (*signals.BY_KIND.values(), *signals.BY_RESULT.values()):
            assert catalogue.get(event_type.name) is event_type

    def test_every_step_but_the_first_says_where_it_may_be_taken(self) -> None:
        assert set(ALLOWED_FROM) == set(OrderTransition.Kind) - {Kind.CREATED}


@pytest.mark.django_db
class TestHistory:
    def test_tells_each_step_with_the_status_before_and_after(self, now: datetime) -> None:
        shipment = ship_order()

        fulfilment.deliver(shipment.public_id, delivered_at=now, actor="ben", now=now)

        steps = shipment.order.transitions.order_by("pk").values_list("kind", "from_status", "to_status", "actor")
        assert list(steps) == [
            ("created", "", "pending", "storefront"),
            ("confirmed", "pending", "confirmed", "stripe"),
            ("packed", "confirmed", "packed", "ben"),
            ("shipped", "packed", "shipped", "ben"),
            ("delivered", "shipped", "delivered", "ben"),
        ]

    def test_of_a_delivery_with_its_cash_begins_before_the_cash(self, now: datetime) -> None:
        shipment = ship_order(method="cod")

        fulfilment.deliver(shipment.public_id, delivered_at=now, actor="ben", now=now, collected_minor=4990)

        step = shipment.order.transitions.latest("pk")
        assert (step.kind, step.from_status, step.to_status) == ("delivered", "shipped", "delivered")

    def test_of_a_hold_for_a_failed_payment_begins_before_the_payment(self) -> None:
        HoldRule.objects.create(kind="payment", test="failed_payments", count=1)
        order = place_order()

        pay_for(order, result="failed")

        step = order.transitions.latest("pk")
        assert (step.kind, step.from_status, step.to_status) == ("held", "pending", "on_hold")

    def test_goes_from_step_to_step_within_one_verb(self, now: datetime) -> None:
        HoldRule.objects.create(kind="payment", test="failed_payments", count=1)
        order = place_order()
        pay_for(order, reference="ch_1", result="failed")
        pay_for(order, reference="ch_2")

        holds.release(order.public_id, actor="ann", now=now)

        steps = order.transitions.order_by("pk").values_list("kind", "from_status", "to_status")
        assert list(steps)[-2:] == [("released", "on_hold", "pending"), ("confirmed", "pending", "confirmed")]

    def test_is_never_changed(self) -> None:
        place_order()
        step = OrderTransition.objects.get()

        with pytest.raises(TypeError, match="is a fact"):
            step.save()
        with pytest.raises(TypeError, match="is a fact"):
            step.delete()


@pytest.mark.django_db
class TestStore:
    def test_refuses_the_loser_of_a_race_where_rows_have_no_locks(self, told: Told, now: datetime) -> None:
        order = place_order(method="cod")
        loser = lock(order.public_id)
        checkout.cancel(order.public_id, reason="", actor="ann", now=now)

        loser.state = Order.State.CONFIRMED
        with pytest.raises(InvalidTransition, match="was changed by somebody else"):
            record(loser, Kind.CONFIRMED, actor="bob", now=now)

        order.refresh_from_db()
        assert order.status == "cancelled"
        assert told(order.public_id) == ["order.created", "order.cancelled"]

    def test_counts_the_version(self, now: datetime) -> None:
        order = lock(place_order().public_id)

        store(order, now=now)

        assert Order.objects.get().version == order.version == 2
