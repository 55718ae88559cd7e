"""Orders read by the REST API, and by the token that tracks one."""

import re
from datetime import datetime, timedelta

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from orders import fulfilment
from orders.models import Order
from tests.caller import Caller
from tests.factories import confirm_order, make_product, place_order, ship_order

pytestmark = pytest.mark.django_db


class TestReading:
    def test_shows_the_whole_order(self, erp: Caller, now: datetime) -> None:
        shipment = ship_order(now=now)

        order = erp.get(f"orders/{shipment.order.public_id}/").json()

        assert (order["status"], order["payment_status"]) == ("shipped", "paid")
        (parcel,) = order["shipments"]
        assert (parcel["shipment_id"], parcel["state"], parcel["carrier"]) == (shipment.public_id, "shipped", "DHL")
        assert [(line["sku"], line["quantity"]) for line in parcel["lines"]] == [("MUG", 2)]
        assert [(paid["result"], paid["amount"]) for paid in order["payments"]] == [("success", "49.90")]
        (line,) = order["lines"]
        assert (line["packed"], line["shipped"], line["delivered"]) == (2, 2, 0)

    def test_lists_the_newest_first(self, erp: Caller) -> None:
        make_product("MUG")
        first, second = place_order(("MUG", 1)), place_order(("MUG", 1))

        listed = erp.get("orders/").json()

        assert [order["order_number"] for order in listed["results"]] == [second.number, first.number]
        assert listed.keys() == {"next", "previous", "results"}

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ("status=confirmed", ["paid"]),
            ("status=shipped", []),
            ("state=pending", ["late"]),
            ("number={paid.number}", ["paid"]),
            ("placed_since=2026-11-23T12:00:00Z", ["late"]),
            ("placed_until=2026-11-23T12:00:00Z", ["paid"]),
            ("updated_since=2026-11-23T12:00:00Z", ["late"]),
            ("customer_id={paid.customer.public_id}", ["late", "paid"]),
            ("customer_id=cus_nobody", []),
        ],
    )
    def test_filters(self, erp: Caller, query: str, found: list[str]) -> None:
        make_product("MUG")
        at = datetime.fromisoformat("2026-11-23T10:00:00+00:00")
        orders = {
            "paid": confirm_order(("MUG", 1), now=at),
            "late": place_order(("MUG", 1), now=at + timedelta(hours=3)),
        }

        listed = erp.get(f"orders/?{query.format(**orders)}").json()["results"]

        assert [order["order_number"] for order in listed] == [orders[name].number for name in found]

    def test_costs_the_same_queries_however_much_there_is(
        self, erp: Caller, now: datetime, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        for warehouse in ("BER", "RTM"):
            make_product(warehouse, warehouse=warehouse)
        orders = [confirm_order(("BER", 1), ("RTM", 1), now=now) for _ in range(3)]
        for order in orders:
            fulfilment.pack(order.public_id, actor="ben", now=now)

        with django_assert_num_queries(2):  # The token, the orders with their customers.
            assert len(erp.get("orders/").json()["results"]) == 3
        detail = f"orders/{orders[0].public_id}/"
        # The token, version, order, lines, what else there is of it; how it was paid; parcels, their lines and scans.
        with django_assert_num_queries(9):
            assert len(erp.get(detail).json()["shipments"]) == 2
        with django_assert_num_queries(2):  # The token and the version, while it is the same.
            assert len(erp.get(detail).json()["shipments"]) == 2
        fulfilment.ship(
            orders[0].shipments.get(index=1).public_id, carrier="DHL", tracking_number="1Z", actor="ben", now=now
        )
        assert erp.get(detail).json()["shipments"][0]["state"] == "shipped"
        with django_assert_num_queries(7):  # Lines, what is held of them, parcels, their lines and scans besides.
            assert len(erp.get("fulfilment/orders/").json()["results"]) == 3


class TestTracking:
    def test_shows_a_shopper_where_it_is_and_nobody_s_name(self, anybody: Caller, erp: Caller, now: datetime) -> None:
        shipment = ship_order(now=now)
        scan = {"status": "in_transit", "occurred_at": now.isoformat(), "location": "Leipzig"}
        erp.post(f"fulfilment/shipments/{shipment.public_id}/tracking/", scan)

        answer = anybody.get(f"track/{shipment.order.tracking_token}/")

        tracked = answer.json()
        assert [entry["status"] for entry in tracked["timeline"]] == [
            "created",
            "confirmed",
            "packed",
            "shipped",
            "in_transit",
        ]
        assert tracked["timeline"][-1]["location"] == "Leipzig"
        assert (tracked["parcels"][0]["tracking_number"], tracked["status"]) == ("JD01", "shipped")
        assert not re.search(rb"\bben\b", answer.content)
        assert b"Torstrasse" not in answer.content

    def test_a_shopper_cancels_in_time(self, anybody: Caller, now: datetime) -> None:
        order = place_order(now=now)

        answer = anybody.post(f"track/{order.tracking_token}/cancel/")

        assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")

    def test_a_shopper_cannot_cancel_late(self, anybody: Caller, now: datetime) -> None:
        order = confirm_order(now=now - timedelta(hours=1))

        answer = anybody.post(f"track/{order.tracking_token}/cancel/")

        assert (answer.status_code, answer.json()["code"]) == (409, "invalid_transition")
        assert Order.objects.get().status == "confirmed"

    @pytest.mark.parametrize(
        ("path", "methods"),
        [
            ("", "GET, HEAD, OPTIONS"),
            ("stream", "GET, HEAD, OPTIONS"),
            ("cancel/", "POST, OPTIONS"),
            ("returns/", "POST, OPTIONS"),
        ],
    )
    def test_answers_a_browser_that_asks_for_a_page_of_another_origin(self, path: str, methods: str) -> None:
        asked = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}

        answer = Client().options(f"/api/v1/track/any/{path}", headers=asked)

        told = {name: answer.headers[f"Access-Control-{name}"] for name in ("Allow-Origin", "Allow-Methods")}
        assert (answer.status_code, told) == (204, {"Allow-Origin": "*", "Allow-Methods": methods})
        assert answer.headers["Access-Control-Allow-Headers"] == "Content-Type, Idempotency-Key"

    def test_lets_a_page_of_another_origin_read_what_came_of_a_cancellation(self, now: datetime) -> None:
        """Also when it is told again, and when it is refused."""
        order = place_order(now=now)
        path = f"/api/v1/track/{order.tracking_token}/cancel/"
        bodies: list[dict[str, str]] = [{}, {}, {"reason": "x"}]

        answers = [Client().post(path, each, "application/json", headers={"Idempotency-Key": "1"}) for each in bodies]
        answers.append(Client().post(path, {}, "application/json"))

        assert [answer.status_code for answer in answers] == [200, 200, 422, 409]
        assert answers[1].headers["Idempotency-Replayed"] == "true"
        assert [answer.headers.get("Access-Control-Allow-Origin") for answer in answers] == ["*"] * 4
