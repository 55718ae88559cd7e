"""Pages that move by themselves: the shopper's, while staff and courier work, and staff's own."""

import re
import time
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import psutil
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import PATIENCE_MS, OpenPage
from tests.browser.shop import Curl, Shop
from tests.browser.test_pages import check
from tests.browser.test_walk_by_hand import ON_DELIVERY, open_order, press, scan, search, tell_how_it_leaves
from tests.inbound.senders import SECRETS, load, post
from tests.receiver import Receiver

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def curl(shop: Shop) -> Curl:
    return Curl(shop, shop.token("Systems", "storefront", "fulfilment", "orders", "events"))


@pytest.fixture
def order(curl: Curl) -> Any:
    return curl.post("orders/", **ON_DELIVERY)


class Courier:
    """One that signs what it tells, as AfterShip does, of a parcel of the number `number`."""

    def __init__(self, shop: Shop) -> None:
        self.number = f"JD{uuid4().hex[:12]}".upper()
        self._address = f"{shop.url}/api/v1/inbound/courier/"

    def tells(self, tag: str) -> None:
        body = load("aftership_tracking_update") | {"event_id": str(uuid4())}
        at = datetime.now(UTC).isoformat()
        scan = {"tag": tag, "subtag": f"{tag}_001", "checkpoint_time": at, "location": "Leipzig", "message": ""}
        body["msg"] |= {"tracking_number": self.number, "checkpoints": [scan], "latest_estimated_delivery": None}
        assert post(self._address, "aftership", body) == 202


@pytest.fixture(scope="module")
def courier(shop: Shop) -> Courier:
    shop.manage("source", "courier", "--scheme", "aftership", "--secret", SECRETS["aftership"])
    return Courier(shop)


# From then on, each headline that the page shows, and when.
NOTE_HEADLINES = """() => {
  window.headlines = [];
  let shown = document.querySelector("h1").textContent;
  new MutationObserver(() => {
    const now = document.querySelector("h1")?.textContent ?? shown;
    if (now !== shown) window.headlines.push([now, Date.now()]);
    shown = now;
  }).observe(document.body, { childList: true, subtree: true });
}"""


def seconds_until_seen(page: Page, curl: Curl, order: Any) -> list[float]:
    """From each thing that has happened to the order to the headline that says so."""
    happened = [event["timestamp"] for event in curl.get(f"events/?subject={order['order_id']}")["results"]]
    seen = page.evaluate("window.headlines")
    latest = happened[-len(seen) :]
    moments = [datetime.fromisoformat(each).timestamp() for each in latest]
    return [at / 1000 - moment for (_, at), moment in zip(seen, moments, strict=True)]


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
    def test_sees_what_staff_and_courier_do_without_going_anywhere_and_misses_nothing_of_a_restart(
        self, browser: Browser, shop: Shop, admin: Page, curl: Curl, courier: Courier, order: Any
    ) -> None:
        confirm(curl, order)
        # Not by `open_page`: Chromium complains of a server that is not there.
        shopper = browser.new_page(base_url=shop.url)
        shopper.set_default_timeout(PATIENCE_MS)
        visited = visit(shopper, order)
        shopper.evaluate(NOTE_HEADLINES)
        expect_headline(shopper, "Your order is confirmed")

        open_order(admin, order["order_number"])
        press(admin, "Mark packed")
        expect_headline(shopper, "Your order is packed and ready to ship")
        admin.get_by_role("link", name="Mark shipped…").click()
        tell_how_it_leaves(admin, carrier="DHL", tracking_number=courier.number)
        expect_headline(shopper, "Your order is on its way")
        expect(shopper.get_by_role("status").first).to_have_text("Your order is on its way")

        courier.tells("OutForDelivery")
        expect_headline(shopper, "Your parcel is out for delivery")
        expect(shopper.locator(".scans li").first).to_contain_text("Leipzig")
        waits = seconds_until_seen(shopper, curl, order)

        # Its own stream would complain.
        admin.goto("about:blank")
        kill_web(shop)
        expect(shopper.locator("#live")).to_have_text("Reconnecting")
        wait_until_back(curl)
        courier.tells("AttemptFail")
        expect_headline(shopper, "The courier missed you")
        expect(shopper.locator("#live")).to_have_text("Live")
        courier.tells("Delivered")
        expect_headline(shopper, "Your order has arrived")

        assert visited == []
        assert [headline for headline, _ in shopper.evaluate("window.headlines")] == [
            "Your order is packed and ready to ship",
            "Your order is on its way",
            "Your parcel is out for delivery",
            "The courier missed you",
            "Your order has arrived",
        ]
        # Of the three, so that a machine with other things to do may be late for one of them.
        assert sorted(waits)[1] < 1.0, waits
        shopper.close()

    def test_misses_nothing_while_the_network_was_away(
        self, browser: Browser, shop: Shop, curl: Curl, order: Any
    ) -> None:
        page = browser.new_page(base_url=shop.url)
        page.set_default_timeout(PATIENCE_MS)
        visited = visit(page, order)
        page.context.set_offline(True)
        expect(page.locator("#live")).to_have_text("Reconnecting")

        confirm(curl, order)
        page.context.set_offline(False)

        expect_headline(page, "Your order is confirmed")
        expect(page.locator("#live")).to_have_text("Live")
        assert visited == []
        page.close()

    def test_is_kept_up_to_date_by_asking_where_no_stream_is_to_be_had(
        self, browser: Browser, shop: Shop, curl: Curl, order: Any
    ) -> None:
        page = browser.new_page(base_url=shop.url)
        page.set_default_timeout(PATIENCE_MS)
        page.route("**/stream", lambda route: route.fulfill(status=503, headers={"Retry-After": "10"}))
        page.goto(f"/track/{order['tracking_token']}/")
        expect(page.locator("#live")).to_have_text("Updated every 10 seconds")

        confirm(curl, order)

        expect_headline(page, "Your order is confirmed")
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
        expect(admin.locator(".order-head .state-line").first).to_contain_text("Pending")
        visited: list[str] = []
        admin.on("framenavigated", lambda frame: visited.append(frame.url))

        confirm(curl, order)

        expect(admin.locator(".order-head .state-line").first).to_contain_text("Confirmed")
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

    def test_are_told_in_the_delivery_log_how_many_are_new(
        self, admin: Page, curl: Curl, order: Any, receiver: Receiver
    ) -> None:
        token = curl.shop.token("Log", "webhooks")
        wish = {"name": "OMS", "url": receiver.url, "event_types": ["order.created"]}
        subscription = Curl(curl.shop, token).post("webhooks/subscriptions/", **wish)
        curl.post("orders/", **ON_DELIVERY)
        receiver.wait_for(1)
        # Of this subscriber only: the shop's others are told of the same orders.
        admin.goto(f"/admin/webhooks/delivery/?subscription={subscription['id']}")
        rows = admin.locator("#result_list tbody tr")
        before = rows.count()
        assert before > 0
        visited: list[str] = []
        admin.on("framenavigated", lambda frame: visited.append(frame.url))

        for _ in range(3):
            curl.post("orders/", **ON_DELIVERY)
        receiver.wait_for(4)

        bar = admin.get_by_role("button", name=re.compile("^3 new"))
        expect(bar).to_be_visible()
        expect(rows).to_have_count(before)
        bar.click()
        expect(rows).to_have_count(before + 3)
        assert visited == []

    def test_are_told_nothing_that_their_search_leaves_out(self, admin: Page, curl: Curl, order: Any) -> None:
        search(admin, "/admin/orders/order/", order["order_number"])
        curl.post("orders/", **ON_DELIVERY)

        confirm(curl, order)

        expect(admin.get_by_role("button", name="1 changed: show")).to_be_visible()
