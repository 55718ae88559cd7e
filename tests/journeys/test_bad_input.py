"""Malformed, oversized, mistyped and forged calls of the whole API: each refused in words, nothing half-written."""

from http import HTTPStatus
from typing import Any

import pytest

from commerce import tokens
from orders.models import Payment
from tests.bodies import CART, put
from tests.journeys.bad_calls import CALLS, EMOJI, LONG, PAYMENT, SHIP, Call
from tests.journeys.shop import Shop, every_row
from webhooks.models import Event

pytestmark = pytest.mark.django_db

BODIES = [
    (b"", "validation_error"),
    (b"null", "validation_error"),
    (b"[]", "validation_error"),
    (b'"order"', "validation_error"),
    (b"{", "malformed_request"),
    (b"customer=ada", "malformed_request"),
    (b'{"lines": NaN}', "malformed_request"),
    (b'{"lines": ' + b"9" * 5_000 + b"}", "malformed_request"),
    (b'{"lines": "\\ud800"}', "malformed_request"),
    (b'{"\\udfff": 1}', "malformed_request"),
    (b'{"lines": "\xff\xfe"}', "malformed_request"),
    ('{"lines": []}'.encode("utf-16"), "malformed_request"),
    (b"[" * 100_000, "malformed_request"),
    (b'{"lines":' * 5_000 + b"1" + b"}" * 5_000, "malformed_request"),
]
ENVELOPES = [
    ({"Content_Type": "text/plain"}, 415, "unsupported_media_type"),
    ({"Content_Type": "multipart/form-data; boundary=x"}, 415, "unsupported_media_type"),
    ({"Content_Type": "application/x-www-form-urlencoded"}, 415, "unsupported_media_type"),
    ({"Content_Type": "application/json; charset=bz2"}, 400, "malformed_request"),
    ({"Accept": "application/xml"}, 406, "not_acceptable"),
    ({"Transfer_Encoding": "chunked"}, 411, "length_required"),
    ({"Host": "a b"}, 400, "unknown_host"),
    ({"Idempotency_Key": ""}, 400, "invalid_idempotency_key"),
    ({"Idempotency_Key": "two words"}, 400, "invalid_idempotency_key"),
    ({"Idempotency_Key": "x" * 256}, 400, "invalid_idempotency_key"),
    ({"Idempotency_Key": EMOJI}, 400, "invalid_idempotency_key"),
    ({"Authorization": "Bearer forged"}, 401, "authentication_failed"),
    ({"Authorization": "Bearer "}, 401, "authentication_failed"),
    ({"Authorization": f"Bearer {EMOJI}.{LONG}"}, 401, "authentication_failed"),
]
PROTECTED = [
    "GET orders/",
    "GET orders/$pending/",
    "POST orders/$pending/confirm/",
    "POST orders/$pending/hold/",
    "POST orders/$pending/release/",
    "POST orders/$pending/verdict/",
    "POST orders/$pending/payments/",
    "POST orders/$delivered/returns/",
    "POST returns/$return/receive/",
    "POST returns/$return/close/",
    "POST orders/$delivered/refunds/",
    "POST refunds/$refund/result/",
    "GET fulfilment/orders/",
    "POST fulfilment/shipments/$packed/ship/",
    "POST fulfilment/shipments/$packed/unpack/",
    "POST fulfilment/shipments/$shipped/bring-back/",
    "POST products/",
    "PATCH products/MUG/",
    "GET inventory/",
    "POST inventory/adjustments/",
    "POST inventory/sales/",
    "GET customers/",
    "GET webhooks/event-types/",
    "GET events/",
    "POST webhooks/subscriptions/$subscription/rotate-secret/",
    "POST webhooks/deliveries/$delivery/resend/",
]


def assert_refused(answer: Any, status: int, code: str, field: str | None = None) -> None:
    assert answer["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert (answer.status_code, problem["status"], problem["code"]) == (status, status, code), problem
    assert problem["type"] == f"urn:commerce-engine:problem:{code}"
    assert len(problem["detail"].split()) > 1
    if field is not None:
        assert any((error["field"] or "").startswith(field) for error in problem["errors"]), problem["errors"]


class TestCalls:
    @pytest.mark.parametrize("call", CALLS, ids=str)
    def test_that_make_no_sense(self, shop: Shop, call: Call) -> None:
        token = shop.token()
        before = every_row()

        answer = shop.send(call.request, call.body, token=token)

        assert_refused(answer, call.status, call.code, call.field)
        assert every_row() == before

    @pytest.mark.parametrize(
        "said", [{"currency": "USD"}, {"amount": "0.01"}, {"gateway_reference": "$reference"}], ids=str
    )
    def test_that_tell_of_another_payment_are_kept_for_staff_to_see(self, shop: Shop, said: dict[str, str]) -> None:
        token = shop.token()
        before = every_row()

        answer = shop.send("POST orders/$pending/payments/", PAYMENT | said, token=token)

        assert_refused(answer, 422, "payment_mismatch")
        assert Payment.objects.latest("pk").result == "refused"
        assert Event.objects.latest("pk").type == "payment.failed"
        after = every_row()
        added = {table: len(rows) - len(before[table]) for table, rows in after.items() if rows != before[table]}
        assert added == {"orders.Order": 0, "orders.Payment": 1, "webhooks.Event": 1, "webhooks.EventSequence": 0}

    @pytest.mark.parametrize(("body", "code"), BODIES, ids=lambda value: repr(value)[:30])
    def test_whose_body_is_no_order(self, shop: Shop, body: bytes, code: str) -> None:
        before = every_row()

        answer = shop.send("POST orders/", body)

        assert_refused(answer, 400, code)
        assert every_row() == before

    @pytest.mark.parametrize(("headers", "status", "code"), ENVELOPES, ids=lambda value: repr(value)[:40])
    def test_whose_headers_are_wrong(self, shop: Shop, headers: dict[str, str], status: int, code: str) -> None:
        before = every_row()

        answer = shop.send("POST orders/", CART, **headers)

        assert_refused(answer, status, code)
        assert every_row() == before

    def test_that_are_too_large(self, shop: Shop) -> None:
        assert_refused(shop.send("POST orders/", b" " * 1_048_577), 413, "body_too_large")


class TestTokens:
    @pytest.mark.parametrize("request_line", PROTECTED)
    def test_are_needed_and_must_have_the_scope(self, shop: Shop, request_line: str) -> None:
        other = shop.token("storefront")
        expired, revoked = shop.expired_token(), shop.revoked_token()
        before = every_row()

        assert_refused(shop.send(request_line), HTTPStatus.UNAUTHORIZED, "not_authenticated")
        assert_refused(shop.send(request_line, token=other), HTTPStatus.FORBIDDEN, "permission_denied")
        for dead in (expired, revoked):
            assert_refused(shop.send(request_line, token=dead), HTTPStatus.UNAUTHORIZED, "authentication_failed")
        assert every_row() == before

    @pytest.mark.parametrize(
        ("request_line", "body"),
        [("POST fulfilment/orders/$confirmed/pack/", {}), ("POST fulfilment/shipments/$packed/ship/", SHIP)],
    )
    def test_of_one_warehouse_do_not_reach_another(self, shop: Shop, request_line: str, body: dict[str, str]) -> None:
        elsewhere = tokens.issue("3PL", scopes=["fulfilment"], warehouse="MUC")
        before = every_row()

        assert_refused(shop.send(request_line, body, token=elsewhere), 404, "not_found")
        assert every_row() == before


class TestIdempotencyKeys:
    @pytest.mark.parametrize(
        ("request_line", "body"), [("POST orders/", CART | {"channel": "app"}), ("POST customers/", CART)]
    )
    def test_are_for_one_request_alone(self, shop: Shop, request_line: str, body: dict[str, Any]) -> None:
        token = shop.token()
        assert shop.send("POST orders/", CART, token=token, Idempotency_Key="k1").status_code == HTTPStatus.CREATED
        before = every_row()

        answer = shop.send(request_line, body, token=token, Idempotency_Key="k1")

        assert_refused(answer, 422, "idempotency_key_reused")
        assert every_row() == before

    def test_keep_a_refusal_as_well(self, shop: Shop) -> None:
        body = put(CART, "lines.0.quantity", 10_000)
        first, again = (shop.send("POST orders/", body, Idempotency_Key="k1") for _ in range(2))

        assert_refused(again, 409, "insufficient_stock")
        assert (again.content, again["Idempotency-Replayed"]) == (first.content, "true")
