"""Malformed, oversized and mistyped calls of the whole API, each with the refusal that it is to meet."""

from typing import Any, NamedTuple

from tests.bodies import CAPTURE, CART, put

PAYMENT = CAPTURE | {"gateway_reference": "ch_new"}
HOLD = {"kind": "fraud", "reason": "Three cards in five minutes"}
RETURN: dict[str, Any] = {"reason": "Broken", "lines": [{"line_id": "$delivered_line", "quantity": 1}]}
RECEIPT: dict[str, Any] = {"lines": [{"line_id": "$delivered_line", "quantity": 1, "condition": "sellable"}]}
REFUND = {"amount": "1.00", "currency": "EUR", "reason": "Scratched"}
REFUNDED = {"result": "success", "gateway_reference": "re_1"}
PRODUCT = {"sku": "CUP", "name": "Cup", "price_amount": "5.00", "currency": "EUR"}
WAREHOUSE = {"code": "MUC", "name": "Munich", "country": "DE"}
ADJUSTMENT = {"sku": "MUG", "warehouse": "BER", "delta": 1, "reason": "received"}
SALE = {"warehouse": "BER", "reference": "till-1", "lines": [{"sku": "MUG", "quantity": 1}]}
SHIP = {"carrier": "DHL", "tracking_number": "JD02"}
SCAN = {"status": "in_transit", "occurred_at": "2026-01-01T10:00:00Z"}
SUBSCRIPTION = {"name": "ERP", "url": "http://127.0.0.1:9/", "event_types": ["order.*"]}
# A slip of the year, and the end of the calendar, which is over in Berlin already.
FAR = ("2062-11-26T16:00:00Z", "9999-12-31T23:59:59Z")
EMOJI, LONG, HUGE = "🫖" * 3, "x" * 5_000, 10**30


class Call(NamedTuple):
    """`field` is the one that `errors[]` must name."""

    request: str
    body: Any
    status: int
    code: str
    field: str | None = None

    def __str__(self) -> str:
        return f"{self.request} {self.field or self.code}"


def wrong(request: str, body: dict[str, Any], field: str, *values: object) -> list[Call]:
    """A call for each of the values at the field, such as `lines.0.quantity`."""
    return [Call(request, put(body, field, value), 400, "validation_error", field) for value in values]


def missing(request: str) -> Call:
    return Call(request, None, 404, "not_found")


CALLS = [
    # Orders
    *wrong("POST orders/", CART, "lines.0.quantity", 0, -1, 1.5, "1; DROP TABLE orders", True, HUGE, None, [1]),
    *wrong("POST orders/", CART, "lines.0.sku", None, {}, "M\0UG", LONG),
    *wrong("POST orders/", CART, "lines", [], {}, "MUG", CART["lines"] * 101),
    *wrong("POST orders/", CART, "lines.0.unit_amount", "0.01"),
    *wrong("POST orders/", CART, "customer", None, [], "ada"),
    *wrong("POST orders/", CART, "customer.email", "ada", EMOJI, f"{LONG}@example.com", "a@b.de\r\nBcc: c@d.de", 7),
    *wrong("POST orders/", CART, "customer.customer_id", "$customer"),
    *wrong("POST orders/", CART, "shipping_address.country", "Germany", "d", EMOJI),
    *wrong("POST orders/", CART, "total_amount", "0.01"),
    *wrong("POST orders/", CART, "currency", "USD"),
    *wrong("POST orders/", CART, "payment_status", "paid"),
    *wrong("POST orders/", CART, "channel", LONG, {"name": "web"}),
    Call("POST orders/", put(CART, "lines.0.sku", EMOJI), 422, "invalid_cart"),
    Call("POST orders/", put(CART, "lines.0.sku", "GONE"), 422, "invalid_cart"),
    Call("POST orders/", put(CART, "lines.0.sku", "../../etc/passwd"), 422, "invalid_cart"),
    Call("POST orders/", put(CART, "lines.0.quantity", 10_000), 409, "insufficient_stock"),
    Call("POST orders/", put(CART, "lines", [CART["lines"][0] | {"quantity": 30}] * 2), 409, "insufficient_stock"),
    *map(missing, ("GET orders/$customer/", "GET orders/$pending_key/", "GET orders/$pending_number/")),
    *map(missing, ("GET orders/..%2f$pending/", "GET orders/%F0%9F%AB%96/", f"GET orders/{LONG}/", "GET orders/-1/")),
    *wrong("POST orders/$pending/cancel/", {"reason": "x"}, "lines", ["first"], "all"),
    *wrong("POST orders/$pending/cancel/", {}, "reason", "", None, LONG, {"why": "x"}),
    *wrong("POST orders/$pending/confirm/", {}, "force", True),
    Call("POST orders/$pending/confirm/", None, 409, "invalid_transition"),
    Call("POST orders/$shipped_order/cancel/", {"reason": "x"}, 409, "invalid_transition"),
    *wrong("POST orders/$confirmed/hold/", HOLD, "kind", None, "vip", EMOJI, ["fraud"], HUGE),
    *wrong("POST orders/$confirmed/hold/", HOLD, "reason", None, "", "a\0b", LONG, {"why": "x"}),
    *wrong("POST orders/$confirmed/hold/", HOLD, "until", "tomorrow"),
    *wrong("POST orders/$confirmed/release/", {}, "kind", None, "vip", ["fraud"]),
    *wrong("POST orders/$confirmed/verdict/", {}, "verdict", None, "maybe", True, ["accept"]),
    *map(missing, ("POST orders/ord_none/release/", "POST orders/$confirmed_key/release/")),
    Call("POST orders/$confirmed/release/", {}, 409, "invalid_transition"),
    Call("POST orders/$confirmed/verdict/", {"verdict": "accept"}, 409, "invalid_transition"),
    Call("POST orders/$shipped_order/verdict/", {"verdict": "reject"}, 409, "invalid_transition"),
    Call("GET orders/?standing=soon", None, 400, "validation_error", "standing"),
    missing("POST orders/$product/confirm/"),
    # Payments
    *wrong("POST orders/$pending/payments/", PAYMENT, "amount", 49.9, "-49.90", "49.901", "1e3", "NaN", "9" * 40, None),
    *wrong("POST orders/$pending/payments/", PAYMENT, "currency", "euro", "XXXX", 978, None),
    *wrong("POST orders/$pending/payments/", PAYMENT, "result", "perhaps", True),
    *wrong("POST orders/$pending/payments/", PAYMENT, "kind", "refund"),
    *wrong("POST orders/$pending/payments/", PAYMENT, "gateway_reference", "", LONG, "a\0b"),
    *wrong("POST orders/$pending/payments/", PAYMENT, "result", "refused"),
    Call("POST orders/$packed/payments/", PAYMENT, 404, "not_found"),
    # Returns and refunds
    *wrong("POST orders/$delivered/returns/", RETURN, "lines", [], {}, "all", None, RETURN["lines"] * 2),
    *wrong("POST orders/$delivered/returns/", RETURN, "lines.0.quantity", 0, -1, 1.5, HUGE, None, "one"),
    *wrong("POST orders/$delivered/returns/", RETURN, "lines.0.reason", LONG, [1], "a\0b"),
    *wrong("POST orders/$delivered/returns/", RETURN, "reason", "", None, LONG, {"why": "x"}),
    *wrong("POST orders/$delivered/returns/", RETURN, "expected_refund_amount", "99.00"),
    Call("POST orders/$delivered/returns/", put(RETURN, "lines.0.quantity", 2), 409, "invalid_transition"),
    Call("POST orders/$delivered/returns/", put(RETURN, "lines.0.line_id", "$line"), 404, "not_found"),
    Call("POST orders/$pending/returns/", put(RETURN, "lines.0.line_id", "$other_line"), 409, "invalid_transition"),
    *wrong("POST returns/$return/receive/", RECEIPT, "lines", [], "all", None, RECEIPT["lines"] * 201),
    *wrong("POST returns/$return/receive/", RECEIPT, "lines.0.quantity", 0, -1, 1.5, HUGE),
    *wrong("POST returns/$return/receive/", RECEIPT, "lines.0.condition", "new", "", None, 1),
    Call("POST returns/$return/receive/", put(RECEIPT, "lines.0.quantity", 2), 409, "invalid_transition"),
    Call("POST returns/$return/receive/", put(RECEIPT, "lines.0.line_id", "$line"), 404, "not_found"),
    Call("POST returns/$refund/receive/", RECEIPT, 404, "not_found"),
    *wrong("POST orders/$delivered/refunds/", REFUND, "amount", 1, "-1.00", "1.001", "1e3", "NaN", "9" * 40, None),
    *wrong("POST orders/$delivered/refunds/", REFUND, "currency", "euro", "XXXX", 978, None),
    *wrong("POST orders/$delivered/refunds/", REFUND, "reason", "", LONG, None),
    *wrong("POST orders/$delivered/refunds/", REFUND, "return_id", LONG, ["$return"]),
    Call("POST orders/$delivered/refunds/", REFUND | {"currency": "USD"}, 422, "refund_mismatch"),
    Call("POST orders/$delivered/refunds/", REFUND | {"amount": "49.90"}, 409, "not_refundable"),
    Call("POST orders/$delivered/refunds/", REFUND | {"amount": "0.00"}, 409, "not_refundable"),
    Call("POST orders/$delivered/refunds/", REFUND | {"return_id": "$refund"}, 404, "not_found"),
    Call("POST orders/$pending/refunds/", REFUND, 409, "not_refundable"),
    *wrong("POST refunds/$refund/result/", REFUNDED, "result", "refused", "requested", True, None),
    *wrong("POST refunds/$refund/result/", REFUNDED, "gateway_reference", "", LONG, None, "a\0b"),
    *wrong("POST refunds/$refund/result/", REFUNDED, "amount", "99.00"),
    Call("POST refunds/$return/result/", REFUNDED, 404, "not_found"),
    # Fulfilment
    *wrong("POST fulfilment/orders/$confirmed/pack/", {}, "package_count", 0, -1, 1.5, HUGE),
    *wrong("POST fulfilment/orders/$confirmed/pack/", {}, "weight_grams", -5, "heavy"),
    *wrong("POST fulfilment/orders/$confirmed/pack/", {}, "lines", [], {}, "all"),
    Call("POST fulfilment/orders/$pending/pack/", {}, 409, "invalid_transition"),
    Call(
        "POST fulfilment/orders/$confirmed/pack/",
        {"lines": [{"line_id": "$line", "quantity": 3}]},
        409,
        "invalid_transition",
    ),
    Call(
        "POST fulfilment/orders/$confirmed/pack/",
        {"lines": [{"line_id": "$other_line", "quantity": 1}]},
        404,
        "not_found",
    ),
    *wrong("POST fulfilment/shipments/$packed/ship/", SHIP, "carrier", "", None, LONG, "DHL\0"),
    *wrong("POST fulfilment/shipments/$packed/ship/", SHIP, "tracking_number", "", None, ["1", "2"]),
    *wrong("POST fulfilment/shipments/$packed/ship/", SHIP, "tracking_url", "javascript:alert(1)", EMOJI),
    *wrong("POST fulfilment/shipments/$packed/ship/", SHIP, "estimated_delivery_at", "soon", HUGE, *FAR),
    Call("POST fulfilment/shipments/$shipped/ship/", SHIP, 409, "invalid_transition"),
    Call("POST fulfilment/shipments/$pending/ship/", SHIP, 404, "not_found"),
    *wrong("POST fulfilment/shipments/$shipped/tracking/", SCAN, "status", "teleported", "", 40),
    *wrong("POST fulfilment/shipments/$shipped/tracking/", SCAN, "occurred_at", "yesterday", 1763892000, "2126-01-01"),
    *wrong("POST fulfilment/shipments/$shipped/tracking/", SCAN, "estimated_delivery_at", "soon", HUGE, *FAR),
    *wrong("POST fulfilment/shipments/$shipped/tracking/", SCAN, "occurred_at", "0001-01-01T00:00:00+14:00"),
    Call("POST fulfilment/shipments/$packed/tracking/", SCAN, 409, "invalid_transition"),
    *wrong("POST fulfilment/shipments/$shipped/deliver/", {}, "cod_collected_amount", 5, "-5.00"),
    Call("POST fulfilment/shipments/$shipped/deliver/", {"cod_collected_amount": "5.00"}, 422, "payment_mismatch"),
    Call("POST fulfilment/shipments/$packed/deliver/", {}, 409, "invalid_transition"),
    # Products and stock
    *wrong("POST products/", PRODUCT, "sku", "MUG", "", EMOJI, "../../etc/passwd", "C\0P", LONG, None),
    *wrong("POST products/", PRODUCT, "price_amount", 5, "-5.00", "5.001", "five", "Infinity", "9" * 40),
    *wrong("POST products/", PRODUCT, "currency", "EURO", "QQQ", 978),
    *wrong("POST products/", PRODUCT, "weight_grams", -1, 1.5, HUGE, "heavy"),
    *wrong("PATCH products/MUG/", {}, "available", 1_000),
    Call("PATCH products/MUG/", {"currency": "USD"}, 400, "validation_error", "price_amount"),
    Call("PATCH products/..%2f..%2fMUG/", {"name": "x"}, 404, "not_found"),
    *wrong("POST inventory/warehouses/", WAREHOUSE, "code", "BER", "M/C", EMOJI),
    *wrong("POST inventory/warehouses/", WAREHOUSE, "country", "Germany", None),
    *wrong("POST inventory/warehouses/", WAREHOUSE, "priority", -1, HUGE),
    *wrong("POST inventory/warehouses/", WAREHOUSE, "ships_to", "DE", {"DE": True}),
    *wrong("POST inventory/adjustments/", ADJUSTMENT, "delta", 0, 1.5, HUGE, "many"),
    *wrong("POST inventory/adjustments/", ADJUSTMENT, "reason", "stolen", "reserved", None),
    *wrong("POST inventory/adjustments/", ADJUSTMENT, "sku", "NOPE", "M\0UG", {"sku": "MUG"}),
    *wrong("POST inventory/adjustments/", ADJUSTMENT, "warehouse", "NOPE", EMOJI),
    Call("POST inventory/adjustments/", ADJUSTMENT | {"on_hand": 5}, 400, "validation_error"),
    Call("POST inventory/adjustments/", ADJUSTMENT | {"delta": -51}, 409, "insufficient_stock"),
    Call(
        "POST inventory/adjustments/",
        {"sku": "MUG", "warehouse": "BER", "reason": "recounted", "on_hand": 1, "expected_on_hand": 7},
        409,
        "stale_count",
    ),
    *wrong("POST inventory/sales/", SALE, "lines.0.quantity", 0, -1, HUGE),
    *wrong("POST inventory/sales/", SALE, "reference", "", LONG),
    Call("POST inventory/sales/", put(SALE, "lines.0.quantity", 51), 409, "insufficient_stock"),
    # Customers
    *wrong("POST customers/", {}, "email", "ann@example.com", "ANN@example.com", "ann", None, EMOJI),
    *wrong("PATCH customers/$customer/", {}, "version", 9),
    *wrong("PATCH customers/$customer/", {}, "locale", "<script>", LONG),
    *wrong("PATCH customers/$customer/", {}, "accepts_marketing", "perhaps"),
    Call("PATCH customers/$pending/", {"name": "x"}, 404, "not_found"),
    # Subscriptions and deliveries
    *wrong("POST webhooks/subscriptions/", SUBSCRIPTION, "url", "", "ftp://127.0.0.1/", "javascript:alert(1)"),
    *wrong("POST webhooks/subscriptions/", SUBSCRIPTION, "url", "http://169.254.169.254/latest", "http://[::]:9/"),
    *wrong("POST webhooks/subscriptions/", SUBSCRIPTION, "url", "http://me:secret@127.0.0.1/", "http://127.0.0.1:0/"),
    *wrong("POST webhooks/subscriptions/", SUBSCRIPTION, "url", f"http://127.0.0.1/{LONG}", "http://127.0.0.1/\r\nX:1"),
    *wrong("POST webhooks/subscriptions/", SUBSCRIPTION, "event_types", [], "order.*", ["order.lost"]),
    *wrong(
        "POST webhooks/subscriptions/", SUBSCRIPTION, "headers", {"Webhook-Id": "1"}, {"X": "a\r\nY:b"}, {"a b": ""}
    ),
    *wrong("POST webhooks/subscriptions/", SUBSCRIPTION, "headers", {"Content-Length": "9"}, ["X"], {"X": EMOJI}),
    *wrong("POST webhooks/subscriptions/", SUBSCRIPTION, "retry_schedule", [], [0], [HUGE], "5"),
    *wrong("POST webhooks/subscriptions/", SUBSCRIPTION, "max_in_flight", 0, -1, HUGE, "many"),
    *wrong("POST webhooks/subscriptions/", SUBSCRIPTION, "ordering", "random"),
    *wrong("POST webhooks/subscriptions/", SUBSCRIPTION, "secret", "whsec_mine"),
    *wrong("PATCH webhooks/subscriptions/$subscription/", {}, "state", "disabled"),
    Call("POST webhooks/subscriptions/$subscription/resume/", None, 409, "subscription_conflict"),
    *map(missing, ("DELETE webhooks/subscriptions/$delivery/", "POST webhooks/deliveries/$event/resend/")),
    # An unfinished set-up is the admin's.
    *map(missing, ("GET webhooks/subscriptions/$draft/", "POST webhooks/subscriptions/$draft/rotate-secret/")),
    # A shopper's token
    *map(missing, ("GET track/$pending/", "POST track/$shipped_order/cancel/")),
    Call("POST track/$shipped_token/cancel/", None, 409, "invalid_transition"),
    *wrong("POST track/$token/cancel/", {}, "reason", "because"),
    *wrong("POST track/$delivered_token/returns/", RETURN, "lines", [], "all"),
    Call("POST track/$shipped_token/returns/", RETURN, 404, "not_found"),
    Call("POST track/$delivered_token/returns/", put(RETURN, "lines.0.quantity", 2), 409, "invalid_transition"),
    Call("POST track/$delivered/returns/", RETURN, 404, "not_found"),
    # What comes in
    *map(missing, ("POST inbound/nobody/", "POST inbound/%F0%9F%AB%96/", "POST inbound/", f"POST inbound/{LONG}/")),
    # The feed
    *(
        Call(f"GET events/?{name}={value}", None, 400, "validation_error", name)
        for name, value in (
            ("type", "order.lost"),
            ("type", EMOJI),
            ("types", "order.created"),
            ("page_size", 0),
            ("page_size", HUGE),
            ("after", LONG),
        )
    ),
    Call(f"GET events/?after={EMOJI}", None, 410, "cursor_gone"),
    Call("GET events/?after=$pending", None, 410, "cursor_gone"),
    # Filters and cursors
    *(
        Call(f"GET {path}={value}", None, 400, "validation_error", path.partition("?")[2])
        for path, value in (
            ("orders/?status", "lost"),
            ("orders/?stats", "late"),
            ("orders/?page_size", "abc"),
            ("products/?page_size", HUGE),
            ("orders/?placed_since", "yesterday"),
            ("orders/?placed_until", "9999-12-31T23:59:59-14:00"),
            ("fulfilment/orders/?status", EMOJI),
            ("fulfilment/orders/?updated_since", "2026-13-01"),
            ("inventory/?updated_since", LONG),
            ("products/?updated_since", "now"),
            ("webhooks/deliveries/?state", "lost"),
            ("webhooks/deliveries/?since", "-1"),
        )
    ),
    *map(missing, ("GET orders/?cursor=junk", "GET products/?cursor=cD1hYmM=", "GET customers/?cursor=%F0%9F%AB%96")),
    # Addresses and methods
    *map(missing, ("POST nothing/", "POST orders", "GET orders/../admin/", "PUT nothing/$pending/")),
    Call("GET products/%00/", None, 400, "malformed_request"),
    Call("GET products/?sku=%00", None, 400, "malformed_request"),
    *(
        Call(request, {}, 405, "method_not_allowed")
        for request in (
            "DELETE orders/",
            "PUT products/MUG/",
            "GET orders/$pending/confirm/",
            "PATCH orders/$pending/",
            "DELETE customers/$customer/",
            "DELETE webhooks/deliveries/$delivery/",
            "BREW orders/",
        )
    ),
]
