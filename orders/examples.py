"""One order's story, told in the `data` of every event type: what the set-up screen and the docs show."""

from typing import Any

Data = dict[str, Any]

_ORDER: Data = {
    "order_id": "ord_01jdcq9v8k3x5w2m7r4t6y8z0a",
    "order_number": "1042",
    "status": "pending",
    "state": "pending",
    "fulfilment_status": "unfulfilled",
    "payment_status": "unpaid",
    "on_hold": False,
    "channel": "web",
    "currency": "EUR",
    "subtotal_amount": "49.90",
    "shipping_amount": "0.00",
    "discount_amount": "0.00",
    "tax_amount": "0.00",
    "total_amount": "49.90",
    "paid_amount": "0.00",
    "refunded_amount": "0.00",
    "item_count": 2,
    "customer_id": "cus_01jdcq9v7h2n4p6r8s0t2v4w6x",
    "customer_name": "Ann Lee",
    "customer_email": "ann@example.com",
    "customer_phone": "+4930123456",
    "tracking_page_url": "https://shop.example.com/track/x7Qm2c9bVtR4kLp8wZ1nYd3fGh5jS6aE/",
    "placed_at": "2026-11-23T18:04:05.123000Z",
}
_PAID: Data = _ORDER | {"payment_status": "paid", "paid_amount": "49.90"}
_CONFIRMED: Data = _PAID | {"status": "confirmed", "state": "confirmed"}
_PACKED: Data = _CONFIRMED | {"status": "packed", "fulfilment_status": "packed"}
_SHIPPED: Data = _CONFIRMED | {"status": "shipped", "fulfilment_status": "shipped"}

_SHIPMENT: Data = {
    "shipment_id": "shp_01jdcr5e0m4q8t2w6z9b3d5f7h",
    "shipment_index": 1,
    "shipment_count": 1,
    "warehouse_code": "BER",
    "order_complete": True,
}
_LINES: Data = {
    "lines": [
        {
            "line_id": "lin_01jdcq9v8m6y0b2d4f6h8k0n2p",
            "product_id": "prd_01jdcp2x4z6a8c0e2g4j6m8q0s",
            "sku": "MUG-BLUE",
            "name": "Blue mug",
            "quantity": 2,
            "unit_amount": "24.95",
            "total_amount": "49.90",
            "warehouse_code": "BER",
        }
    ]
}
_PROMISED: Data = {
    "shipping_address": {
        "name": "Ann Lee",
        "line1": "Torstrasse 1",
        "line2": None,
        "city": "Berlin",
        "region": None,
        "postal_code": "10119",
        "country": "DE",
        "phone": "+4930123456",
    },
    "warehouse_code": "BER",
    "promised_delivery_from": "2026-11-26",
    "promised_delivery_to": "2026-11-30",
}

ORDER_CREATED: Data = {
    **_ORDER,
    **_LINES,
    **_PROMISED,
    "payment_id": None,
    "payment_method": "card",
    "payment_gateway": "stripe",
    "ship_by_at": "2026-11-25T14:00:00.000000Z",
    "hold_expires_at": "2026-11-23T18:19:05.123000Z",
}
ORDER_CONFIRMED: Data = {
    **_CONFIRMED,
    **_LINES,
    **_PROMISED,
    "confirmed_at": "2026-11-23T18:04:41.507000Z",
    "confirmed_by": "stripe",
}
ORDER_PACKED: Data = {
    **_PACKED,
    **_SHIPMENT,
    **_LINES,
    "packed_at": "2026-11-24T08:15:00.000000Z",
    "packed_by": "ben",
    "package_count": 1,
    "weight_grams": 850,
}
ORDER_UNPACKED: Data = {
    **_CONFIRMED,
    **_SHIPMENT,
    "order_complete": False,
    **_LINES,
    "unpacked_at": "2026-11-24T09:05:00.000000Z",
    "unpacked_by": "ben",
}
ORDER_SHIPPED: Data = {
    **_SHIPPED,
    **_SHIPMENT,
    **_LINES,
    "carrier": "DHL",
    "carrier_service": "Paket",
    "tracking_number": "00340434161094015902",
    "tracking_url": "https://dhl.example.com/00340434161094015902",
    "shipped_at": "2026-11-24T15:30:00.000000Z",
    "estimated_delivery_at": "2026-11-26T17:00:00.000000Z",
}
ORDER_DELIVERED: Data = {
    **_SHIPPED,
    "status": "delivered",
    "state": "completed",
    "fulfilment_status": "delivered",
    **_SHIPMENT,
    **_LINES,
    "delivered_at": "2026-11-26T11:42:00.000000Z",
    "delivery_source": "aftership",
    "received_by": "A. Lee",
    "tracking_number": "00340434161094015902",
    "carrier": "DHL",
    "cod_amount": None,
    "cod_collected_amount": None,
}
ORDER_CANCELLED: Data = {
    **_PAID,
    "status": "cancelled",
    "state": "cancelled",
    **_LINES,
    "cancelled_at": "2026-11-23T18:20:00.000000Z",
    "cancelled_by": "customer",
    "cancel_reason": "customer_request",
    "is_full": True,
    "refund_expected_amount": "49.90",
    "void_expected_amount": "0.00",
}
ORDER_SHIPMENT_RETURNED: Data = {
    **_PAID,
    "status": "cancelled",
    "state": "cancelled",
    **_SHIPMENT,
    "order_complete": False,
    "carrier": "DHL",
    "tracking_number": "00340434161094015902",
    "reason": "returned_to_sender",
    "returned_at": "2026-12-03T09:30:00.000000Z",
    "returned_by": "ben",
    "lines": [_LINES["lines"][0] | {"condition": "sellable"}],
}
_HELD: Data = _ORDER | {"status": "on_hold", "on_hold": True}
ORDER_HELD: Data = {
    **_HELD,
    "open_hold_kinds": ["fraud"],
    "hold_id": "hld_01jdcqc6f8h0k2m4p6r8t0v2w4",
    "hold_kind": "fraud",
    "hold_reason": "Many failed payments: 3 within 24 hours",
    "held_at": "2026-11-23T18:04:20.044000Z",
    "held_by": "rule",
}
ORDER_RELEASED: Data = {
    **_ORDER,
    "open_hold_kinds": [],
    "released_hold_kinds": ["fraud"],
    "released_at": "2026-11-23T18:31:00.000000Z",
    "released_by": "ann",
}
_DELIVERED: Data = _SHIPPED | {"status": "delivered", "state": "completed", "fulfilment_status": "delivered"}
_RETURN: Data = {
    "return_id": "ret_01jdm2w4y6a8c0e2g4j6m8q0s2",
    "return_number": "1042-R1",
    "reason": "One of them is chipped",
    "expected_refund_amount": "24.95",
}
_RETURNED_LINE: Data = _LINES["lines"][0] | {"quantity": 1, "total_amount": "24.95"}
ORDER_RETURN_INITIATED: Data = {
    **_DELIVERED,
    **_RETURN,
    "initiated_at": "2026-11-27T09:12:00.000000Z",
    "initiated_by": "customer",
    "lines": [_RETURNED_LINE | {"reason": "Chipped rim"}],
}
ORDER_RETURN_RECEIVED: Data = {
    **_DELIVERED,
    **_RETURN,
    "received_at": "2026-11-30T08:40:00.000000Z",
    "received_by": "ben",
    "void_expected_amount": "0.00",
    "is_complete": True,
    "lines": [_RETURNED_LINE | {"condition": "damaged"}],
}
ORDER_RETURN_CLOSED: Data = {
    **_DELIVERED,
    **_RETURN,
    "expected_refund_amount": "0.00",
    "closed_at": "2027-01-11T08:00:00.000000Z",
    "closed_by": "ann",
    "lines": [_RETURNED_LINE],
}
_REFUND: Data = {
    "refund_id": "rfd_01jdt4x6z8b0d2f4h6k8n0p2r4",
    "payment_id": "pay_01jdcqb2c3d4e5f6g7h8j9k0m1",
    "return_id": _RETURN["return_id"],
    "refund_amount": "24.95",
    "reason": "One of them is chipped",
    "remaining_refundable_amount": "24.95",
}
ORDER_REFUND_REQUESTED: Data = {
    **_DELIVERED,
    **_REFUND,
    "payment_gateway": "stripe",
    "payment_reference": "ch_3Qx8K2Lk",
    "requested_at": "2026-11-30T08:45:00.000000Z",
    "requested_by": "ann",
}
ORDER_REFUND_PROCESSED: Data = {
    **_DELIVERED,
    "payment_status": "partially_refunded",
    "refunded_amount": "24.95",
    **_REFUND,
    "is_full": False,
    "processed_at": "2026-11-30T08:45:07.000000Z",
}
ORDER_REFUND_FAILED: Data = {
    **_DELIVERED,
    **_REFUND,
    "remaining_refundable_amount": "49.90",
    "failure_code": "card_closed",
    "failure_message": "The card's account is closed.",
    "failed_at": "2026-11-30T08:45:07.000000Z",
}
ORDER_DELIVERY_WINDOW_CHANGED: Data = {
    **_SHIPPED,
    "promised_delivery_from": "2026-12-02",
    "promised_delivery_to": "2026-12-02",
    "previous_delivery_from": "2026-11-26",
    "previous_delivery_to": "2026-11-30",
    "ship_by_at": "2026-11-25T14:00:00.000000Z",
    "reason": "courier_estimate",
    "changed_at": "2026-11-26T10:21:00.000000Z",
}
ORDER_TRACKING_UPDATED: Data = {
    **_SHIPPED,
    **_SHIPMENT,
    "status": "out_for_delivery",
    "previous_status": "in_transit",
    "message": "With the driver",
    "location": "Berlin, DE",
    "occurred_at": "2026-11-26T08:05:00.000000Z",
    "estimated_delivery_at": "2026-11-26T17:00:00.000000Z",
}
ORDER_TRACKING_EXCEPTION: Data = {
    **ORDER_TRACKING_UPDATED,
    "status": "attempt_failed",
    "previous_status": "out_for_delivery",
    "message": "Nobody was at home",
    "occurred_at": "2026-11-26T10:20:00.000000Z",
}

_PAYMENT: Data = {
    "payment_id": "pay_01jdcqb2c3d4e5f6g7h8j9k0m1",
    "order_id": _ORDER["order_id"],
    "order_number": _ORDER["order_number"],
    "customer_id": _ORDER["customer_id"],
    "kind": "capture",
    "amount": "49.90",
    "currency": "EUR",
    "method": "card",
    "gateway": "stripe",
    "gateway_reference": "ch_3Qx8K2Lk",
    "attempt_number": 2,
    "processed_at": "2026-11-23T18:04:41.507000Z",
    "order_state": "pending",
    "payment_status": "paid",
}
PAYMENT_SUCCESS: Data = {**_PAYMENT, "void_expected_amount": "0.00"}
PAYMENT_FAILED: Data = {
    **_PAYMENT,
    "gateway_reference": "ch_3Qx8K1Lj",
    "attempt_number": 1,
    "processed_at": "2026-11-23T18:04:20.044000Z",
    "payment_status": "failed",
    "failure_code": "insufficient_funds",
    "failure_message": "The card has insufficient funds.",
    "is_retryable": True,
    "attempts_24h": 1,
    "order_on_hold": False,
    "failed_at": "2026-11-23T18:04:20.044000Z",
}

CUSTOMER_CREATED: Data = {
    "customer_id": _ORDER["customer_id"],
    "email": "ann@example.com",
    "phone": "+4930123456",
    "name": "Ann Lee",
    "locale": "en",
    "accepts_marketing": False,
    "created_at": "2026-11-23T18:04:05.123000Z",
}
CUSTOMER_UPDATED: Data = {
    **CUSTOMER_CREATED,
    "accepts_marketing": True,
    "changed_fields": ["accepts_marketing"],
    "version": 2,
    "updated_at": "2026-11-23T18:31:12.880000Z",
}
