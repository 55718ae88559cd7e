"""Orders placed by the REST API."""

import pytest
from django.core.cache import cache
from pytest_django import DjangoAssertNumQueries

from inventory.models import StockLevel
from orders.models import Customer, HoldRule, Order
from tests.bodies import FULL_CART
from tests.caller import Caller
from tests.factories import make_product
from tests.webhooks.factories import make_subscription
from webhooks.models import Delivery

pytestmark = pytest.mark.django_db


class TestPlacing:
    def test_anybody_places_an_order_and_its_stock_is_held(self, anybody: Caller) -> None:
        make_product("MUG", on_hand=10)

        answer = anybody.post("orders/", FULL_CART)

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
            answer = anybody.post("orders/", FULL_CART | {"lines": lines})

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

        placed = erp.post("orders/", FULL_CART).json()

        path = f"orders/{placed['order_id']}/"
        with django_assert_num_queries(2):  # The token and the version.
            kept = erp.get(path).json()
        cache.clear()
        assert placed == kept == erp.get(path).json()
        assert len(placed["holds"]) == (countries == ["DE"])

    def test_the_history_names_who_placed_it(self, anybody: Caller) -> None:
        make_product("MUG", on_hand=10)

        anybody.post("orders/", FULL_CART)
        Caller("storefront").post("orders/", FULL_CART)

        assert [order.transitions.get().actor for order in Order.objects.order_by("pk")] == ["storefront", "ERP"]

    @pytest.mark.parametrize(
        ("own", "wished", "taken"),
        [("", None, "web"), ("", "erp", "erp"), ("pos", "pos", "pos"), ("pos", None, "pos"), ("pos", "", "pos")],
    )
    def test_carries_the_channel_of_its_token_or_the_body_s(self, own: str, wished: str | None, taken: str) -> None:
        make_product("MUG")

        order = Caller("storefront", channel=own).post("orders/", FULL_CART | {"channel": wished}).json()

        assert order["channel"] == taken

    def test_a_body_may_not_contradict_the_channel_of_the_token(self) -> None:
        make_product("MUG")

        answer = Caller("storefront", channel="pos").post("orders/", FULL_CART | {"channel": "web"})

        [error] = answer.json()["errors"]
        assert (answer.status_code, error["field"], error["code"]) == (400, "channel", "other_channel")
        assert error["detail"] == "This token sells on the channel pos alone."
        assert not Order.objects.exists()

    @pytest.mark.parametrize("channel", [None, "", "web"])
    def test_without_a_token_is_of_the_channel_web(self, anybody: Caller, channel: str | None) -> None:
        make_product("MUG")

        assert anybody.post("orders/", FULL_CART | {"channel": channel}).json()["channel"] == "web"

    @pytest.mark.parametrize("channel", ["erp", "pos", "marketplace"])
    def test_without_a_token_may_not_claim_another(self, anybody: Caller, channel: str) -> None:
        make_product("MUG")

        answer = anybody.post("orders/", FULL_CART | {"channel": channel})

        [error] = answer.json()["errors"]
        assert (answer.status_code, error["field"], error["code"]) == (400, "channel", "other_channel")
        assert error["detail"] == "Who has no token orders on the channel web alone."
        assert not Order.objects.exists()

    @pytest.mark.parametrize("scopes", [(), ("storefront",)])
    def test_is_refused_on_a_channel_that_does_not_exist(self, scopes: tuple[str, ...]) -> None:
        make_product("MUG")

        answer = Caller(*scopes).post("orders/", FULL_CART | {"channel": "app"})

        [error] = answer.json()["errors"]
        assert (answer.status_code, error["field"], error["code"]) == (400, "channel", "invalid_choice")
        assert error["detail"] == "There is no such channel. There are: web, pos, marketplace, erp."
        assert not Order.objects.exists()

    def test_out_of_stock_says_what_is_available_and_keeps_nothing(self, anybody: Caller) -> None:
        make_product("MUG", on_hand=1)

        answer = anybody.post("orders/", FULL_CART)

        assert (answer.status_code, answer.json()["code"]) == (409, "insufficient_stock")
        assert answer.json()["errors"] == [{"sku": "MUG", "requested": 2, "available": 1}]
        assert not Order.objects.exists()
        assert not Customer.objects.exists()
