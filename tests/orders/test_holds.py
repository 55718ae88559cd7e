from datetime import datetime
from typing import Any

import pytest

from orders import checkout, fulfilment, holds
from orders.models import Hold, Order
from orders.transitions import InvalidTransition
from tests.factories import confirm_order, pack_order, pay_for, place_order, ship_order
from tests.told import DataOf, Told

pytestmark = pytest.mark.django_db


def hold(order: Order, now: datetime, kind: str = "manual") -> None:
    holds.place(order.public_id, kind=kind, reason="Call her first", actor="ann", now=now)


def fresh(order: Order) -> Order:
    return Order.objects.get(pk=order.pk)


class TestPlace:
    def test_stops_the_order_and_tells_why(self, told: Told, data_of: DataOf, now: datetime) -> None:
        order = confirm_order()

        holds.place(order.public_id, kind="address", reason="No such street", actor="ann", now=now)

        order = fresh(order)
        assert (order.on_hold, order.status, order.state) == (True, "on_hold", "confirmed")
        assert told(order.public_id)[-1] == "order.held"
        data = data_of("order.held")
        assert (data["hold_kind"], data["hold_reason"], data["held_by"]) == ("address", "No such street", "ann")
        assert (data["on_hold"], data["status"], data["open_hold_kinds"]) == (True, "on_hold", ["address"])
        assert data["hold_id"] == Hold.objects.get().public_id

    def test_keeps_several_at_once(self, data_of: DataOf, now: datetime) -> None:
        order = confirm_order()

        for kind in Hold.Kind.values:
            hold(order, now, kind)

        assert data_of("order.held")["open_hold_kinds"] == sorted(Hold.Kind.values)
        assert order.holds.open().count() == 6

    def test_is_refused_where_one_of_the_kind_is_open(self, told: Told, now: datetime) -> None:
        order = confirm_order()
        hold(order, now, "fraud")

        with pytest.raises(InvalidTransition, match=r"is on_hold: it has an open hold of this kind \(fraud\) already"):
            hold(order, now, "fraud")

        assert Hold.objects.count() == 1
        assert told(order.public_id).count("order.held") == 1

    def test_is_refused_of_a_cancelled_order(self, now: datetime) -> None:
        order = place_order()
        checkout.cancel(order.public_id, reason="", actor="ann", now=now)

        with pytest.raises(InvalidTransition, match="is cancelled, not confirmed or pending"):
            hold(order, now)

        assert not Hold.objects.exists()

    def test_knows_no_such_order(self, now: datetime) -> None:
        with pytest.raises(Order.DoesNotExist):
            holds.place("ord_none", kind="manual", reason="x", actor="ann", now=now)


class TestOnHold:
    def test_is_not_confirmed(self, told: Told, now: datetime) -> None:
        order = place_order(method="cod")
        hold(order, now)

        with pytest.raises(InvalidTransition, match="is on hold: release it first"):
            checkout.confirm(order.public_id, actor="ann", now=now)

        assert told(order.public_id) == ["order.created", "order.held"]

    def test_is_not_packed(self, told: Told, now: datetime) -> None:
        order = confirm_order()
        hold(order, now)

        with pytest.raises(InvalidTransition, match="is on hold: release it first"):
            fulfilment.pack(order.public_id, actor="ben", now=now)

        assert fresh(order).shipment_count == 0
        assert told(order.public_id)[-1] == "order.held"

    def test_is_paid_and_kept_but_not_confirmed(self, told: Told, now: datetime) -> None:
        order = place_order()
        hold(order, now)

        pay_for(order)

        order = fresh(order)
        assert (order.state, order.payment_status, order.hold_expires_at) == ("pending", "paid", None)
        assert told(order.public_id) == ["order.created", "order.held", "payment.success"]

    def test_still_sends_the_parcel_that_was_packed_before(self, now: datetime) -> None:
        shipment = pack_order()
        hold(shipment.order, now)

        fulfilment.ship(shipment.public_id, carrier="DHL", tracking_number="JD01", actor="ben", now=now)

        order = fresh(shipment.order)
        assert (order.status, order.on_hold) == ("shipped", True)

    def test_cancelled_has_no_open_hold_any_more(self, data_of: DataOf, now: datetime) -> None:
        order = confirm_order()
        hold(order, now)

        checkout.cancel(order.public_id, reason="", actor="eve", now=now)

        assert data_of("order.cancelled")["on_hold"] is False
        ended = Hold.objects.get()
        assert (ended.released_by, ended.released_at) == ("eve", now)


class TestRelease:
    def test_ends_all_holds_and_tells_it_once(self, told: Told, data_of: DataOf, now: datetime) -> None:
        order = confirm_order()
        hold(order, now, "fraud")
        hold(order, now, "address")

        holds.release(order.public_id, actor="eve", now=now)

        order = fresh(order)
        assert (order.on_hold, order.status) == (False, "confirmed")
        assert told(order.public_id)[-3:] == ["order.held", "order.held", "order.released"]
        data = data_of("order.released")
        assert (data["released_hold_kinds"], data["open_hold_kinds"]) == (["address", "fraud"], [])
        assert (data["released_by"], data["on_hold"]) == ("eve", False)
        assert set(Hold.objects.values_list("released_by", "released_at")) == {("eve", now)}

    def test_of_one_kind_leaves_the_others(self, data_of: DataOf, now: datetime) -> None:
        order = confirm_order()
        hold(order, now, "fraud")
        hold(order, now, "address")

        holds.release(order.public_id, kinds=["fraud"], actor="eve", now=now)

        assert fresh(order).on_hold is True
        data = data_of("order.released")
        assert (data["released_hold_kinds"], data["open_hold_kinds"], data["on_hold"]) == (["fraud"], ["address"], True)

    @pytest.mark.parametrize("method", ["card", "cod"])
    def test_confirms_what_waited_for_nothing_else(self, told: Told, now: datetime, method: str) -> None:
        order = place_order(method=method)
        hold(order, now)
        if method == "card":
            pay_for(order)

        holds.release(order.public_id, actor="eve", now=now)

        assert fresh(order).status == "confirmed"
        assert told(order.public_id)[-2:] == ["order.released", "order.confirmed"]

    def test_does_not_confirm_what_is_not_paid(self, told: Told, now: datetime) -> None:
        order = place_order()
        hold(order, now)

        holds.release(order.public_id, actor="eve", now=now)

        assert fresh(order).status == "pending"
        assert told(order.public_id)[-1] == "order.released"

    def test_does_not_confirm_what_another_hold_keeps_back(self, now: datetime) -> None:
        order = place_order(method="cod")
        hold(order, now, "fraud")
        hold(order, now, "address")

        holds.release(order.public_id, kinds=["fraud"], actor="eve", now=now)

        assert fresh(order).state == "pending"

    def test_is_refused_twice_and_of_what_was_never_held(self, told: Told, now: datetime) -> None:
        order = confirm_order()

        with pytest.raises(InvalidTransition, match="is confirmed: it has no open hold"):
            holds.release(order.public_id, actor="eve", now=now)

        hold(order, now, "fraud")
        with pytest.raises(InvalidTransition, match="is on_hold: it has no open address hold"):
            holds.release(order.public_id, kinds=["address"], actor="eve", now=now)

        assert told(order.public_id)[-1] == "order.held"

    def test_ends_the_hold_of_an_order_that_was_completed_since(self, now: datetime) -> None:
        shipment = ship_order()
        hold(shipment.order, now)
        fulfilment.deliver(shipment.public_id, delivered_at=now, actor="ben", now=now)

        holds.release(shipment.order.public_id, actor="eve", now=now)

        order = fresh(shipment.order)
        assert (order.state, order.on_hold) == ("completed", False)

    def test_costs_the_same_however_many_holds_there_are(
        self, django_assert_max_num_queries: Any, now: datetime
    ) -> None:
        order = confirm_order()
        for kind in Hold.Kind.values:
            with django_assert_max_num_queries(11):
                hold(order, now, kind)

        with django_assert_max_num_queries(12):
            holds.release(order.public_id, actor="eve", now=now)

    def test_makes_room_for_another_hold_of_the_kind(self, now: datetime) -> None:
        order = confirm_order()
        hold(order, now)
        holds.release(order.public_id, actor="eve", now=now)

        hold(order, now)

        assert (Hold.objects.count(), Hold.objects.open().count()) == (2, 1)
