"""3PLs: what a warehouse that is not ours packs, ships, delivers and counts."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from inventory.models import StockLevel
from orders import fulfilment, holds
from orders.models import Order, Shipment
from tests.factories import NOW, add_stock, confirm_order, make_product, pack_order, ship_order
from tests.inbound.conftest import make_due, only_message, take_in
from tests.inbound.senders import Sender, load
from webhooks.models import Event

pytestmark = pytest.mark.django_db

Connect = Callable[..., Sender]


def of(order: Order, name: str, **fields: Any) -> dict[str, Any]:
    body = load(name)
    if "order_number" in body["data"]:
        body["data"]["order_number"] = str(order)
    body["data"] |= fields
    return body


class TestWalk:
    def test_from_packed_to_delivered_fires_the_same_events_as_any_other_way_in(self, connect: Connect) -> None:
        order = confirm_order()
        sender = connect("standard")

        for name in ("packed", "shipped", "delivered"):
            sender.send(of(order, f"standard_shipment_{name}"))
            take_in()

        order.refresh_from_db()
        shipment = Shipment.objects.get()
        assert (order.status, shipment.state, shipment.received_by) == ("delivered", "delivered", "A. Lee")
        assert (shipment.package_count, shipment.weight_grams) == (2, 1250)
        assert (shipment.carrier, shipment.tracking_number) == ("DHL", "00340434161094042557")
        assert shipment.estimated_delivery_at == datetime(2026, 10, 26, 16, tzinfo=UTC)
        assert shipment.delivered_at == datetime(2026, 10, 25, 9, 58, tzinfo=UTC)
        told = Event.objects.filter(subject=order.public_id).order_by("sequence").values_list("type", flat=True)
        assert [name for name in told if name in ("order.packed", "order.shipped", "order.delivered")] == [
            "order.packed",
            "order.shipped",
            "order.delivered",
        ]
        assert {fact.actor for fact in order.transitions.filter(kind__in=["packed", "shipped", "delivered"])} == {
            "standard"
        }

    def test_in_the_wrong_order_ends_the_same(self, connect: Connect) -> None:
        order = confirm_order()
        sender = connect("standard")

        for name in ("delivered", "shipped", "packed"):
            sender.send(of(order, f"standard_shipment_{name}"))
        for _ in range(3):
            take_in()
            make_due()

        order.refresh_from_db()
        assert order.status == "delivered"

    def test_stops_at_a_hold_and_goes_on_at_its_release(self, connect: Connect) -> None:
        order = confirm_order()
        holds.place(order.public_id, kind="fraud", reason="Odd", actor="ann", now=NOW)
        connect("standard").send(of(order, "standard_shipment_packed"))

        take_in()

        assert (only_message().state, Shipment.objects.count()) == ("received", 0)
        holds.release(order.public_id, actor="ann", now=NOW)
        make_due()
        take_in()
        assert (only_message().state, Shipment.objects.count()) == ("processed", 1)

    def test_brings_the_cash_of_a_cash_on_delivery(self, connect: Connect) -> None:
        shipment = ship_order(method="cod")
        order = shipment.order
        cash = {"cod_collected_amount": "49.90", "currency": "EUR", "tracking_number": "JD01"}

        connect("standard").send(of(order, "standard_shipment_delivered", **cash))
        take_in()

        order.refresh_from_db()
        assert (order.payment_status, order.state) == ("paid", "completed")
        assert Event.objects.filter(type="payment.success").count() == 1


class TestPacked:
    def test_of_some_lines(self, connect: Connect) -> None:
        order = confirm_order()
        line = order.lines.get()

        connect("standard").send(
            of(order, "standard_shipment_packed", lines=[{"line_id": line.public_id, "quantity": 1}])
        )
        take_in()

        line.refresh_from_db()
        assert (line.packed, only_message().state) == (1, "processed")

    def test_by_a_source_of_one_warehouse_is_of_that_warehouse(self, connect: Connect) -> None:
        mug = make_product("MUG", on_hand=1, warehouse="BER")
        add_stock(mug, on_hand=1, warehouse="MUC")
        order = confirm_order(("MUG", 2))

        connect("standard", warehouse="MUC").send(of(order, "standard_shipment_packed"))
        take_in()

        assert Shipment.objects.get().warehouse.code == "MUC"


class TestShipped:
    def test_by_its_shipment(self, connect: Connect) -> None:
        shipment = pack_order()
        body = load("standard_shipment_shipped")
        body["data"] |= {"shipment_id": shipment.public_id, "order_number": None}

        connect("standard").send(body)
        take_in()

        shipment.refresh_from_db()
        assert shipment.state == "shipped"
        assert only_message().effect == f"Shipped by DHL, parcel {shipment}"

    def test_of_one_of_several_parcels_must_say_which(self, connect: Connect) -> None:
        order = confirm_order()
        line = order.lines.get()
        for _ in range(2):
            fulfilment.pack(order.public_id, quantities={line.public_id: 1}, actor="ben", now=NOW)

        connect("standard").send(of(order, "standard_shipment_shipped"))
        take_in()

        assert (only_message().state, only_message().subject) == ("parked", "")
        assert "name one by its shipment_id" in only_message().reason

    def test_of_another_warehouses_parcel_is_refused(self, connect: Connect) -> None:
        shipment = pack_order()
        body = load("standard_shipment_shipped")
        body["data"]["shipment_id"] = shipment.public_id

        connect("standard", warehouse="MUC").send(body)
        take_in()

        shipment.refresh_from_db()
        assert shipment.state == "packed"
        assert only_message().reason == f"There is no shipment {shipment.public_id}."


class TestSourceOfOneWarehouse:
    @pytest.mark.parametrize("name", ["standard_tracking_updated", "standard_shipment_delivered"])
    def test_says_nothing_of_another_ones_parcel(self, name: str, connect: Connect) -> None:
        shipment = ship_order()
        body = load(name)
        body["data"]["tracking_number"] = "JD01"

        connect("standard", warehouse="MUC").send(body)
        take_in()

        shipment.refresh_from_db()
        assert (shipment.state, shipment.tracking_status) == ("shipped", "")
        assert only_message().reason == f"This source speaks for MUC, not for parcel {shipment}."


class TestCounted:
    def test_sets_the_level_and_tells(self, connect: Connect) -> None:
        make_product("MUG", on_hand=10)

        connect("standard").send(load("standard_stock_counted"))
        take_in()

        assert StockLevel.objects.get().on_hand == 7
        assert only_message().effect == "Counted 7 of MUG in BER"

    def test_out_of_date_is_never_taken(self, connect: Connect) -> None:
        make_product("MUG", on_hand=12)

        connect("standard").send(load("standard_stock_counted"))
        take_in()

        assert StockLevel.objects.get().on_hand == 12
        assert (only_message().state, only_message().attempt_count) == ("parked", 1)
        assert "12" in only_message().reason

    @pytest.mark.parametrize(
        ("fields", "warehouse", "reason"),
        [
            ({"sku": "GONE"}, "", "There is no product GONE."),
            ({"warehouse": "GONE"}, "", "There is no warehouse GONE."),
            ({"warehouse": "BER"}, "MUC", "This source speaks for MUC, not for BER."),
            ({"on_hand": -1}, "", "on_hand"),
            ({"on_hand": "many"}, "", "on_hand"),
            ({"on_hand": 10**30}, "", "on_hand"),
            ({"expected_on_hand": None}, "", "expected_on_hand"),
            ({"sku": ["MUG"]}, "", "sku"),
        ],
    )
    def test_of_what_is_not_there_is_parked(
        self, fields: dict[str, Any], warehouse: str, reason: str, connect: Connect
    ) -> None:
        make_product("MUG", on_hand=10)
        body = load("standard_stock_counted")
        body["data"] |= fields

        connect("standard", warehouse=warehouse).send(body)
        take_in()

        assert only_message().state == "parked"
        assert reason in only_message().reason
        assert StockLevel.objects.get().on_hand == 10


class TestWrongTypes:
    @pytest.mark.parametrize("kind", ["packed", "shipped", "delivered"])
    @pytest.mark.parametrize(
        "data",
        [{}, {"order_id": []}, {"order_number": {"n": 1}}, {"order_id": "a\x00b"}, {"shipment_id": 7, "lines": "all"}],
    )
    def test_are_kept_with_a_reason(self, kind: str, data: dict[str, Any], connect: Connect) -> None:
        shipment = pack_order()

        assert connect("standard").send({"type": f"shipment.{kind}", "data": data}).status_code == 202
        take_in()

        message = only_message()
        assert message.state in ("parked", "received")
        assert message.reason
        assert "our side" not in message.reason
        shipment.refresh_from_db()
        assert shipment.state == "packed"

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("carrier", None),
            ("carrier", "x" * 61),
            ("tracking_number", ""),
            ("tracking_url", "javascript:alert(1)"),
            ("estimated_delivery_at", "soon"),
            ("estimated_delivery_at", "9999-12-31T23:59:59Z"),
        ],
    )
    def test_of_a_field_are_named(self, field: str, value: object, connect: Connect) -> None:
        order = pack_order().order

        connect("standard").send(of(order, "standard_shipment_shipped", **{field: value}))
        take_in()

        assert only_message().state == "parked"
        assert only_message().reason.startswith(f"The message does not fit: {field}:")

    def test_of_an_unknown_order_are_tried_again(self, connect: Connect) -> None:
        connect("standard").send(load("standard_shipment_packed") | {"data": {"order_number": "99999"}})
        take_in()

        assert (only_message().state, only_message().reason) == ("received", "There is no order 99999.")
