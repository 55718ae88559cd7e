"""Payments and steps that are refused with a problem document, and nothing is written."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from orders.models import Order, Shipment
from tests.bodies import CAPTURE
from tests.caller import Caller
from tests.factories import confirm_order, make_product, pack_order, pay_for, place_order, ship_order
from tests.orders.api.refusals import assert_refused, everything

pytestmark = pytest.mark.django_db


class TestPayments:
    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("result", "maybe"),
            ("kind", "gift"),
            ("amount", 49.9),
            ("amount", "-49.90"),
            ("amount", "49.901"),
            ("amount", "1e3"),
            ("amount", "9" * 40),
            ("amount", None),
            ("currency", "EURO"),
            ("currency", ["EUR"]),
            ("currency", "eur"),
            ("gateway_reference", ""),
            ("gateway_reference", "x" * 201),
            ("gateway", None),
            ("failure_code", "x" * 61),
            ("order_id", "ord_1"),
        ],
    )
    def test_one_that_makes_no_sense(self, trusted: Caller, field: str, value: object) -> None:
        order = place_order()
        before = everything()

        answer = trusted.post(f"orders/{order.public_id}/payments/", CAPTURE | {field: value})

        assert_refused(answer, 400, "validation_error", field)
        assert everything() == before

    @pytest.mark.parametrize("wrong", [{"amount": "49.89"}, {"amount": "0.00"}, {"currency": "USD"}])
    def test_one_that_does_not_fit_the_order_is_kept_as_refused(self, trusted: Caller, wrong: dict[str, str]) -> None:
        order = place_order()

        answer = trusted.post(f"orders/{order.public_id}/payments/", CAPTURE | wrong)

        assert_refused(answer, 422, "payment_mismatch")
        seen = trusted.get(f"orders/{order.public_id}/").json()
        assert (seen["status"], seen["payment_status"], seen["paid_amount"]) == ("pending", "unpaid", "0.00")
        assert [(paid["result"], paid["failure_message"]) for paid in seen["payments"]] == [
            ("refused", answer.json()["detail"])
        ]

    def test_a_reference_that_paid_for_another_order(self, trusted: Caller) -> None:
        make_product("MUG")
        first, second = place_order(("MUG", 2)), place_order(("MUG", 2))
        pay_for(first, reference="ch_1")

        answer = trusted.post(f"orders/{second.public_id}/payments/", CAPTURE)

        assert_refused(answer, 422, "payment_mismatch")
        assert second.payments.get().failure_message == f"ch_1 has already paid for order {first}."
        assert Order.objects.get(pk=second.pk).paid_minor == 0


class TestStepsOutOfTurn:
    def test_confirming_what_is_not_paid(self, trusted: Caller) -> None:
        order = place_order()
        before = everything()

        assert_refused(trusted.post(f"orders/{order.public_id}/confirm/"), 409, "invalid_transition")
        assert everything() == before

    def test_a_body_where_there_is_nothing_to_say(self, trusted: Caller) -> None:
        order = place_order(method="cod")

        answer = trusted.post(f"orders/{order.public_id}/confirm/", {"force": True})

        assert_refused(answer, 400, "validation_error", "force")
        assert Order.objects.get().status == "pending"

    def test_packing_what_is_pending(self, trusted: Caller) -> None:
        order = place_order()
        before = everything()

        answer = trusted.post(f"fulfilment/orders/{order.public_id}/pack/")

        assert_refused(answer, 409, "invalid_transition")
        assert "is pending" in answer.json()["detail"]
        assert everything() == before

    def test_packing_and_cancelling_more_than_there_is(self, trusted: Caller, now: datetime) -> None:
        order = confirm_order(now=now)
        before = everything()
        lines = [{"line_id": order.items[0].public_id, "quantity": 3}]

        for path, body in (("fulfilment/orders/{}/pack/", {}), ("orders/{}/cancel/", {"reason": "x"})):
            answer = trusted.post(path.format(order.public_id), body | {"lines": lines})
            assert_refused(answer, 409, "invalid_transition")
        assert everything() == before

    def test_naming_a_line_twice(self, trusted: Caller, now: datetime) -> None:
        order = confirm_order(now=now)
        lines = [{"line_id": order.items[0].public_id, "quantity": 1}] * 2

        answer = trusted.post(f"fulfilment/orders/{order.public_id}/pack/", {"lines": lines})

        assert_refused(answer, 400, "validation_error", "lines")
        assert not Shipment.objects.exists()

    def test_cancelling_without_a_reason(self, trusted: Caller) -> None:
        order = place_order()

        assert_refused(trusted.post(f"orders/{order.public_id}/cancel/"), 400, "validation_error", "reason")

    def test_cancelling_what_is_packed(self, trusted: Caller, now: datetime) -> None:
        shipment = pack_order(now=now)
        before = everything()

        answer = trusted.post(f"orders/{shipment.order.public_id}/cancel/", {"reason": "too late"})

        assert_refused(answer, 409, "invalid_transition")
        assert everything() == before

    @pytest.mark.parametrize(
        ("verb", "body"),
        [
            ("tracking", {"status": "in_transit", "occurred_at": "2026-11-23T10:00:00Z"}),
            ("deliver", {}),
        ],
    )
    def test_moving_a_parcel_that_has_not_left(
        self, trusted: Caller, now: datetime, verb: str, body: dict[str, str]
    ) -> None:
        shipment = pack_order(now=now)
        before = everything()

        answer = trusted.post(f"fulfilment/shipments/{shipment.public_id}/{verb}/", body)

        assert_refused(answer, 409, "invalid_transition")
        assert everything() == before

    def test_shipping_twice(self, trusted: Caller, now: datetime) -> None:
        shipment = ship_order(now=now)

        answer = trusted.post(
            f"fulfilment/shipments/{shipment.public_id}/ship/", {"carrier": "UPS", "tracking_number": "2"}
        )

        assert_refused(answer, 409, "invalid_transition")
        assert Shipment.objects.get().carrier == "DHL"

    def test_more_cash_than_is_owed(self, trusted: Caller, now: datetime) -> None:
        shipment = ship_order(method="cod", now=now)
        before = everything()

        answer = trusted.post(f"fulfilment/shipments/{shipment.public_id}/deliver/", {"cod_collected_amount": "50.00"})

        assert_refused(answer, 422, "payment_mismatch")
        assert everything() == before


class TestParcels:
    @pytest.mark.parametrize(
        ("verb", "body", "field"),
        [
            ("ship", {}, "carrier"),
            ("ship", {"carrier": "DHL"}, "tracking_number"),
            ("ship", {"carrier": "DHL", "tracking_number": ""}, "tracking_number"),
            ("ship", {"carrier": "D" * 61, "tracking_number": "1"}, "carrier"),
            ("ship", {"carrier": "DHL", "tracking_number": "1", "tracking_url": "javascript:alert(1)"}, "tracking_url"),
            (
                "ship",
                {"carrier": "DHL", "tracking_number": "1", "estimated_delivery_at": "x"},
                "estimated_delivery_at",
            ),
            ("ship", {"carrier": "DHL", "tracking_number": "1", "state": "delivered"}, "state"),
            ("tracking", {}, "status"),
            ("tracking", {"status": "teleported", "occurred_at": "2026-11-23T10:00:00Z"}, "status"),
            ("tracking", {"status": "in_transit", "occurred_at": "0001-01-01T00:00:00+14:00"}, "occurred_at"),
            ("tracking", {"status": "in_transit", "occurred_at": "yesterday"}, "occurred_at"),
            ("tracking", {"status": "in_transit", "occurred_at": 1763892000}, "occurred_at"),
            ("tracking", {"status": "delivered", "occurred_at": "2126-11-23T10:00:00Z"}, "occurred_at"),
            (
                "tracking",
                {"status": "in_transit", "occurred_at": "2026-11-23T10:00:00Z", "message": "x" * 501},
                "message",
            ),
            ("deliver", {"delivered_at": "2126-11-23T10:00:00Z"}, "delivered_at"),
            ("deliver", {"received_by": "x" * 151}, "received_by"),
            ("deliver", {"cod_collected_amount": 49.9}, "cod_collected_amount"),
            ("deliver", {"cod_collected_amount": "49.90", "currency": "USD"}, "currency"),
        ],
    )
    def test_a_step_that_makes_no_sense(
        self, trusted: Caller, now: datetime, verb: str, body: dict[str, object], field: str
    ) -> None:
        shipment = pack_order(now=now - timedelta(hours=1)) if verb == "ship" else ship_order(now=now)
        before = everything()

        answer = trusted.post(f"fulfilment/shipments/{shipment.public_id}/{verb}/", body)

        assert_refused(answer, 400, "validation_error", field)
        assert everything() == before

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({"package_count": 0}, "package_count"),
            ({"package_count": 10**12}, "package_count"),
            ({"weight_grams": -5}, "weight_grams"),
            ({"lines": []}, "lines"),
            ({"lines": [{"line_id": "lin_1"}]}, "lines.0.quantity"),
            ({"lines": [{"line_id": "lin_1", "quantity": 0}]}, "lines.0.quantity"),
            ({"warehouse": "BER"}, "warehouse"),
        ],
    )
    def test_packing_that_makes_no_sense(
        self, trusted: Caller, now: datetime, body: dict[str, Any], field: str
    ) -> None:
        order = confirm_order(now=now)

        answer = trusted.post(f"fulfilment/orders/{order.public_id}/pack/", body)

        assert_refused(answer, 400, "validation_error", field)
        assert not Shipment.objects.exists()
