"""Pages that move by themselves: the shopper's, while staff and courier work, and staff's own."""

import re
import time
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import PATIENCE_MS, OpenPage
from tests.browser.shop import Curl, Shop
from tests.browser.test_pages import check
from tests.browser.test_walk_by_hand import ON_DELIVERY, open_order, press, scan, search

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def curl(shop: Shop) -> Curl:
    return Curl(shop, shop.token("Courier", "storefront", "fulfilment", "orders"))


@pytest.fixture
def order(curl: Curl) -> Any:
    return curl.post("orders/", **ON_DELIVERY)


def confirm(curl: Curl, order: Any) -> None:
    curl.post(f"orders/{order['order_id']}/confirm/")


def ship(curl: Curl, order: Any) -> str:
    """The id of the parcel that is on its way."""
    confirm(curl, order)
    [parcel] = curl.post(f"fulfilment/orders/{order['order_id']}/pack/")["shipments"]
    parcel_id = str(parcel["shipment_id"])
    curl.post(f"fulfilment/shipments/{parcel_id}/ship/", carrier="DHL", tracking_number=f"JD{order['order_number']}")
    return parcel_id


def visit(page: Page, order: Any) -> list[str]:
    """Open the shopper's page, live; the addresses the window goes to from then on."""
    page.goto(f"/track/{order['tracking_token']}/")
    expect(page.locator("#live")).to_have_text("Live")
    visited: list[str] = []
    page.on("framenavigated", lambda frame: visited.append(frame.url))
    return visited


def expect_headline(page: Page, words: str) -> None:
    expect(page.get_by_role("heading", level=1)).to_have_text(words)


def kill_web(shop: Shop) -> None:
    """`manage.py up` starts it again."""
    port = str(urlsplit(shop.url).port)
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"] or []
        if "commerce.web" in command and port in command:
            process.kill()
            return
    pytest.fail("There is no web server.")


def wait_until_back(curl: Curl) -> None:
    ends = time.monotonic() + PATIENCE_MS / 1000
    while True:
        try:
            curl.get("orders/?page_size=1")
        except AssertionError:
            assert time.monotonic() < ends, "The web server does not come back."
        else:
            return


class TestShopper:
    def test_sees_the_order_packed_shipped_and_scanned_without_going_anywhere(
        self, open_page: OpenPage, shop: Shop, admin: Page, curl: Curl, order: Any
    ) -> None:
        confirm(curl, order)
        shopper = open_page(shop)
        visited = visit(shopper, order)
        expect_headline(shopper, "Your order is confirmed")

        open_order(admin, order["order_number"])
        press(admin, "Mark packed")
        expect_headline(shopper, "Your order is packed and ready to ship")

        admin.get_by_role("link", name="Mark shipped…").click()
        admin.get_by_label("Carrier").fill("DHL")
        admin.get_by_label("Tracking number:").fill("JD-LIVE")
        admin.get_by_role("button", name="Mark shipped").click()
        expect_headline(shopper, "Your order is on its way")
        expect(shopper.get_by_role("status").first).to_have_text("Your order is on its way")

        [parcel] = curl.get(f"orders/{order['order_id']}/")["shipments"]
        scan(curl, parcel["shipment_id"], "out_for_delivery")
        expect_headline(shopper, "Your parcel is out for delivery")
        expect(shopper.locator(".scans li").first).to_contain_text("Leipzig")
        assert visited == []

    def test_misses_nothing_when_the_server_goes_away_between_two_updates(
        self, browser: Browser, shop: Shop, curl: Curl, order: Any
    ) -> None:
        parcel = ship(curl, order)
        # Not by `open_page`: Chromium complains of a server that is not there.
        page = browser.new_page(base_url=shop.url)
        page.set_default_timeout(PATIENCE_MS)
        visited = visit(page, order)
        scan(curl, parcel, "in_transit")
        expect(page.locator(".badge")).to_have_text("In transit")

        kill_web(shop)
        expect(page.locator("#live")).to_have_text("Reconnecting")
        wait_until_back(curl)
        scan(curl, parcel, "out_for_delivery")

        expect_headline(page, "Your parcel is out for delivery")
        expect(page.locator("#live")).to_have_text("Live")
        assert visited == []
        page.close()

    def test_cancels_by_two_clicks_without_javascript(self, open_page: OpenPage, shop: Shop, order: Any) -> None:
        page = open_page(shop, java_script_enabled=False)
        page.goto(f"/track/{order['tracking_token']}/")
        expect(page.get_by_role("link", name="Look for news")).to_be_visible()

        page.get_by_role("link", name="Cancel the order…").click()
        page.get_by_role("button", name="Yes, cancel it").click()

        expect_headline(page, "Your order was cancelled")

    def test_of_any_kind_can_use_each_page(self, open_page: OpenPage, shop: Shop, curl: Curl, order: Any) -> None:
        page = open_page(shop)
        page.goto(f"/track/{order['tracking_token']}/cancel/")
        check(page)
        scan(curl, ship(curl, order), "attempt_failed")

        page.goto(f"/track/{order['tracking_token']}/")

        check(page)


class TestStaff:
    def test_see_the_order_page_move_by_itself(self, admin: Page, curl: Curl, order: Any) -> None:
        open_order(admin, order["order_number"])
        expect(admin.locator(".state-line")).to_contain_text("Pending")
        visited: list[str] = []
        admin.on("framenavigated", lambda frame: visited.append(frame.url))

        confirm(curl, order)

        expect(admin.locator(".state-line")).to_contain_text("Confirmed")
        press(admin, "Mark packed")
        expect(admin.locator(".messagelist")).to_contain_text("Packed")
        assert len(visited) == 1

    def test_are_told_in_the_list_what_is_new_and_see_it_when_they_ask(
        self, admin: Page, curl: Curl, order: Any
    ) -> None:
        admin.goto("/admin/orders/order/")
        rows = admin.locator("#result_list tbody tr")
        expect(rows.first).to_contain_text(order["order_number"])

        newer = curl.post("orders/", **ON_DELIVERY)["order_number"]

        bar = admin.get_by_role("button", name=re.compile("^1 new"))
        expect(bar).to_be_visible()
        expect(rows.filter(has_text=newer)).to_have_count(0)
        bar.click()
        expect(rows.first).to_contain_text(newer)
        expect(bar).to_have_count(0)

    def test_are_told_nothing_that_their_search_leaves_out(self, admin: Page, curl: Curl, order: Any) -> None:
        search(admin, "/admin/orders/order/", order["order_number"])
        curl.post("orders/", **ON_DELIVERY)

        confirm(curl, order)

        expect(admin.get_by_role("button", name="1 changed: show")).to_be_visible()
