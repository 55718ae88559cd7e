from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.db.models import F, Model

from orders.models import Allocation, Customer, Order, OrderLine, Payment, Shipment, ShipmentLine
from tests.factories import confirm_order, place_order, ship_order
from tests.told import DataOf
from webhooks.models import Event

pytestmark = pytest.mark.django_db


class TestTheDatabase:
    @pytest.mark.parametrize(
        ("model", "changes", "constraint"),
        [
            (OrderLine, {"cancelled": 1}, "line_packed_and_cancelled_within_quantity"),
            (OrderLine, {"packed": 3, "quantity": 2}, "line_packed_and_cancelled_within_quantity"),
            (OrderLine, {"shipped": 3}, "line_shipped_within_packed"),
            (OrderLine, {"delivered": 3}, "line_delivered_within_shipped"),
            (OrderLine, {"quantity": 0, "packed": 0, "shipped": 0}, "line_quantity_positive"),
            (Allocation, {"packed": 3}, "allocation_packed_within_quantity"),
            (ShipmentLine, {"quantity": 0}, "shipment_line_quantity_positive"),
            (Shipment, {"shipped_at": None}, "shipment_left_when_shipped"),
            (Shipment, {"state": "delivered"}, "shipment_arrived_when_delivered"),
            (Order, {"total_minor": 1}, "order_total_adds_up"),
            (OrderLine, {"returned": 1}, "line_returned_within_delivered"),
            (OrderLine, {"refunded": 1}, "line_refunded_within_cancelled_and_delivered"),
            (Order, {"cancelled_minor": F("total_minor") + 1}, "order_cancelled_and_credited_within_total"),
            (
                Order,
                {"cancelled_minor": F("total_minor"), "credited_minor": 1},
                "order_cancelled_and_credited_within_total",
            ),
            (Order, {"refunded_minor": F("paid_minor") + 1}, "order_refunds_within_paid"),
            (
                Order,
                {"refunded_minor": F("paid_minor"), "refund_pending_minor": 1},
                "order_refunds_within_paid",
            ),
            (Customer, {"email": "Ann@Example.com"}, "customer_email_in_lower_case"),
        ],
    )
    def test_refuses_what_cannot_be(self, model: type[Model], changes: dict[str, Any], constraint: str) -> None:
        ship_order()

        with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
            model._default_manager.update(**changes)

    def test_refuses_a_payment_told_twice(self) -> None:
        order = confirm_order()
        told = Payment.objects.get()

        with pytest.raises(IntegrityError), transaction.atomic():
            Payment.objects.create(
                order=order,
                kind=told.kind,
                result=told.result,
                amount_minor=1,
                gateway=told.gateway,
                gateway_reference=told.gateway_reference,
                attempt_number=2,
                attempts_24h=2,
            )


class TestOrder:
    @pytest.mark.parametrize(
        ("state", "fulfilment", "on_hold", "status"),
        [
            ("pending", "unfulfilled", False, "pending"),
            ("pending", "unfulfilled", True, "on_hold"),
            ("confirmed", "unfulfilled", False, "confirmed"),
            ("confirmed", "unfulfilled", True, "on_hold"),
            ("confirmed", "partially_packed", False, "confirmed"),
            ("confirmed", "partially_packed", True, "on_hold"),
            ("confirmed", "packed", True, "packed"),
            ("confirmed", "partially_shipped", False, "packed"),
            ("confirmed", "shipped", False, "shipped"),
            ("confirmed", "partially_delivered", False, "shipped"),
            ("completed", "delivered", False, "delivered"),
            ("completed", "returned", False, "returned"),
            ("cancelled", "unfulfilled", True, "cancelled"),
        ],
    )
    def test_has_one_public_word(self, state: str, fulfilment: str, on_hold: bool, status: str) -> None:
        order = Order(state=state, fulfilment_status=fulfilment, on_hold=on_hold)

        assert order._public_status() == status

    def test_loads_many_with_their_items_in_two_statements(self, django_assert_num_queries: Any) -> None:
        order = place_order()

        with django_assert_num_queries(2):
            (found,) = Order.objects.with_items()
            assert [line.product.sku for line in found.items] == ["MUG"]
            assert found.customer == order.customer

    def test_has_a_page_that_cannot_be_guessed(self) -> None:
        order = place_order()

        assert order.tracking_page_url.endswith(f"/track/{order.tracking_token}/")
        assert len(order.tracking_token) == 32


class TestCustomer:
    def test_is_kept_in_lower_case(self) -> None:
        assert Customer.objects.create(email="Ann@Example.com").email == "ann@example.com"

    def test_tells_a_change_with_what_changed(self, data_of: DataOf) -> None:
        customer = Customer.objects.create(email="ann@example.com")

        customer.accepts_marketing = True
        customer.save()

        data = data_of("customer.updated")
        assert (data["customer_id"], data["changed_fields"]) == (customer.public_id, ["accepts_marketing"])
        assert (data["accepts_marketing"], data["version"]) == (True, 2)

    def test_tells_nothing_when_nothing_changed(self) -> None:
        customer = Customer.objects.create(email="ann@example.com")

        customer.save()

        assert Event.objects.filter(type="customer.updated").count() == 0
