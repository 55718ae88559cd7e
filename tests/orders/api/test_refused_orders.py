"""Carts, ids and customers that are refused with a problem document, and nothing is written."""

from datetime import datetime

import pytest

from orders.models import Customer
from tests.bodies import FULL_CART, put
from tests.caller import Caller
from tests.factories import confirm_order, make_product, place_order
from tests.orders.api.refusals import assert_refused, everything

pytestmark = pytest.mark.django_db


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
    def test_a_cart_that_makes_no_sense(self, trusted: Caller, field: str, value: object) -> None:
        make_product("MUG")
        before = everything()

        answer = trusted.post("orders/", put(FULL_CART, field, value))

        problem = answer.json()
        assert_refused(answer, 400, "validation_error")
        assert any(error["field"].startswith(field) for error in problem["errors"]), problem
        assert everything() == before

    @pytest.mark.parametrize("body", ["[]", '"order"', "7", "null", "{", "", "[" * 5_000])
    def test_what_is_no_object(self, trusted: Caller, body: str) -> None:
        answer = trusted.client.post("/api/v1/orders/", body, "application/json", headers=trusted.headers)

        assert answer.status_code == 400
        assert answer["Content-Type"] == "application/problem+json"

    @pytest.mark.parametrize("missing", ["customer", "lines", "shipping_address", "payment"])
    def test_what_is_left_out(self, trusted: Caller, missing: str) -> None:
        make_product("MUG")
        body = {name: value for name, value in FULL_CART.items() if name != missing}

        assert_refused(trusted.post("orders/", body), 400, "validation_error", missing)

    def test_thousands_of_unknown_fields(self, trusted: Caller) -> None:
        answer = trusted.post("orders/", FULL_CART | {f"field_{index}": index for index in range(5_000)})

        assert_refused(answer, 400, "validation_error", "field_0")
        assert len(answer.json()["errors"]) == 20

    def test_a_product_that_is_not_sold(self, trusted: Caller) -> None:
        make_product("MUG", is_active=False)
        before = everything()

        answer = trusted.post("orders/", FULL_CART)

        assert_refused(answer, 422, "invalid_cart")
        assert answer.json()["errors"][0]["sku"] == "MUG"
        assert everything() == before

    def test_the_dearest_cart_there_can_be(self, trusted: Caller) -> None:
        products = [make_product(f"GEM-{index}", on_hand=10_000, price_minor=10**12) for index in range(100)]

        answer = trusted.post(
            "orders/", FULL_CART | {"lines": [{"sku": each.sku, "quantity": 10_000} for each in products]}
        )

        assert (answer.status_code, answer.json()["total_amount"]) == (201, f"{10**16}.00")


class TestForgedIds:
    @pytest.mark.parametrize("order_id", ["1", "ord_1", "ORD_", "-1", "x" * 5_000, "%F0%9F%8D%B5", "a b"])
    @pytest.mark.parametrize("path", ["orders/{}/", "track/{}/", "customers/{}/"])
    def test_are_not_found(self, trusted: Caller, path: str, order_id: str) -> None:
        place_order()

        assert_refused(trusted.get(path.format(order_id)), 404, "not_found")

    def test_a_row_s_own_key_is_no_id(self, trusted: Caller) -> None:
        order = place_order()

        assert trusted.get(f"orders/{order.pk}/").status_code == 404
        assert trusted.get(f"orders/{order.number}/").status_code == 404

    def test_a_line_of_another_order(self, trusted: Caller, now: datetime) -> None:
        make_product("MUG")
        order, other = (confirm_order(("MUG", 1), now=now) for _ in range(2))
        before = everything()
        lines = [{"line_id": other.items[0].public_id, "quantity": 1}]

        for path in (f"orders/{order.public_id}/cancel/", f"fulfilment/orders/{order.public_id}/pack/"):
            body = {"lines": lines} | ({"reason": "x"} if "cancel" in path else {})
            assert_refused(trusted.post(path, body), 404, "not_found")
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
    def test_filters_that_make_no_sense(self, trusted: Caller, query: str) -> None:
        assert_refused(trusted.get(f"orders/?{query}"), 400, "validation_error", query.partition("=")[0])

    def test_a_cursor_of_one_s_own_making(self, trusted: Caller) -> None:
        assert_refused(trusted.get("orders/?cursor=cD1hYmM="), 404, "not_found")


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
    def test_one_that_makes_no_sense(self, trusted: Caller, body: dict[str, object], field: str) -> None:
        assert_refused(trusted.post("customers/", body), 400, "validation_error", field)
        assert not Customer.objects.exists()
