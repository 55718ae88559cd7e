"""The verbs, the scopes and the shapes of the REST API of orders."""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from commerce import tokens
from inventory.models import StockLevel
from orders import fulfilment
from orders.models import Customer, HoldRule, Order, Payment
from tests.factories import confirm_order, make_product, place_order, ship_order
from tests.webhooks.factories import make_subscription
from webhooks.models import Delivery

pytestmark = pytest.mark.django_db

BODY: dict[str, Any] = {
    "customer": {"email": "Ada@example.com", "name": "Ada Lee", "phone": "+4930123456", "locale": "de"},
    "lines": [{"sku": "MUG", "quantity": 2}],
    "shipping_address": {
        "name": "Ada Lee",
        "line1": "Torstrasse 1",
        "line2": None,
        "city": "Berlin",
        "postal_code": "10119",
        "country": "DE",
    },
    "payment": {"method": "card", "gateway": "stripe", "reference": "pi_1"},
}
PAYMENT = {
    "result": "success",
    "kind": "capture",
    "amount": "49.90",
    "currency": "EUR",
    "method": "card",
    "gateway": "stripe",
    "gateway_reference": "ch_1",
}


class Caller:
    """A client with a token; paths are those below /api/v1/."""

    def __init__(self, *scopes: str, **binding: Any) -> None:
        self.client = Client(raise_request_exception=False)
        self.headers = {"Authorization": f"Bearer {tokens.issue('ERP', scopes=scopes, **binding)}"} if scopes else {}

    def get(self, path: str) -> Any:
        return self.client.get(f"/api/v1/{path}", headers=self.headers)

    def post(self, path: str, body: object = None) -> Any:
        return self.client.post(f"/api/v1/{path}", body or {}, "application/json", headers=self.headers)

    def patch(self, path: str, body: object) -> Any:
        return self.client.patch(f"/api/v1/{path}", body, "application/json", headers=self.headers)


@pytest.fixture
def now() -> datetime:
    return timezone.now()


@pytest.fixture
def anybody() -> Caller:
    return Caller()


@pytest.fixture
def erp() -> Caller:
    return Caller("orders", "payments", "fulfilment", "customers")


class TestPlacing:
    def test_anybody_places_an_order_and_its_stock_is_held(self, anybody: Caller) -> None:
        make_product("MUG", on_hand=10)

        answer = anybody.post("orders/", BODY)

        order = answer.json()
        assert answer.status_code == 201
        assert (order["status"], order["total_amount"], order["currency"]) == ("pending", "49.90", "EUR")
        assert (order["channel"], order["customer_email"]) == ("web", "ada@example.com")
        assert order["tracking_page_url"].endswith(f"/track/{order['tracking_token']}/")
        assert [(line["sku"], line["quantity"], line["packed"]) for line in order["lines"]] == [("MUG", 2, 0)]
        assert order["shipping_address"]["line2"] is None
        assert order["order_id"].startswith("ord_")
        assert StockLevel.objects.get().reserved == 2

    def test_takes_19_statements_with_every_event_and_delivery(
        self, anybody: Caller, django_assert_max_num_queries: DjangoAssertNumQueries
    ) -> None:
        """Of two lines and a new customer: four events, each owed to a subscriber."""
        make_product("MUG")
        make_product("CUP")
        make_subscription()
        lines = [{"sku": sku, "quantity": 1} for sku in ("MUG", "CUP")]

        with django_assert_max_num_queries(19):
            answer = anybody.post("orders/", BODY | {"lines": lines})

        assert answer.status_code == 201
        told = list(Delivery.objects.order_by("pk").values_list("event_type", flat=True))
        assert told == ["customer.created", "order.created", "inventory.updated", "inventory.updated"]

    @pytest.mark.parametrize("countries", [["FR"], ["DE"]])
    def test_answers_what_is_read_next_and_keeps_it(
        self, erp: Caller, countries: list[str], django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        """Of an order that a rule holds, too."""
        make_product("MUG")
        HoldRule.objects.create(name="Not at once", test=HoldRule.Test.SHIPS_TO, countries=countries)

        placed = erp.post("orders/", BODY).json()

        path = f"orders/{placed['order_id']}/"
        with django_assert_num_queries(2):  # The token and the version.
            kept = erp.get(path).json()
        cache.clear()
        assert placed == kept == erp.get(path).json()
        assert len(placed["holds"]) == (countries == ["DE"])

    def test_the_history_names_who_placed_it(self, anybody: Caller) -> None:
        make_product("MUG", on_hand=10)

        anybody.post("orders/", BODY)
        Caller("storefront").post("orders/", BODY)

        assert [order.transitions.get().actor for order in Order.objects.order_by("pk")] == ["storefront", "ERP"]

    @pytest.mark.parametrize(
        ("own", "wished", "taken"),
        [("", None, "web"), ("", "erp", "erp"), ("pos", "pos", "pos"), ("pos", None, "pos"), ("pos", "", "pos")],
    )
    def test_carries_the_channel_of_its_token_or_the_body_s(self, own: str, wished: str | None, taken: str) -> None:
        make_product("MUG")

        order = Caller("storefront", channel=own).post("orders/", BODY | {"channel": wished}).json()

        assert order["channel"] == taken

    def test_a_body_may_not_contradict_the_channel_of_the_token(self) -> None:
        make_product("MUG")

        answer = Caller("storefront", channel="pos").post("orders/", BODY | {"channel": "web"})

        [error] = answer.json()["errors"]
        assert (answer.status_code, error["field"], error["code"]) == (400, "channel", "other_channel")
        assert error["detail"] == "This token sells on the channel pos alone."
        assert not Order.objects.exists()

    @pytest.mark.parametrize("channel", [None, "", "web"])
    def test_without_a_token_is_of_the_channel_web(self, anybody: Caller, channel: str | None) -> None:
        make_product("MUG")

        assert anybody.post("orders/", BODY | {"channel": channel}).json()["channel"] == "web"

    @pytest.mark.parametrize("channel", ["erp", "pos", "marketplace"])
    def test_without_a_token_may_not_claim_another(self, anybody: Caller, channel: str) -> None:
        make_product("MUG")

        answer = anybody.post("orders/", BODY | {"channel": channel})

        [error] = answer.json()["errors"]
        assert (answer.status_code, error["field"], error["code"]) == (400, "channel", "other_channel")
        assert error["detail"] == "Who has no token orders on the channel web alone."
        assert not Order.objects.exists()

    @pytest.mark.parametrize("scopes", [(), ("storefront",)])
    def test_is_refused_on_a_channel_that_does_not_exist(self, scopes: tuple[str, ...]) -> None:
        make_product("MUG")

        answer = Caller(*scopes).post("orders/", BODY | {"channel": "app"})

        [error] = answer.json()["errors"]
        assert (answer.status_code, error["field"], error["code"]) == (400, "channel", "invalid_choice")
        assert error["detail"] == "There is no such channel. There are: web, pos, marketplace, erp."
        assert not Order.objects.exists()

    def test_out_of_stock_says_what_is_available_and_keeps_nothing(self, anybody: Caller) -> None:
        make_product("MUG", on_hand=1)

        answer = anybody.post("orders/", BODY)

        assert (answer.status_code, answer.json()["code"]) == (409, "insufficient_stock")
        assert answer.json()["errors"] == [{"sku": "MUG", "requested": 2, "available": 1}]
        assert not Order.objects.exists()
        assert not Customer.objects.exists()


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


class TestConfirmingAndCancelling:
    def test_confirms(self, erp: Caller) -> None:
        order = place_order(method="cod")

        answer = erp.post(f"orders/{order.public_id}/confirm/")

        assert (answer.status_code, answer.json()["status"]) == (200, "confirmed")

    def test_cancels_all_of_it(self, erp: Caller) -> None:
        order = place_order()

        answer = erp.post(f"orders/{order.public_id}/cancel/", {"reason": "fraud"})

        assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
        assert StockLevel.objects.get().reserved == 0
        assert order.transitions.latest("pk").reason == "fraud"

    def test_cancels_some_units(self, erp: Caller) -> None:
        order = place_order()
        lines = [{"line_id": order.items[0].public_id, "quantity": 1}]

        answer = erp.post(f"orders/{order.public_id}/cancel/", {"reason": "damaged", "lines": lines})

        assert (answer.json()["status"], answer.json()["lines"][0]["cancelled"]) == ("pending", 1)
        assert StockLevel.objects.get().reserved == 1

    def test_records_a_payment_that_confirms_the_order_once(self, erp: Caller) -> None:
        order = place_order()

        first, again = (erp.post(f"orders/{order.public_id}/payments/", PAYMENT) for _ in range(2))

        assert (first.status_code, first.json()["payment_id"]) == (201, again.json()["payment_id"])
        assert (first.json()["order_status"], first.json()["payment_status"]) == ("confirmed", "paid")
        assert Payment.objects.count() == 1

    def test_records_a_decline(self, erp: Caller) -> None:
        order = place_order()
        declined = PAYMENT | {"result": "failed", "failure_code": "card_declined"}

        answer = erp.post(f"orders/{order.public_id}/payments/", declined)

        assert (answer.status_code, answer.json()["failure_code"]) == (201, "card_declined")
        assert answer.json()["payment_status"] == "failed"


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


class TestCustomers:
    def test_are_made_read_found_and_changed(self, erp: Caller, told: Callable[[str], list[str]]) -> None:
        made = erp.post("customers/", {"email": "Ada@Example.com", "name": "Ada"})
        customer_id = made.json()["customer_id"]
        changed = erp.patch(f"customers/{customer_id}/", {"phone": "+49301", "accepts_marketing": True})

        assert (made.status_code, made.json()["email"]) == (201, "ada@example.com")
        assert (changed.status_code, changed.json()["phone"], changed.json()["version"]) == (200, "+49301", 2)
        assert erp.get(f"customers/{customer_id}/").json() == changed.json()
        assert erp.get("customers/?email=ADA@example.com").json()["results"] == [changed.json()]
        assert told(customer_id) == ["customer.created", "customer.updated"]

    @pytest.mark.parametrize("verb", ["post", "patch"])
    def test_an_address_is_one_customer_s_alone(self, erp: Caller, verb: str) -> None:
        Customer.objects.create(email="ada@example.com")
        bob = Customer.objects.create(email="bob@example.com")
        body = {"email": "ADA@example.com"}

        answer = erp.post("customers/", body) if verb == "post" else erp.patch(f"customers/{bob.public_id}/", body)

        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "email")
        assert set(Customer.objects.values_list("email", flat=True)) == {"ada@example.com", "bob@example.com"}


class TestScopes:
    CALLS = (
        ("get", "orders/", "orders"),
        ("get", "orders/{order}/", "orders"),
        ("post", "orders/{order}/confirm/", "orders"),
        ("post", "orders/{order}/cancel/", "orders"),
        ("post", "orders/{order}/payments/", "payments"),
        ("get", "fulfilment/orders/", "fulfilment"),
        ("post", "fulfilment/orders/{order}/pack/", "fulfilment"),
        ("post", "fulfilment/shipments/shp_1/ship/", "fulfilment"),
        ("post", "fulfilment/shipments/shp_1/tracking/", "fulfilment"),
        ("post", "fulfilment/shipments/shp_1/deliver/", "fulfilment"),
        ("get", "customers/", "customers"),
        ("post", "customers/", "customers"),
        ("get", "customers/cus_1/", "customers"),
    )

    @pytest.mark.parametrize(("method", "path", "scope"), CALLS)
    def test_a_call_takes_a_token_with_its_scope(self, anybody: Caller, method: str, path: str, scope: str) -> None:
        order = place_order()
        others = [name for name in tokens.SCOPES if name != scope]
        path = path.format(order=order.public_id)

        unknown, unfit = (getattr(caller, method)(path) for caller in (anybody, Caller(*others)))

        assert (unknown.status_code, unfit.status_code) == (401, 403)
        assert scope in unfit.json()["detail"]
        assert Order.objects.get().version == order.version
        assert getattr(Caller(scope), method)(path).status_code not in {401, 403}
