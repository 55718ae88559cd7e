"""Packing, shipping and delivering by REST: a parcel's way, and what a warehouse's own token sees of it."""

from datetime import datetime
from typing import Any

import pytest

from orders import fulfilment
from orders.models import Order, Shipment
from tests.caller import Caller
from tests.factories import confirm_order, make_product, pack_order, ship_order
from tests.told import Told

pytestmark = pytest.mark.django_db


@pytest.fixture
def erp() -> Caller:
    return Caller("orders", "fulfilment")


def split_order(now: datetime) -> Order:
    """A confirmed order of a mug from Berlin and a teapot from Rotterdam."""
    make_product("MUG", warehouse="BER")
    make_product("POT", warehouse="RTM")
    return confirm_order(("MUG", 1), ("POT", 1), now=now)


class TestFulfilment:
    def test_packs_ships_tracks_and_delivers(self, erp: Caller, now: datetime, told: Told) -> None:
        order = confirm_order(now=now)

        packed = erp.post(f"fulfilment/orders/{order.public_id}/pack/", {"package_count": 2, "weight_grams": 800})
        parcel = f"fulfilment/shipments/{packed.json()['shipments'][0]['shipment_id']}"
        shipped = erp.post(f"{parcel}/ship/", {"carrier": "DHL", "tracking_number": "JD01"})
        scanned = erp.post(f"{parcel}/tracking/", {"status": "in_transit", "occurred_at": now.isoformat()})
        delivered = erp.post(f"{parcel}/deliver/", {"received_by": "Neighbour"})

        assert [answer.status_code for answer in (packed, shipped, scanned, delivered)] == [201, 200, 200, 200]
        assert packed.json()["shipments"][0]["weight_grams"] == 800
        assert [answer.json()["order_status"] for answer in (packed, shipped, scanned, delivered)] == [
            "packed",
            "shipped",
            "shipped",
            "delivered",
        ]
        assert (scanned.json()["tracking_status"], delivered.json()["received_by"]) == ("in_transit", "Neighbour")
        assert told(order.public_id)[-4:] == [
            "order.packed",
            "order.shipped",
            "order.tracking.updated",
            "order.delivered",
        ]

    def test_a_split_order_makes_a_parcel_per_warehouse(self, erp: Caller, now: datetime) -> None:
        order = split_order(now)

        packed = erp.post(f"fulfilment/orders/{order.public_id}/pack/")

        assert [parcel["warehouse_code"] for parcel in packed.json()["shipments"]] == ["BER", "RTM"]

    def test_packs_some_units(self, erp: Caller, now: datetime) -> None:
        order = confirm_order(now=now)
        lines = [{"line_id": order.items[0].public_id, "quantity": 1}]

        packed = erp.post(f"fulfilment/orders/{order.public_id}/pack/", {"lines": lines})

        assert packed.json()["order_status"] == "confirmed"
        assert packed.json()["shipments"][0]["lines"][0]["quantity"] == 1

    def test_takes_a_parcel_apart_which_is_no_parcel_of_its_order_any_more(self, erp: Caller, now: datetime) -> None:
        shipment = pack_order(now=now)
        parcel = f"fulfilment/shipments/{shipment.public_id}"

        unpacked = erp.post(f"{parcel}/unpack/")
        again = erp.post(f"{parcel}/unpack/")

        assert (unpacked.status_code, again.status_code) == (200, 409)
        assert (unpacked.json()["state"], unpacked.json()["order_status"]) == ("unpacked", "confirmed")
        order = erp.get(f"orders/{shipment.order.public_id}/").json()
        assert (order["shipments"], order["lines"][0]["packed"]) == ([], 0)

    def test_brings_a_parcel_back(self, erp: Caller, now: datetime) -> None:
        shipment = ship_order(now=now)
        line_id = shipment.contents[0].line.public_id
        lines = [{"line_id": line_id, "quantity": 1, "condition": fate} for fate in ("damaged", "lost")]

        back = erp.post(f"fulfilment/shipments/{shipment.public_id}/bring-back/", {"lines": lines})

        assert (back.status_code, back.json()["state"], back.json()["order_status"]) == (200, "returned", "cancelled")
        assert back.json()["returned_at"] is not None
        (parcel,) = erp.get(f"orders/{shipment.order.public_id}/").json()["shipments"]
        assert (parcel["state"], parcel["tracking_status"]) == ("returned", "returned")

    @pytest.mark.parametrize(
        ("lines", "status"),
        [
            ([], 400),
            ([{"quantity": 2, "condition": "stolen"}], 400),
            ([{"quantity": 1, "condition": "lost"}], 409),
            ([{"quantity": 2, "condition": "lost", "line_id": "lin_other"}], 404),
        ],
    )
    def test_brings_nothing_back_that_is_not_told_of_as_a_whole(
        self, erp: Caller, now: datetime, lines: list[dict[str, Any]], status: int
    ) -> None:
        shipment = ship_order(now=now)
        told = [{"line_id": shipment.contents[0].line.public_id} | line for line in lines]

        back = erp.post(f"fulfilment/shipments/{shipment.public_id}/bring-back/", {"lines": told})

        shipment.refresh_from_db()
        assert (back.status_code, shipment.state) == (status, "shipped")

    def test_untracked_must_be_said(self, erp: Caller, now: datetime) -> None:
        shipment = pack_order(now=now)

        shipped = erp.post(
            f"fulfilment/shipments/{shipment.public_id}/ship/", {"carrier": "Bike", "tracking_number": "untracked"}
        )

        assert shipped.json()["tracking_number"] is None

    def test_cash_that_the_courier_took_pays_the_order(self, erp: Caller, now: datetime) -> None:
        shipment = ship_order(method="cod", now=now)

        answer = erp.post(f"fulfilment/shipments/{shipment.public_id}/deliver/", {"cod_collected_amount": "49.90"})

        assert answer.status_code == 200
        assert Order.objects.get().state == "completed"

    @pytest.mark.parametrize(
        ("query", "found"),
        [("status=confirmed", 1), ("status=packed", 0), ("warehouse=BER", 1), ("warehouse=NOWHERE", 0)],
    )
    def test_lists_what_is_to_be_done(self, erp: Caller, now: datetime, query: str, found: int) -> None:
        confirm_order(now=now)

        assert len(erp.get(f"fulfilment/orders/?{query}").json()["results"]) == found

    def test_tells_a_warehouse_of_what_was_cancelled_since(self, erp: Caller, now: datetime) -> None:
        order = confirm_order(now=now)
        erp.post(f"orders/{order.public_id}/cancel/", {"reason": "customer"})

        (listed,) = erp.get("fulfilment/orders/?status=cancelled").json()["results"]

        assert (listed["order_id"], listed["lines"]) == (order.public_id, [])


class TestTokenOfOneWarehouse:
    @pytest.fixture
    def order(self, now: datetime) -> Order:
        return split_order(now)

    @pytest.fixture
    def berlin(self, order: Order) -> Caller:
        return Caller("fulfilment", warehouse="BER")

    def test_sees_its_own_parts_alone(self, berlin: Caller, order: Order, now: datetime) -> None:
        make_product("PAN", warehouse="RTM")
        confirm_order(("PAN", 1), now=now)

        (listed,) = berlin.get("fulfilment/orders/").json()["results"]

        assert listed["order_id"] == order.public_id
        assert [(line["sku"], line["warehouse_code"]) for line in listed["lines"]] == [("MUG", "BER")]

    def test_reads_neither_the_shopper_s_key_nor_what_the_order_cost(self, berlin: Caller, order: Order) -> None:
        answer = berlin.get("fulfilment/orders/")

        assert set(answer.json()["results"][0]) == {
            "order_id",
            "order_number",
            "status",
            "state",
            "fulfilment_status",
            "payment_status",
            "on_hold",
            "channel",
            "currency",
            "cod_amount",
            "item_count",
            "customer_name",
            "customer_email",
            "customer_phone",
            "placed_at",
            "updated_at",
            "ship_by_at",
            "promised_delivery_from",
            "promised_delivery_to",
            "warehouse_code",
            "shipping_address",
            "lines",
            "shipments",
        }
        assert order.tracking_token not in answer.content.decode()

    @pytest.mark.parametrize(("method", "amount"), [("card", None), ("cod", "49.90")])
    def test_reads_what_is_to_be_collected_at_the_door(
        self, berlin: Caller, now: datetime, method: str, amount: str | None
    ) -> None:
        confirm_order(("MUG", 2), method=method, now=now)

        assert berlin.get("fulfilment/orders/").json()["results"][0]["cod_amount"] == amount

    def test_packs_its_own_part_alone(self, berlin: Caller, order: Order) -> None:
        packed = berlin.post(f"fulfilment/orders/{order.public_id}/pack/")

        assert [parcel["warehouse_code"] for parcel in packed.json()["shipments"]] == ["BER"]
        assert {line.sku: line.packed for line in order.lines.all()} == {"MUG": 1, "POT": 0}

    @pytest.mark.parametrize(
        ("verb", "body"),
        [
            ("ship", {"carrier": "DHL", "tracking_number": "1"}),
            ("tracking", {"status": "in_transit", "occurred_at": "2026-11-23T10:00:00Z"}),
            ("deliver", {}),
        ],
    )
    def test_another_warehouse_s_parcel_is_not_there_for_it(
        self, berlin: Caller, order: Order, now: datetime, verb: str, body: dict[str, str]
    ) -> None:
        (parcel,) = fulfilment.pack(order.public_id, warehouse="RTM", actor="ben", now=now)

        answer = berlin.post(f"fulfilment/shipments/{parcel.public_id}/{verb}/", body)

        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
        assert Shipment.objects.get().state == "packed"

    def test_does_not_take_another_warehouse_s_parcel_apart(self, berlin: Caller, order: Order, now: datetime) -> None:
        parcels = fulfilment.pack(order.public_id, actor="ben", now=now)
        answers = [berlin.post(f"fulfilment/shipments/{parcel.public_id}/unpack/") for parcel in parcels]

        assert [answer.status_code for answer in answers] == [200, 404]

    def test_another_warehouse_s_order_is_not_there_for_it(self, berlin: Caller, now: datetime) -> None:
        make_product("PAN", warehouse="RTM")
        order = confirm_order(("PAN", 1), now=now)

        answer = berlin.post(f"fulfilment/orders/{order.public_id}/pack/")

        assert answer.status_code == 404
        assert not Shipment.objects.exists()
