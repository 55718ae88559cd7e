from datetime import datetime

import pytest

from inventory.models import StockLevel
from orders import checkout, couriers, fulfilment
from orders.models import Allocation, Order, OrderLine, Payment, Shipment
from orders.payments import PaymentMismatch
from orders.transitions import InvalidTransition
from tests.factories import add_stock, confirm_order, make_product, pack_order, place_order, ship_order
from tests.told import DataOf, Told
from webhooks.models import Event

pytestmark = pytest.mark.django_db


def counters(order: Order) -> list[tuple[int, int, int]]:
    return list(order.lines.order_by("pk").values_list("packed", "shipped", "delivered"))


def levels() -> list[tuple[int, int]]:
    return list(StockLevel.objects.order_by("pk").values_list("on_hand", "reserved"))


class TestPack:
    def test_makes_a_parcel_and_leaves_the_stock_held(self, told: Told, data_of: DataOf, now: datetime) -> None:
        order = confirm_order()

        (shipment,) = fulfilment.pack(order.public_id, package_count=2, weight_grams=850, actor="ben", now=now)

        order.refresh_from_db()
        assert (order.status, counters(order), levels()) == ("packed", [(2, 0, 0)], [(10, 2)])
        assert told(order.public_id)[-1] == "order.packed"
        data = data_of("order.packed")
        assert data["shipment_id"] == shipment.public_id
        assert (data["package_count"], data["weight_grams"], data["packed_by"]) == (2, 850, "ben")
        assert (data["shipment_index"], data["shipment_count"], data["order_complete"]) == (1, 1, True)

    def test_takes_some_units_now_and_the_rest_later(self, data_of: DataOf, now: datetime) -> None:
        order = confirm_order()
        line = order.items[0]

        fulfilment.pack(order.public_id, quantities={line.public_id: 1}, actor="ben", now=now)

        order.refresh_from_db()
        assert (order.status, order.fulfilment_status) == ("confirmed", "partially_packed")
        assert data_of("order.packed")["order_complete"] is False

        fulfilment.pack(order.public_id, actor="ben", now=now)

        order.refresh_from_db()
        assert (order.status, counters(order)) == ("packed", [(2, 0, 0)])
        assert data_of("order.packed")["shipment_index"] == 2
        assert data_of("order.packed")["order_complete"] is True

    def test_makes_one_parcel_per_warehouse(self, told: Told, now: datetime) -> None:
        make_product("MUG", warehouse="BER")
        make_product("PAN", warehouse="MUC")
        order = confirm_order(("MUG", 1), ("PAN", 1))

        shipments = fulfilment.pack(order.public_id, actor="ben", now=now)

        assert [(each.index, each.warehouse.code) for each in shipments] == [(1, "BER"), (2, "MUC")]
        assert told(order.public_id)[-2:] == ["order.packed", "order.packed"]

    def test_splits_a_line_that_no_warehouse_can_fill(self, now: datetime) -> None:
        product = make_product("MUG", on_hand=2, warehouse="BER")
        add_stock(product, on_hand=2, warehouse="MUC")
        order = confirm_order(("MUG", 3))

        shipments = fulfilment.pack(order.public_id, actor="ben", now=now)

        assert sorted(content.quantity for each in shipments for content in each.contents) == [1, 2]
        assert counters(order) == [(3, 0, 0)]

    def test_lets_one_warehouse_pack_its_own_part_only(self, now: datetime) -> None:
        make_product("MUG", warehouse="BER")
        make_product("PAN", warehouse="MUC")
        order = confirm_order(("MUG", 1), ("PAN", 1))

        (shipment,) = fulfilment.pack(order.public_id, warehouse="MUC", actor="3pl", now=now)

        assert [content.line.sku for content in shipment.contents] == ["PAN"]
        with pytest.raises(InvalidTransition, match="left to pack in MUC"):
            fulfilment.pack(order.public_id, warehouse="MUC", actor="3pl", now=now)

    def test_refuses_a_line_that_lies_in_another_warehouse(self, now: datetime) -> None:
        order = confirm_order()
        line = order.items[0]
        add_stock(line.product, on_hand=1, warehouse="MUC")

        with pytest.raises(InvalidTransition, match="left to pack in MUC"):
            fulfilment.pack(order.public_id, quantities={line.public_id: 1}, warehouse="MUC", actor="3pl", now=now)

        assert Shipment.objects.count() == 0

    @pytest.mark.parametrize("quantity", [0, -1, 3])
    def test_refuses_units_that_are_not_there(self, quantity: int, now: datetime) -> None:
        order = confirm_order()

        with pytest.raises(InvalidTransition, match=f"2 of 2 × MUG are left, not {quantity}"):
            fulfilment.pack(order.public_id, quantities={order.items[0].public_id: quantity}, actor="ben", now=now)

        assert (counters(order), Shipment.objects.count()) == ([(0, 0, 0)], 0)

    def test_refuses_an_unknown_line(self, now: datetime) -> None:
        order = confirm_order()

        with pytest.raises(OrderLine.DoesNotExist):
            fulfilment.pack(order.public_id, quantities={"lin_other": 1}, actor="ben", now=now)

    def test_refuses_an_order_that_is_not_confirmed(self, told: Told, now: datetime) -> None:
        order = place_order()

        with pytest.raises(InvalidTransition, match="is pending, not confirmed"):
            fulfilment.pack(order.public_id, actor="ben", now=now)

        assert told(order.public_id) == ["order.created"]

    def test_refuses_an_order_on_hold(self, now: datetime) -> None:
        order = confirm_order()
        Order.objects.filter(pk=order.pk).update(on_hold=True)

        with pytest.raises(InvalidTransition, match="is on hold"):
            fulfilment.pack(order.public_id, actor="ben", now=now)

    def test_refuses_a_second_time(self, now: datetime) -> None:
        order = pack_order().order

        with pytest.raises(InvalidTransition, match="is packed: no units are left"):
            fulfilment.pack(order.public_id, actor="ben", now=now)

        assert Shipment.objects.count() == 1


class TestUnpack:
    def test_takes_the_parcel_apart_and_leaves_the_stock_held(self, told: Told, data_of: DataOf, now: datetime) -> None:
        shipment = pack_order()

        fulfilment.unpack(shipment.public_id, actor="ben", now=now)

        order = Order.objects.get()
        assert (order.status, order.fulfilment_status) == ("confirmed", "unfulfilled")
        assert (counters(order), levels()) == ([(0, 0, 0)], [(10, 2)])
        assert Allocation.objects.get().packed == 0
        assert told(order.public_id)[-1] == "order.unpacked"
        data = data_of("order.unpacked")
        assert (data["shipment_id"], data["unpacked_by"], data["order_complete"]) == (shipment.public_id, "ben", False)
        assert [(line["sku"], line["quantity"]) for line in data["lines"]] == [("MUG", 2)]

    def test_lets_the_units_be_packed_anew_in_another_parcel(self, data_of: DataOf, now: datetime) -> None:
        shipment = pack_order()
        fulfilment.unpack(shipment.public_id, actor="ben", now=now)

        (anew,) = fulfilment.pack(shipment.order.public_id, actor="ben", now=now)
        fulfilment.ship(anew.public_id, carrier="DHL", tracking_number="JD01", actor="ben", now=now)

        order = Order.objects.get()
        assert (order.status, counters(order), levels()) == ("shipped", [(2, 2, 0)], [(8, 0)])
        assert (anew.index, data_of("order.shipped")["order_complete"]) == (2, True)

    def test_lets_the_units_be_cancelled(self, now: datetime) -> None:
        shipment = pack_order(method="cod")
        fulfilment.unpack(shipment.public_id, actor="ben", now=now)

        checkout.cancel(shipment.order.public_id, reason="fraud", actor="ann", now=now)

        assert (Order.objects.get().status, levels()) == ("cancelled", [(10, 0)])

    def test_is_possible_on_hold(self, now: datetime) -> None:
        shipment = pack_order()
        Order.objects.update(on_hold=True)

        fulfilment.unpack(shipment.public_id, actor="ben", now=now)

        assert Order.objects.get().status == "on_hold"

    def test_leaves_the_other_parcels_of_a_line_as_they_are(self, now: datetime) -> None:
        product = make_product("MUG", on_hand=2, warehouse="BER")
        add_stock(product, on_hand=2, warehouse="MUC")
        order = confirm_order(("MUG", 3))
        first, second = fulfilment.pack(order.public_id, actor="ben", now=now)

        fulfilment.unpack(first.public_id, actor="ben", now=now)

        left = second.contents[0].quantity
        assert counters(order) == [(left, 0, 0)]
        assert list(Allocation.objects.filter(packed__gt=0).values_list("level", "packed")) == [
            (second.contents[0].level_id, left)
        ]

    def test_refuses_what_has_left(self, told: Told, now: datetime) -> None:
        shipment = ship_order()

        with pytest.raises(InvalidTransition, match="is shipped, not packed"):
            fulfilment.unpack(shipment.public_id, actor="ben", now=now)

        assert counters(Order.objects.get()) == [(2, 2, 0)]
        assert "order.unpacked" not in told(shipment.order.public_id)

    def test_leaves_nothing_to_ship_to_track_or_to_unpack_again(self, now: datetime) -> None:
        shipment = pack_order()
        fulfilment.unpack(shipment.public_id, actor="ben", now=now)

        with pytest.raises(InvalidTransition, match="is unpacked, not packed"):
            fulfilment.unpack(shipment.public_id, actor="ben", now=now)
        with pytest.raises(InvalidTransition, match="is unpacked, not packed"):
            fulfilment.ship(shipment.public_id, carrier="DHL", tracking_number="JD01", actor="ben", now=now)
        with pytest.raises(InvalidTransition, match="is unpacked, not shipped"):
            couriers.track(shipment.public_id, status="in_transit", occurred_at=now, source="dhl", now=now)


class TestShip:
    def test_hands_the_parcel_over_and_issues_the_stock(self, told: Told, data_of: DataOf, now: datetime) -> None:
        shipment = pack_order()

        fulfilment.ship(
            shipment.public_id, carrier="DHL", tracking_number="JD01", estimated_delivery_at=now, actor="ben", now=now
        )

        order = Order.objects.get()
        assert (order.status, counters(order), levels()) == ("shipped", [(2, 2, 0)], [(8, 0)])
        assert told(order.public_id)[-1] == "order.shipped"
        data = data_of("order.shipped")
        assert (data["carrier"], data["tracking_number"], data["tracking_url"]) == ("DHL", "JD01", None)
        assert (data["shipped_at"], data["estimated_delivery_at"]) == ("2026-11-23T10:00:00.000000Z",) * 2
        assert data["warehouse_code"] == "BER"

    def test_of_one_parcel_of_two_leaves_the_order_packed(self, data_of: DataOf, now: datetime) -> None:
        make_product("MUG", warehouse="BER")
        make_product("PAN", warehouse="MUC")
        order = confirm_order(("MUG", 1), ("PAN", 1))
        first, second = fulfilment.pack(order.public_id, actor="ben", now=now)

        fulfilment.ship(first.public_id, carrier="DHL", tracking_number="JD01", actor="ben", now=now)

        order.refresh_from_db()
        assert (order.status, order.fulfilment_status) == ("packed", "partially_shipped")
        assert data_of("order.shipped")["order_complete"] is False

        fulfilment.ship(second.public_id, carrier="DHL", tracking_number="JD02", actor="ben", now=now)

        order.refresh_from_db()
        assert (order.status, order.fulfilment_status) == ("shipped", "shipped")
        assert data_of("order.shipped")["order_complete"] is True

    def test_goes_untracked_when_that_is_said(self, data_of: DataOf, now: datetime) -> None:
        shipment = pack_order()

        fulfilment.ship(shipment.public_id, carrier="Post", tracking_number="untracked", actor="ben", now=now)

        assert data_of("order.shipped")["tracking_number"] is None

    @pytest.mark.parametrize(("carrier", "number"), [("DHL", ""), ("", "JD01"), ("", "untracked")])
    def test_refuses_a_parcel_without_carrier_or_number(self, carrier: str, number: str, now: datetime) -> None:
        shipment = pack_order()

        with pytest.raises(InvalidTransition, match="takes a carrier and a tracking number"):
            fulfilment.ship(shipment.public_id, carrier=carrier, tracking_number=number, actor="ben", now=now)

        shipment.refresh_from_db()
        assert (shipment.state, levels()) == ("packed", [(10, 2)])

    def test_refuses_a_shipment_that_already_left(self, now: datetime) -> None:
        shipment = ship_order()

        with pytest.raises(InvalidTransition, match="is shipped, not packed"):
            fulfilment.ship(shipment.public_id, carrier="UPS", tracking_number="X2", actor="ann", now=now)

        shipment.refresh_from_db()
        assert shipment.carrier == "DHL"
        assert Event.objects.filter(type="order.shipped").count() == 1

    def test_knows_no_such_shipment(self, now: datetime) -> None:
        with pytest.raises(Shipment.DoesNotExist):
            fulfilment.ship("shp_none", carrier="DHL", tracking_number="JD01", actor="ben", now=now)


class TestDeliver:
    def test_completes_a_paid_order(self, told: Told, data_of: DataOf, now: datetime) -> None:
        shipment = ship_order()

        fulfilment.deliver(shipment.public_id, delivered_at=now, received_by="A. Lee", actor="ben", now=now)

        order = Order.objects.get()
        assert (order.status, order.state, counters(order)) == ("delivered", "completed", [(2, 2, 2)])
        assert told(order.public_id)[-1] == "order.delivered"
        data = data_of("order.delivered")
        assert (data["received_by"], data["delivery_source"], data["order_complete"]) == ("A. Lee", "staff", True)
        assert (data["cod_amount"], data["cod_collected_amount"]) == (None, None)

    def test_keeps_an_authorised_order_open_until_it_is_captured(self, now: datetime) -> None:
        shipment = ship_order()
        Order.objects.update(paid_minor=0, authorised_minor=4990)

        fulfilment.deliver(shipment.public_id, delivered_at=now, actor="ben", now=now)

        assert Order.objects.get().state == "confirmed"

    def test_takes_the_cash_that_was_collected(self, told: Told, data_of: DataOf, now: datetime) -> None:
        shipment = ship_order(method="cod")

        fulfilment.deliver(shipment.public_id, delivered_at=now, actor="ben", now=now, collected_minor=4990)

        order = Order.objects.get()
        assert (order.state, order.payment_status) == ("completed", "paid")
        assert told(order.public_id)[-2:] == ["payment.success", "order.delivered"]
        data = data_of("order.delivered")
        assert (data["cod_amount"], data["cod_collected_amount"]) == ("49.90", "49.90")
        assert data_of("payment.success")["kind"] == "cod_collection"

    def test_leaves_cash_that_nobody_reported_open(self, told: Told, data_of: DataOf, now: datetime) -> None:
        shipment = ship_order(method="cod")

        fulfilment.deliver(shipment.public_id, delivered_at=now, actor="ben", now=now)

        order = Order.objects.get()
        assert (order.state, order.payment_status) == ("confirmed", "cod_pending")
        assert (data_of("order.delivered")["cod_amount"], Payment.objects.count()) == ("49.90", 0)

    def test_collects_the_worth_of_a_parcel_and_the_rest_with_the_last(self, data_of: DataOf, now: datetime) -> None:
        make_product("MUG", warehouse="BER", price_minor=1000)
        make_product("PAN", warehouse="MUC", price_minor=3000)
        order = confirm_order(("MUG", 1), ("PAN", 1), method="cod")
        amounts = []
        for shipment in fulfilment.pack(order.public_id, actor="ben", now=now):
            fulfilment.ship(shipment.public_id, carrier="DHL", tracking_number="JD", actor="ben", now=now)
        for shipment, collected_minor in zip(order.shipments.order_by("index"), (1000, 3000), strict=True):
            fulfilment.deliver(
                shipment.public_id, delivered_at=now, actor="ben", now=now, collected_minor=collected_minor
            )
            amounts.append(data_of("order.delivered")["cod_amount"])

        order.refresh_from_db()
        assert amounts == ["10.00", "30.00"]
        assert (order.state, order.paid_minor) == ("completed", 4000)

    @pytest.mark.parametrize(("method", "collected_minor"), [("card", 4990), ("cod", 4991)])
    def test_refuses_cash_that_is_not_owed(self, method: str, collected_minor: int, now: datetime) -> None:
        shipment = ship_order(method=method)

        with pytest.raises(PaymentMismatch):
            fulfilment.deliver(
                shipment.public_id, delivered_at=now, actor="ben", now=now, collected_minor=collected_minor
            )

        shipment.refresh_from_db()
        assert shipment.state == "shipped"

    def test_refuses_a_parcel_that_has_not_left(self, now: datetime) -> None:
        shipment = pack_order()

        with pytest.raises(InvalidTransition, match="is packed, not shipped"):
            fulfilment.deliver(shipment.public_id, delivered_at=now, actor="ben", now=now)

    def test_of_what_was_left_after_a_cancellation_completes_the_order(self, now: datetime) -> None:
        order = confirm_order()
        line = order.items[0]
        (shipment,) = fulfilment.pack(order.public_id, quantities={line.public_id: 1}, actor="ben", now=now)
        checkout.cancel(order.public_id, reason="", actor="ann", now=now, quantities={line.public_id: 1})
        fulfilment.ship(shipment.public_id, carrier="DHL", tracking_number="JD01", actor="ben", now=now)

        fulfilment.deliver(shipment.public_id, delivered_at=now, actor="ben", now=now)

        order.refresh_from_db()
        assert (order.status, order.state) == ("delivered", "completed")
