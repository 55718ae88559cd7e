"""Malformed, oversized, mistyped and forged calls, and steps out of turn: each a problem document, nothing kept."""

from copy import deepcopy
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from inventory.models import StockLevel
from orders.models import Customer, Order, OrderTransition, Payment, Shipment
from tests.factories import confirm_order, make_product, pack_order, pay_for, place_order, ship_order
from tests.orders.test_api import BODY, PAYMENT, Caller
from webhooks.models import Event

pytestmark = pytest.mark.django_db


@pytest.fixture
def now() -> datetime:
    return timezone.now()


@pytest.fixture
def erp() -> Caller:
    return Caller("orders", "payments", "fulfilment", "customers", "storefront")


def everything() -> tuple[int, ...]:
    """How much has been written, in rows, versions and units."""
    models = (Order, OrderTransition, Payment, Shipment, Customer, Event)
    held = sum(StockLevel.objects.values_list("reserved", flat=True))
    return (*(model.objects.count() for model in models), held, sum(Order.objects.values_list("version", flat=True)))


def assert_refused(answer: Any, status: int, code: str, field: str | None = None) -> None:
    problem = answer.json()
    assert answer["Content-Type"] == "application/problem+json"
    assert (answer.status_code, problem["code"]) == (status, code), problem
    if field is not None:
        assert field in [error["field"] for error in problem["errors"]]


def with_value(path: str, value: object) -> dict[str, Any]:
    """BODY with a value put at `customer.email` or `lines.0.sku`."""
    body = deepcopy(BODY)
    *parents, name = path.split(".")
    place: Any = body
    for parent in parents:
        place = place[int(parent) if parent.isdigit() else parent]
    place[name] = value
    return body


class TestCarts:
    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("customer", None),
            ("customer", "ada"),
            ("customer", []),
            ("customer.email", ""),
            ("customer.email", "ada"),
            ("customer.email", "a" * 250 + "@example.com"),
            ("customer.email", 7),
            ("customer.name", "x" * 201),
            ("customer.name", {"first": "Ada"}),
            ("customer.name", "A\x00da"),
            ("customer.locale", "Deutsch, bitte"),
            ("customer.vip", True),
            ("lines", []),
            ("lines", None),
            ("lines", {"sku": "MUG"}),
            ("lines", [{"sku": "MUG", "quantity": 1}] * 101),
            ("lines.0.sku", ""),
            ("lines.0.sku", "M" * 65),
            ("lines.0.sku", ["MUG"]),
            ("lines.0.quantity", 0),
            ("lines.0.quantity", -1),
            ("lines.0.quantity", 1.5),
            ("lines.0.quantity", True),
            ("lines.0.quantity", "many"),
            ("lines.0.quantity", 10**30),
            ("lines.0.quantity", None),
            ("lines.0.price", "0.01"),
            ("shipping_address.country", "Germany"),
            ("shipping_address.country", "de"),
            ("shipping_address.line1", ""),
            ("shipping_address.postal_code", "1" * 21),
            ("payment.method", ""),
            ("payment.method", 41 * "x"),
            ("payment.amount", "0.01"),
            ("channel", "x" * 41),
            ("status", "delivered"),
            ("total_amount", "0.01"),
        ],
    )
    def test_a_cart_that_makes_no_sense(self, erp: Caller, field: str, value: object) -> None:
        make_product("MUG")
        before = everything()

        answer = erp.post("orders/", with_value(field, value))

        problem = answer.json()
        assert_refused(answer, 400, "validation_error")
        assert any(error["field"].startswith(field) for error in problem["errors"]), problem
        assert everything() == before

    @pytest.mark.parametrize("body", ["[]", '"order"', "7", "null", "{", "", "[" * 5_000])
    def test_what_is_no_object(self, erp: Caller, body: str) -> None:
        answer = erp.client.post("/api/v1/orders/", body, "application/json", headers=erp.headers)

        assert answer.status_code == 400
        assert answer["Content-Type"] == "application/problem+json"

    @pytest.mark.parametrize("missing", ["customer", "lines", "shipping_address", "payment"])
    def test_what_is_left_out(self, erp: Caller, missing: str) -> None:
        make_product("MUG")
        body = {name: value for name, value in BODY.items() if name != missing}

        assert_refused(erp.post("orders/", body), 400, "validation_error", missing)

    def test_thousands_of_unknown_fields(self, erp: Caller) -> None:
        answer = erp.post("orders/", BODY | {f"field_{index}": index for index in range(5_000)})

        assert_refused(answer, 400, "validation_error", "field_0")
        assert len(answer.json()["errors"]) == 20

    def test_a_product_that_is_not_sold(self, erp: Caller) -> None:
        make_product("MUG", is_active=False)
        before = everything()

        answer = erp.post("orders/", BODY)

        assert_refused(answer, 422, "invalid_cart")
        assert answer.json()["errors"][0]["sku"] == "MUG"
        assert everything() == before

    def test_the_dearest_cart_there_can_be(self, erp: Caller) -> None:
        products = [make_product(f"GEM-{index}", on_hand=10_000, price_minor=10**12) for index in range(100)]

        answer = erp.post("orders/", BODY | {"lines": [{"sku": each.sku, "quantity": 10_000} for each in products]})

        assert (answer.status_code, answer.json()["total_amount"]) == (201, f"{10**16}.00")


class TestForgedIds:
    @pytest.mark.parametrize("order_id", ["1", "ord_1", "ORD_", "-1", "x" * 5_000, "%F0%9F%8D%B5", "a b"])
    @pytest.mark.parametrize("path", ["orders/{}/", "track/{}/", "customers/{}/"])
    def test_are_not_found(self, erp: Caller, path: str, order_id: str) -> None:
        place_order()

        assert_refused(erp.get(path.format(order_id)), 404, "not_found")

    def test_a_row_s_own_key_is_no_id(self, erp: Caller) -> None:
        order = place_order()

        assert erp.get(f"orders/{order.pk}/").status_code == 404
        assert erp.get(f"orders/{order.number}/").status_code == 404

    def test_a_line_of_another_order(self, erp: Caller, now: datetime) -> None:
        make_product("MUG")
        order, other = (confirm_order(("MUG", 1), now=now) for _ in range(2))
        before = everything()
        lines = [{"line_id": other.items[0].public_id, "quantity": 1}]

        for path in (f"orders/{order.public_id}/cancel/", f"fulfilment/orders/{order.public_id}/pack/"):
            body = {"lines": lines} | ({"reason": "x"} if "cancel" in path else {})
            assert_refused(erp.post(path, body), 404, "not_found")
        assert everything() == before

    @pytest.mark.parametrize(
        "query",
        [
            "status=lost",
            "state=lost",
            "placed_since=yesterday",
            "updated_since=2026-13-01",
            "updated_since=0001-01-01T00:00:00%2B14:00",
            "placed_until=9999-12-31T23:59:59-14:00",
        ],
    )
    def test_filters_that_make_no_sense(self, erp: Caller, query: str) -> None:
        assert_refused(erp.get(f"orders/?{query}"), 400, "validation_error", query.partition("=")[0])

    def test_a_cursor_of_one_s_own_making(self, erp: Caller) -> None:
        assert_refused(erp.get("orders/?cursor=cD1hYmM="), 404, "not_found")


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
    def test_one_that_makes_no_sense(self, erp: Caller, field: str, value: object) -> None:
        order = place_order()
        before = everything()

        answer = erp.post(f"orders/{order.public_id}/payments/", PAYMENT | {field: value})

        assert_refused(answer, 400, "validation_error", field)
        assert everything() == before

    @pytest.mark.parametrize("wrong", [{"amount": "49.89"}, {"amount": "0.00"}, {"currency": "USD"}])
    def test_one_that_does_not_fit_the_order_is_kept_as_refused(self, erp: Caller, wrong: dict[str, str]) -> None:
        order = place_order()

        answer = erp.post(f"orders/{order.public_id}/payments/", PAYMENT | wrong)

        assert_refused(answer, 422, "payment_mismatch")
        seen = erp.get(f"orders/{order.public_id}/").json()
        assert (seen["status"], seen["payment_status"], seen["paid_amount"]) == ("pending", "unpaid", "0.00")
        assert [(paid["result"], paid["failure_message"]) for paid in seen["payments"]] == [
            ("refused", answer.json()["detail"])
        ]

    def test_a_reference_that_paid_for_another_order(self, erp: Caller) -> None:
        make_product("MUG")
        first, second = place_order(("MUG", 2)), place_order(("MUG", 2))
        pay_for(first, reference="ch_1")

        answer = erp.post(f"orders/{second.public_id}/payments/", PAYMENT)

        assert_refused(answer, 422, "payment_mismatch")
        assert second.payments.get().failure_message == f"ch_1 has already paid for order {first}."
        assert Order.objects.get(pk=second.pk).paid_minor == 0


class TestStepsOutOfTurn:
    def test_confirming_what_is_not_paid(self, erp: Caller) -> None:
        order = place_order()
        before = everything()

        assert_refused(erp.post(f"orders/{order.public_id}/confirm/"), 409, "invalid_transition")
        assert everything() == before

    def test_a_body_where_there_is_nothing_to_say(self, erp: Caller) -> None:
        order = place_order(method="cod")

        answer = erp.post(f"orders/{order.public_id}/confirm/", {"force": True})

        assert_refused(answer, 400, "validation_error", "force")
        assert Order.objects.get().status == "pending"

    def test_packing_what_is_pending(self, erp: Caller) -> None:
        order = place_order()
        before = everything()

        answer = erp.post(f"fulfilment/orders/{order.public_id}/pack/")

        assert_refused(answer, 409, "invalid_transition")
        assert "is pending" in answer.json()["detail"]
        assert everything() == before

    def test_packing_and_cancelling_more_than_there_is(self, erp: Caller, now: datetime) -> None:
        order = confirm_order(now=now)
        before = everything()
        lines = [{"line_id": order.items[0].public_id, "quantity": 3}]

        for path, body in (("fulfilment/orders/{}/pack/", {}), ("orders/{}/cancel/", {"reason": "x"})):
            answer = erp.post(path.format(order.public_id), body | {"lines": lines})
            assert_refused(answer, 409, "invalid_transition")
        assert everything() == before

    def test_naming_a_line_twice(self, erp: Caller, now: datetime) -> None:
        order = confirm_order(now=now)
        lines = [{"line_id": order.items[0].public_id, "quantity": 1}] * 2

        answer = erp.post(f"fulfilment/orders/{order.public_id}/pack/", {"lines": lines})

        assert_refused(answer, 400, "validation_error", "lines")
        assert not Shipment.objects.exists()

    def test_cancelling_without_a_reason(self, erp: Caller) -> None:
        order = place_order()

        assert_refused(erp.post(f"orders/{order.public_id}/cancel/"), 400, "validation_error", "reason")

    def test_cancelling_what_is_packed(self, erp: Caller, now: datetime) -> None:
        shipment = pack_order(now=now)
        before = everything()

        answer = erp.post(f"orders/{shipment.order.public_id}/cancel/", {"reason": "too late"})

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
        self, erp: Caller, now: datetime, verb: str, body: dict[str, str]
    ) -> None:
        shipment = pack_order(now=now)
        before = everything()

        answer = erp.post(f"fulfilment/shipments/{shipment.public_id}/{verb}/", body)

        assert_refused(answer, 409, "invalid_transition")
        assert everything() == before

    def test_shipping_twice(self, erp: Caller, now: datetime) -> None:
        shipment = ship_order(now=now)

        answer = erp.post(
            f"fulfilment/shipments/{shipment.public_id}/ship/", {"carrier": "UPS", "tracking_number": "2"}
        )

        assert_refused(answer, 409, "invalid_transition")
        assert Shipment.objects.get().carrier == "DHL"

    def test_more_cash_than_is_owed(self, erp: Caller, now: datetime) -> None:
        shipment = ship_order(method="cod", now=now)
        before = everything()

        answer = erp.post(f"fulfilment/shipments/{shipment.public_id}/deliver/", {"cod_collected_amount": "50.00"})

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
        self, erp: Caller, now: datetime, verb: str, body: dict[str, object], field: str
    ) -> None:
        shipment = pack_order(now=now - timedelta(hours=1)) if verb == "ship" else ship_order(now=now)
        before = everything()

        answer = erp.post(f"fulfilment/shipments/{shipment.public_id}/{verb}/", body)

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
    def test_packing_that_makes_no_sense(self, erp: Caller, now: datetime, body: dict[str, Any], field: str) -> None:
        order = confirm_order(now=now)

        answer = erp.post(f"fulfilment/orders/{order.public_id}/pack/", body)

        assert_refused(answer, 400, "validation_error", field)
        assert not Shipment.objects.exists()


class TestCustomers:
    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({}, "email"),
            ({"email": "ada"}, "email"),
            ({"email": None}, "email"),
            ({"email": "ada@example.com", "name": "x" * 201}, "name"),
            ({"email": "ada@example.com", "locale": "<script>"}, "locale"),
            ({"email": "ada@example.com", "accepts_marketing": "perhaps"}, "accepts_marketing"),
            ({"email": "ada@example.com", "customer_id": "cus_1"}, "customer_id"),
            ({"email": "ada@example.com", "version": 9}, "version"),
        ],
    )
    def test_one_that_makes_no_sense(self, erp: Caller, body: dict[str, object], field: str) -> None:
        assert_refused(erp.post("customers/", body), 400, "validation_error", field)
        assert not Customer.objects.exists()
