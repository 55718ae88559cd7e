"""The demo shop: what is ordered by clicking is an order, once; what cannot be sold is refused in words."""

from typing import Any
from uuid import uuid4

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.conftest import PATIENCE_MS, OpenPage
from tests.browser.shop import Curl, Shop
from tests.browser.test_pages import check
from tests.browser.test_walk_by_hand import ON_DELIVERY

pytestmark = [pytest.mark.browser, pytest.mark.once]


@pytest.fixture(scope="module")
def curl(shop: Shop) -> Curl:
    return Curl(shop, shop.token("Catalogue", "catalogue", "inventory", "orders", "events"))


@pytest.fixture
def sku(curl: Curl) -> str:
    """Of a product, Cup …, of which three are there."""
    sku = f"CUP-{uuid4().hex[:8]}".upper()
    curl.post("products/", sku=sku, name=f"Cup {sku}", price_amount="12.50", currency="EUR")
    curl.post("inventory/adjustments/", sku=sku, warehouse="BER", delta=3, reason="received")
    return sku


def card(page: Page, sku: str) -> Locator:
    return page.locator(f"#goods [data-sku={sku}]")


def available(curl: Curl, sku: str) -> Any:
    return curl.get(f"products/{sku}/")["available"]


class TestDemoShop:
    def test_places_one_order_for_a_double_click_and_shows_its_page(
        self, open_page: OpenPage, shop: Shop, curl: Curl, sku: str
    ) -> None:
        page = open_page(shop)
        page.goto("/shop/")
        card(page, sku).get_by_role("button").click()
        page.reload()
        expect(page.locator("#total")).to_have_text("€12.50")

        page.get_by_role("button", name="Place the order").dblclick()

        page.wait_for_url("**/track/*/")
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        assert available(curl, sku) == 2
        page.goto("/shop/")
        expect(card(page, sku)).to_contain_text("Only 2 left")
        expect(page.locator("#empty")).to_be_visible()
        expect(page.locator("#orders a")).to_have_count(1)

    def test_shows_what_others_buy_and_refuses_in_words_what_they_left_too_little_of(
        self, browser: Browser, shop: Shop, curl: Curl, sku: str
    ) -> None:
        # Not by `open_page`: Chromium complains of every answer that is a refusal.
        page = browser.new_page(base_url=shop.url)
        page.set_default_timeout(PATIENCE_MS)
        page.goto("/shop/")
        for _ in range(2):
            card(page, sku).get_by_role("button").click()
        curl.post("orders/", **ON_DELIVERY | {"lines": [{"sku": sku, "quantity": 2}]})
        expect(card(page, sku)).to_contain_text("Only 1 left")

        page.get_by_role("button", name="Place the order").click()

        refusal = page.locator("#problem")
        expect(refusal).to_contain_text(f"Cup {sku} ({sku}): you asked for 2, 1 is left.")
        expect(refusal).to_be_focused()
        assert available(curl, sku) == 1
        refusal.get_by_role("button", name="Take what there is").click()
        page.get_by_role("button", name="Place the order").click()
        page.wait_for_url("**/track/*/")
        page.goto("/shop/")
        expect(card(page, sku).get_by_role("button", name="Sold out")).to_be_disabled()
        page.close()

    def test_is_paid_by_a_card_that_is_declined_at_first(
        self, open_page: OpenPage, shop: Shop, curl: Curl, sku: str
    ) -> None:
        page = open_page(shop)
        page.goto("/shop/")
        card(page, sku).get_by_role("button").click()
        page.get_by_label("Card", exact=True).check()
        page.get_by_role("button", name="Place the order").click()
        expect(page.get_by_role("heading", name="Test gateway")).to_be_focused()
        number = page.locator("#pay-number").inner_text()
        check(page)

        page.get_by_role("button", name="Decline the card").click()
        expect(page.locator("#pay-said")).to_contain_text("Declined")
        page.reload()
        page.get_by_role("button", name="Pay €12.50").click()

        page.wait_for_url("**/track/*/")
        expect(page.get_by_role("heading", level=1)).to_have_text("Your order is confirmed")
        [order] = [each for each in curl.get("orders/?page_size=50")["results"] if each["order_number"] == number]
        assert (order["payment_status"], order["paid_amount"]) == ("paid", "12.50")
        assert [event["type"] for event in curl.get(f"events/?subject={order['order_id']}")["results"]] == [
            "order.created",
            "payment.failed",
            "payment.success",
            "order.confirmed",
        ]
        page.goto("/shop/")
        expect(page.locator("#cart")).to_be_visible()
        expect(page.locator("#pay")).to_be_hidden()

    def test_is_fit_for_everybody(self, open_page: OpenPage, shop: Shop, sku: str) -> None:
        page = open_page(shop)
        page.goto("/shop/")
        card(page, sku).get_by_role("button").click()

        check(page)
