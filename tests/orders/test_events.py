import json
from datetime import datetime, timedelta

import pytest

from orders import checkout, couriers, events, fulfilment, holds, refunds, returns
from orders.models import Order
from orders.returns import Receipt, Wish
from tests.factories import NOW, make_cart, make_product, pack_order, pay_for, place_order, ship_order
from webhooks import catalogue
from webhooks.catalogue import EventType
from webhooks.models import Event

TYPES = [event_type for event_type in vars(events).values() if isinstance(event_type, EventType)]

ORDER_BLOCK = {
    *("order_id", "order_number", "status", "state", "fulfilment_status", "payment_status", "on_hold", "channel"),
    *("currency", "subtotal_amount", "shipping_amount", "discount_amount", "tax_amount", "total_amount"),
    *("paid_amount", "refunded_amount", "item_count", "customer_id", "customer_name", "customer_email"),
    *("customer_phone", "tracking_page_url", "placed_at"),
}
SHIPMENT_BLOCK = {"shipment_id", "shipment_index", "shipment_count", "warehouse_code", "order_complete"}
LINE = {"line_id", "product_id", "sku", "name", "quantity", "unit_amount", "total_amount", "warehouse_code"}
PAYMENT = {
    *("order_state", "payment_status"),
    *("payment_id", "order_id", "order_number", "customer_id", "kind", "amount", "currency", "method"),
    *("gateway", "gateway_reference", "attempt_number", "processed_at"),
}
CUSTOMER = {"customer_id", "email", "phone", "name", "locale", "accepts_marketing", "created_at"}
TRACKING = {"previous_status", "message", "location", "occurred_at", "estimated_delivery_at"}
RETURN = {"return_id", "return_number", "reason", "expected_refund_amount"}
REFUND = {"refund_id", "payment_id", "return_id", "refund_amount", "reason", "remaining_refundable_amount"}
# What a line has beside its own.
OF_LINES = {
    "order.shipment.returned": {"condition"},
    "order.return.initiated": {"reason"},
    "order.return.received": {"condition"},
}
PROMISED = {"shipping_address", "warehouse_code", "promised_delivery_from", "promised_delivery_to"}

# The tables of spec/events.md.
FIELDS = {
    "order.created": ORDER_BLOCK
    | PROMISED
    | {"lines", "payment_id", "payment_method", "payment_gateway", "ship_by_at", "hold_expires_at"},
    "order.confirmed": ORDER_BLOCK | PROMISED | {"lines", "confirmed_at", "confirmed_by"},
    "order.packed": ORDER_BLOCK | SHIPMENT_BLOCK | {"lines", "packed_at", "packed_by", "package_count", "weight_grams"},
    "order.unpacked": ORDER_BLOCK | SHIPMENT_BLOCK | {"lines", "unpacked_at", "unpacked_by"},
    "order.shipped": ORDER_BLOCK
    | SHIPMENT_BLOCK
    | {"lines", "carrier", "carrier_service", "tracking_number", "tracking_url", "shipped_at", "estimated_delivery_at"},
    "order.delivered": ORDER_BLOCK
    | SHIPMENT_BLOCK
    | {"lines", "delivered_at", "delivery_source", "received_by", "tracking_number", "carrier", "cod_amount"}
    | {"cod_collected_amount"},
    "order.shipment.returned": ORDER_BLOCK
    | SHIPMENT_BLOCK
    | {"lines", "carrier", "tracking_number", "reason", "returned_at", "returned_by"},
    "order.cancelled": ORDER_BLOCK
    | {
        "lines",
        "cancelled_at",
        "cancelled_by",
        "cancel_reason",
        "is_full",
        "refund_expected_amount",
        "void_expected_amount",
    },
    "order.held": ORDER_BLOCK | {"open_hold_kinds", "hold_id", "hold_kind", "hold_reason", "held_at", "held_by"},
    "order.released": ORDER_BLOCK | {"open_hold_kinds", "released_hold_kinds", "released_at", "released_by"},
    "order.delivery_window.changed": ORDER_BLOCK
    | {"promised_delivery_from", "promised_delivery_to", "previous_delivery_from", "previous_delivery_to"}
    | {"ship_by_at", "reason", "changed_at"},
    "order.tracking.updated": ORDER_BLOCK | SHIPMENT_BLOCK | TRACKING,
    "order.tracking.exception": ORDER_BLOCK | SHIPMENT_BLOCK | TRACKING,
    "order.return.initiated": ORDER_BLOCK | RETURN | {"lines", "initiated_at", "initiated_by"},
    "order.return.received": ORDER_BLOCK
    | RETURN
    | {"lines", "received_at", "received_by", "is_complete", "void_expected_amount"},
    "order.return.closed": ORDER_BLOCK | RETURN | {"lines", "closed_at", "closed_by"},
    "order.refund.requested": ORDER_BLOCK
    | REFUND
    | {"payment_gateway", "payment_reference", "requested_at", "requested_by"},
    "order.refund.processed": ORDER_BLOCK | REFUND | {"is_full", "processed_at"},
    "order.refund.failed": ORDER_BLOCK | REFUND | {"failure_code", "failure_message", "failed_at"},
    "payment.success": PAYMENT | {"void_expected_amount"},
    "payment.failed": PAYMENT
    | {"failure_code", "failure_message", "is_retryable", "attempts_24h", "order_on_hold", "failed_at"},
    "customer.created": CUSTOMER,
    "customer.updated": CUSTOMER | {"changed_fields", "version", "updated_at"},
}


def walk(now: datetime) -> None:
    """Every event type of the orders at least once."""
    shipment = ship_order()
    customer = shipment.order.customer
    customer.name = "Ann B. Lee"
    customer.save()
    for hour, status in enumerate(("attempt_failed", "delivered")):
        couriers.track(shipment.public_id, status=status, occurred_at=now.replace(hour=hour), source="dhl", now=now)
    send_back(shipment.order, now)
    undelivered = ship_order(("MUG", 1))
    lost = [Receipt(undelivered.contents[0].line.public_id, 1, "lost")]
    fulfilment.bring_back(undelivered.public_id, receipts=lost, actor="ben", now=now)
    unpacked = pack_order(("MUG", 1))
    fulfilment.unpack(unpacked.public_id, actor="ben", now=now)
    declined = place_order(("MUG", 1))
    pay_for(declined, reference="ch_0", result="failed")
    holds.place(declined.public_id, kind="fraud", reason="Many failures", actor="ann", now=now)
    holds.release(declined.public_id, actor="ann", now=now + timedelta(days=3))
    checkout.cancel(declined.public_id, reason="", actor="ann", now=now)


def send_back(order: Order, now: datetime) -> None:
    """A delivered unit comes back; its refund fails, and succeeds when it is asked for again."""
    line_id = order.items[0].public_id
    opened = returns.open_return(
        order.public_id, wishes=[Wish(line_id, 1)], reason="Too blue", actor="customer", now=now
    )
    forgotten = returns.open_return(
        order.public_id, wishes=[Wish(line_id, 1)], reason="Too big", actor="customer", now=now
    )
    returns.close(forgotten.public_id, actor="ann", now=now)
    receipts = [Receipt(line_id, 1, "sellable")]
    returns.receive_return(opened.public_id, receipts=receipts, actor="ben", now=now)
    wish = {"amount_minor": 2495, "currency": "EUR", "reason": "Too blue", "return_id": opened.public_id}
    first, second = (refunds.request(order.public_id, **wish, actor="ann", now=now) for _ in range(2))
    refunds.failed(first.public_id, failure_code="card_closed", actor="stripe", now=now)
    refunds.processed(second.public_id, gateway_reference="re_1", actor="stripe", now=now)


class TestCatalogue:
    def test_has_the_orders_part_of_the_specification(self) -> None:
        assert {event_type.name for event_type in TYPES} == set(FIELDS)
        assert all(catalogue.get(event_type.name) is event_type for event_type in TYPES)

    @pytest.mark.parametrize("event_type", TYPES, ids=lambda event_type: event_type.name)
    def test_shows_an_example_with_every_field(self, event_type: EventType) -> None:
        assert set(event_type.example) == FIELDS[event_type.name]
        expected = LINE | OF_LINES.get(event_type.name, set())
        assert all(set(line) == expected for line in event_type.example.get("lines", []))


@pytest.mark.django_db
class TestData:
    def test_has_every_field_of_the_specification_and_no_other(self) -> None:
        walk(NOW)

        bodies = {event.type: json.loads(event.body)["data"] for event in Event.objects.filter(type__in=FIELDS)}

        assert {name: set(data) for name, data in bodies.items()} == FIELDS
        for name, data in bodies.items():
            assert all(set(line) == LINE | OF_LINES.get(name, set()) for line in data.get("lines", []))

    def test_is_numbered_per_subject_without_a_gap(self) -> None:
        walk(NOW)

        for subject in Event.objects.values_list("subject", flat=True).distinct():
            sequences = list(Event.objects.filter(subject=subject).order_by("pk").values_list("sequence", flat=True))
            assert sequences == list(range(1, len(sequences) + 1))

    def test_of_fifty_lines_stays_under_20_kb(self, now: datetime) -> None:
        skus = [f"A-LONG-STOCK-KEEPING-UNIT-{number:02}" for number in range(50)]
        for sku in skus:
            make_product(sku, name=f"A product with a rather long name, no. {sku[-2:]}")

        checkout.place(make_cart(*((sku, 1) for sku in skus)), actor="storefront", now=now)

        assert len(Event.objects.get(type="order.created").body.encode()) < 20_000

    def test_is_found_by_the_order_number(self) -> None:
        order = place_order()

        assert Event.objects.get(subject=order.public_id).label == order.number

    def test_says_when_each_thing_happened(self, now: datetime) -> None:
        shipment = ship_order()

        fulfilment.deliver(shipment.public_id, delivered_at=now, actor="ben", now=now)

        assert set(Event.objects.filter(subject=shipment.order.public_id).values_list("occurred_at", flat=True)) == {
            now
        }
