"""Parcels that come back undelivered, or are lost: their units, their stock and their money find an end."""

from datetime import datetime, timedelta

import pytest

from inventory.models import StockLevel, StockMovement
from orders import checkout, couriers, fulfilment, holds, promises
from orders.models import Allocation, Order, OrderLine, Refund, Shipment
from orders.returns import Receipt
from orders.transitions import InvalidTransition
from tests.factories import (
    add_stock,
    confirm_order,
    deliver_order,
    make_product,
    pack_order,
    pay_for,
    place_order,
    ship_order,
)
from tests.told import DataOf, Told

pytestmark = pytest.mark.django_db


def bring_back(parcel: Shipment, condition: str = "sellable", *, now: datetime) -> None:
    """All of it, in one condition."""
    receipts = [Receipt(content.line.public_id, content.quantity, condition) for content in parcel.contents]
    fulfilment.bring_back(parcel.public_id, receipts=receipts, actor="ben", now=now)


def ship(parcel: Shipment, *, now: datetime) -> None:
    fulfilment.ship(parcel.public_id, carrier="DHL", tracking_number="JD01", actor="ben", now=now)


def counters(order: Order) -> list[tuple[int, ...]]:
    return list(order.lines.order_by("pk").values_list("cancelled", "packed", "shipped", "delivered"))


def levels() -> list[tuple[int, int]]:
    return list(StockLevel.objects.order_by("pk").values_list("on_hand", "reserved"))


def late(now: datetime) -> list[Order]:
    return list(Order.objects.filter(promises.are("late", now=now + timedelta(days=60))))


class TestWhole:
    def test_sellable_units_are_on_sale_again_and_the_order_is_over(self, told: Told, now: datetime) -> None:
        parcel = ship_order(method="cod")
        assert late(now) == [parcel.order]

        bring_back(parcel, now=now)

        order = Order.objects.get()
        assert (order.status, order.payment_status, order.due_minor) == ("cancelled", "unpaid", 0)
        assert (counters(order), levels()) == ([(2, 0, 0, 0)], [(10, 0)])
        assert (Allocation.objects.get().quantity, Allocation.objects.get().packed) == (0, 0)
        movement = StockMovement.objects.latest("pk")
        assert (movement.reason, movement.on_hand_delta, movement.reference) == ("returned", 2, parcel.public_id)
        assert told(order.public_id)[-2:] == ["order.shipment.returned", "order.cancelled"]
        assert late(now) == []

    @pytest.mark.parametrize(
        ("condition", "reason", "word"), [("damaged", "returned_to_sender", "returned"), ("lost", "lost", "lost")]
    )
    def test_other_units_are_written_off(
        self, data_of: DataOf, now: datetime, condition: str, reason: str, word: str
    ) -> None:
        parcel = ship_order()

        bring_back(parcel, condition, now=now)

        parcel.refresh_from_db()
        assert (parcel.state, parcel.tracking_status, parcel.returned_at) == ("returned", word, now)
        assert levels() == [(8, 0)]
        assert data_of("order.cancelled")["cancel_reason"] == reason
        assert data_of("order.shipment.returned")["reason"] == reason

    def test_tells_of_the_parcel_what_has_become_of_the_order(self, data_of: DataOf, now: datetime) -> None:
        parcel = ship_order()
        line_id = parcel.contents[0].line.public_id
        receipts = [Receipt(line_id, 1, "sellable"), Receipt(line_id, 1, "lost")]

        fulfilment.bring_back(parcel.public_id, receipts=receipts, actor="ben", now=now)

        data = data_of("order.shipment.returned")
        assert (data["status"], data["shipment_id"], data["order_complete"]) == ("cancelled", parcel.public_id, False)
        assert (data["tracking_number"], data["returned_by"]) == ("JD01", "ben")
        found = [(line["sku"], line["quantity"], line["condition"], line["warehouse_code"]) for line in data["lines"]]
        assert found == [("MUG", 1, "sellable", "BER"), ("MUG", 1, "lost", "BER")]
        assert levels() == [(9, 0)]

    def test_gives_back_what_was_paid(self, told: Told, data_of: DataOf, now: datetime) -> None:
        parcel = ship_order()

        bring_back(parcel, now=now)

        refund = Refund.objects.get()
        assert (refund.amount_minor, refund.reason) == (4990, "returned_to_sender")
        assert refund.units == {parcel.contents[0].line.public_id: 2}
        assert data_of("order.cancelled")["refund_expected_amount"] == "49.90"
        assert told(parcel.order.public_id)[-1] == "order.refund.requested"

    def test_lets_go_of_what_was_only_authorised(self, data_of: DataOf, now: datetime) -> None:
        order = place_order()
        pay_for(order, kind="authorisation")
        (parcel,) = fulfilment.pack(order.public_id, actor="ben", now=now)
        ship(parcel, now=now)

        bring_back(parcel, now=now)

        assert data_of("order.cancelled")["void_expected_amount"] == "49.90"
        assert (Order.objects.get().payment_status, Refund.objects.count()) == ("unpaid", 0)

    def test_ends_the_holds_of_an_order_that_is_over(self, now: datetime) -> None:
        order = confirm_order()
        one = {order.items[0].public_id: 1}
        (parcel,) = fulfilment.pack(order.public_id, quantities=one, actor="ben", now=now)
        ship(parcel, now=now)
        holds.place(order.public_id, kind="address", reason="No such street", actor="ann", now=now)
        checkout.cancel(order.public_id, reason="moved", quantities=one, actor="ann", now=now)

        bring_back(parcel, now=now)

        order.refresh_from_db()
        assert (order.status, order.on_hold, order.holds.open().count()) == ("cancelled", False, 0)


class TestPart:
    def test_the_rest_of_the_order_goes_on(self, now: datetime) -> None:
        order = confirm_order()
        (parcel,) = fulfilment.pack(order.public_id, quantities={order.items[0].public_id: 1}, actor="ben", now=now)
        ship(parcel, now=now)

        bring_back(parcel, now=now)

        order.refresh_from_db()
        assert (order.state, order.status, order.due_minor) == ("confirmed", "confirmed", 2495)
        (rest,) = fulfilment.pack(order.public_id, actor="ben", now=now)
        ship(rest, now=now)
        fulfilment.deliver(rest.public_id, delivered_at=now, actor="ben", now=now)
        order.refresh_from_db()
        assert (order.state, counters(order), levels()) == ("completed", [(1, 1, 1, 1)], [(9, 0)])

    def test_an_order_whose_other_parcel_has_arrived_is_completed(self, data_of: DataOf, now: datetime) -> None:
        product = make_product("MUG", on_hand=2, warehouse="BER")
        add_stock(product, on_hand=2, warehouse="MUC")
        order = confirm_order(("MUG", 3), method="cod")
        first, second = fulfilment.pack(order.public_id, actor="ben", now=now)
        for parcel in (first, second):
            ship(parcel, now=now)
        worth = first.value_minor
        fulfilment.deliver(first.public_id, delivered_at=now, collected_minor=worth, actor="ben", now=now)

        bring_back(second, now=now)

        order.refresh_from_db()
        assert (order.state, order.status, order.payment_status) == ("completed", "delivered", "paid")
        assert (order.paid_minor, order.due_minor) == (worth, worth)
        back = second.contents[0]
        assert StockLevel.objects.get(pk=back.level_id).on_hand == 2
        assert (data_of("order.cancelled")["is_full"], data_of("order.cancelled")["state"]) == (False, "completed")


class TestRefusals:
    @pytest.mark.parametrize("units", [(1,), (3,), (2, 1), (3, -1), ()])
    def test_each_unit_has_one_fate(self, told: Told, now: datetime, units: tuple[int, ...]) -> None:
        parcel = ship_order()
        receipts = [Receipt(parcel.contents[0].line.public_id, quantity, "sellable") for quantity in units]

        with pytest.raises(InvalidTransition, match=f"with 2 of MUG: .* not of {sum(units)}"):
            fulfilment.bring_back(parcel.public_id, receipts=receipts, actor="ben", now=now)

        order = Order.objects.get()
        assert (order.status, counters(order), levels()) == ("shipped", [(0, 2, 2, 0)], [(8, 0)])
        assert told(order.public_id)[-1] == "order.shipped"

    def test_a_line_that_is_not_in_the_parcel_is_refused(self, now: datetime) -> None:
        make_product("MUG", warehouse="BER")
        make_product("POT", warehouse="RTM")
        order = confirm_order(("MUG", 1), ("POT", 1))
        first, _ = fulfilment.pack(order.public_id, actor="ben", now=now)
        ship(first, now=now)
        receipts = [Receipt(line.public_id, 1, "sellable") for line in order.items]

        with pytest.raises(InvalidTransition, match="with 0 of POT"):
            fulfilment.bring_back(first.public_id, receipts=receipts, actor="ben", now=now)
        with pytest.raises(OrderLine.DoesNotExist):
            fulfilment.bring_back(first.public_id, receipts=[Receipt("lin_other", 1, "lost")], actor="ben", now=now)

    def test_what_has_not_left_or_has_arrived_is_refused(self, now: datetime) -> None:
        make_product("MUG")
        packed = pack_order(("MUG", 1))
        delivered = deliver_order(("MUG", 1)).shipments.get()

        for parcel in (packed, delivered):
            with pytest.raises(InvalidTransition, match=f"is {parcel.state}, not shipped"):
                bring_back(parcel, now=now)

    def test_it_is_done_once(self, now: datetime) -> None:
        parcel = ship_order()
        bring_back(parcel, now=now)

        with pytest.raises(InvalidTransition, match="is returned, not shipped"):
            bring_back(parcel, now=now)

        assert levels() == [(10, 0)]


class TestTheCourier:
    @pytest.mark.parametrize("status", ["return_to_sender", "returned", "lost"])
    def test_does_not_do_it_by_itself(self, now: datetime, status: str) -> None:
        parcel = ship_order()

        couriers.track(parcel.public_id, status=status, occurred_at=now, source="dhl", now=now)

        assert (Order.objects.get().status, levels()) == ("shipped", [(8, 0)])

    def test_moves_nothing_afterwards(self, told: Told, now: datetime) -> None:
        parcel = ship_order()
        bring_back(parcel, now=now)
        before = told(parcel.order.public_id)
        later = now + timedelta(hours=1)

        couriers.track(
            parcel.public_id,
            status="delivered",
            occurred_at=later,
            estimated_delivery_at=now + timedelta(days=90),
            source="dhl",
            now=later,
        )

        parcel.refresh_from_db()
        assert (parcel.state, parcel.tracking_status) == ("returned", "returned")
        assert parcel.tracking_updates.get().is_late
        assert told(parcel.order.public_id) == before
