"""Connecting a courier by clicking, and the parcels that move by themselves from then on."""

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.shop import Curl, Shop
from tests.browser.test_walk_by_hand import ON_DELIVERY
from tests.inbound.senders import SECRETS, load, post

pytestmark = [pytest.mark.browser, pytest.mark.once]


@pytest.fixture(scope="module")
def curl(shop: Shop) -> Curl:
    return Curl(shop, shop.token("Warehouse", "storefront", "orders", "fulfilment"))


def ship(curl: Curl, tracking_number: str) -> str:
    """The number of an order whose one parcel is on its way."""
    order = curl.post("orders/", **ON_DELIVERY)
    curl.post(f"orders/{order['order_id']}/confirm/")
    [parcel] = curl.post(f"fulfilment/orders/{order['order_id']}/pack/")["shipments"]
    curl.post(f"fulfilment/shipments/{parcel['shipment_id']}/ship/", carrier="DHL", tracking_number=tracking_number)
    return str(order["order_number"])


class TestCourier:
    def test_is_connected_by_clicking_and_its_message_moves_the_parcel(self, admin: Page, curl: Curl) -> None:
        admin.goto("/admin/commerce/inboundsource/add/")
        admin.get_by_label("AfterShip").check()
        admin.get_by_label("Name:").fill("aftership")
        admin.get_by_label("Signing secret:").fill(SECRETS["aftership"])
        admin.get_by_role("button", name="Save", exact=True).click()
        expect(admin.get_by_text("Send test webhook")).to_be_visible()
        address = admin.get_by_label("Its address").input_value()
        number = ship(curl, "BROWSER-1")

        body = load("aftership_tracking_update")
        body["msg"]["tracking_number"] = "BROWSER-1"
        assert post(f"{curl.shop.url}{address[address.index('/api/') :]}", "aftership", body) == 202

        done = admin.get_by_role("row").filter(has_text="Arrived at hub").filter(has_text=number)
        _reload_until(admin, "/admin/commerce/inboundmessage/", done)
        done.get_by_role("link", name=number, exact=True).click()
        expect(admin.locator("#content")).to_contain_text("Leipzig")


def _reload_until(page: Page, path: str, wanted: Locator) -> None:
    """The queue takes a moment, and the list does not move by itself."""
    for _ in range(60):
        page.goto(path)
        if wanted.count():
            return
        page.wait_for_timeout(250)
    pytest.fail("The message was not processed.")
