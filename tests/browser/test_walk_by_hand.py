"""An order on its way to the door: placed by curl, moved on by clicking, scanned by the courier, told at each step."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect
from standardwebhooks.webhooks import Webhook

from tests.browser.shop import Curl, Shop
from tests.receiver import Answer, Receiver

pytestmark = pytest.mark.browser

ORDERS = "/admin/orders/order/"
CART: dict[str, Any] = {
    "customer": {"email": "ada@example.com", "name": "Ada Lindqvist", "phone": "+4915112345678", "locale": "de"},
    "lines": [{"sku": "MUG-BLUE", "quantity": 2}],
    "shipping_address": {
        "name": "Ada Lindqvist",
        "line1": "Oderberger Straße 12",
        "city": "Berlin",
        "postal_code": "10435",
        "country": "DE",
    },
    "payment": {"method": "card", "gateway": "stripe", "reference": "pi_1"},
}
ON_DELIVERY = CART | {"payment": {"method": "cod"}}


@pytest.fixture(scope="module")
def curl(shop: Shop) -> Curl:
    return Curl(shop, shop.token("Storefront", "storefront", "payments", "fulfilment", "webhooks"))


class System:
    """A subscribed one, that verifies all it gets by a library that is not ours."""

    def __init__(self, name: str, receiver: Receiver, curl: Curl) -> None:
        self.name = name
        self.receiver = receiver
        wish = {"name": name, "url": receiver.url, "event_types": ["order.*", "payment.*"]}
        subscription = curl.post("webhooks/subscriptions/", **wish)
        self.webhook = Webhook(subscription["secret"])

    def events(self, count: int) -> list[Any]:
        """All that came, once there are `count`, in the order of their sequence."""
        events = [self.webhook.verify(each.body, each.headers) for each in self.receiver.wait_for(count)]
        return sorted(events, key=lambda event: (event["subject"], event["sequence"]))


@pytest.fixture
def system(receiver: Receiver, curl: Curl) -> System:
    return System(f"System {receiver.port}", receiver, curl)


def place_and_pay(curl: Curl) -> Any:
    order = curl.post("orders/", **CART)
    curl.post(
        f"orders/{order['order_id']}/payments/",
        result="success",
        kind="capture",
        amount=order["total_amount"],
        currency=order["currency"],
        method="card",
        gateway="stripe",
        gateway_reference=f"ch_{order['order_number']}",
    )
    return order


def search(page: Page, path: str, words: str) -> None:
    page.goto(path)
    page.locator("#searchbar").fill(words)
    page.get_by_role("button", name="Search").click()


def open_order(page: Page, number: str) -> None:
    search(page, ORDERS, number)
    page.get_by_role("link", name=number, exact=True).click()


def press(page: Page, label: str) -> None:
    page.locator(".switches").get_by_role("button", name=label).click()


def tell_how_it_leaves(page: Page, *, carrier: str, tracking_number: str, estimate: datetime | None = None) -> None:
    """The page between."""
    page.get_by_label("Carrier").fill(carrier)
    page.get_by_label("Tracking number:").fill(tracking_number)
    if estimate:
        page.get_by_label("Estimated delivery").fill(f"{estimate:%Y-%m-%dT%H:%M}")
    page.get_by_role("button", name="Mark shipped").click()


class TestPaidOrder:
    def test_is_packed_and_shipped_by_clicking_and_told_at_every_step(
        self, admin: Page, curl: Curl, system: System
    ) -> None:
        order = place_and_pay(curl)
        number = order["order_number"]
        estimate = datetime.now(UTC) + timedelta(days=2)
        open_order(admin, number)
        press(admin, "Mark packed")
        admin.get_by_role("link", name="Mark shipped…").click()
        tell_how_it_leaves(admin, carrier="DHL", tracking_number=f"JD{number}", estimate=estimate)
        expect(admin.locator(".messagelist")).to_contain_text("Shipped")
        parcel = system.events(5)[4]["data"]["shipment_id"]
        scan(curl, parcel, "in_transit")
        scan(curl, parcel, "delivered")

        events = system.events(8)

        assert [event["type"] for event in events] == [
            "order.created",
            "payment.success",
            "order.confirmed",
            "order.packed",
            "order.shipped",
            "order.tracking.updated",
            "order.tracking.updated",
            "order.delivered",
        ]
        assert [event["sequence"] for event in events] == list(range(1, 9))
        assert {event["subject"] for event in events} == {order["order_id"]}
        shipped = events[4]["data"]
        assert (shipped["carrier"], shipped["tracking_number"]) == ("DHL", f"JD{number}")
        assert shipped["estimated_delivery_at"][:16] == f"{estimate:%Y-%m-%dT%H:%M}"


def scan(curl: Curl, parcel: str, status: str) -> None:
    """The courier's update."""
    occurred_at = datetime.now(UTC).isoformat()
    curl.post(f"fulfilment/shipments/{parcel}/tracking/", status=status, occurred_at=occurred_at, location="Leipzig")


class TestOrderPaidAtTheDoor:
    def test_is_confirmed_and_moved_on_from_the_list(self, admin: Page, curl: Curl, system: System) -> None:
        number = curl.post("orders/", **ON_DELIVERY)["order_number"]

        take(admin, number, "Confirm")
        take(admin, number, "Mark packed")
        take(admin, number, "Mark shipped…")
        tell_how_it_leaves(
            admin, carrier="UPS", tracking_number=f"1Z{number}", estimate=datetime.now(UTC) + timedelta(days=1)
        )
        take(admin, number, "Mark delivered")

        expect(admin.locator(".messagelist")).to_contain_text("Delivered")
        assert [event["type"] for event in system.events(5)] == [
            "order.created",
            "order.confirmed",
            "order.packed",
            "order.shipped",
            "order.delivered",
        ]

    def test_stays_as_it_is_when_a_step_is_taken_too_early(self, admin: Page, curl: Curl, system: System) -> None:
        number = curl.post("orders/", **ON_DELIVERY)["order_number"]

        take(admin, number, "Mark packed")

        expect(admin.locator(".messagelist .error")).to_contain_text(number)
        expect(admin.locator("#result_list")).to_contain_text("Pending")
        assert [event["type"] for event in system.events(1)] == ["order.created"]


def take(page: Page, number: str, action: str) -> None:
    """An action of the list, on one order."""
    search(page, ORDERS, number)
    page.get_by_role("checkbox", name="Select this object").check()
    page.get_by_label("Action:").select_option(action)
    page.get_by_role("button", name="Go").click()


class TestOrderPage:
    def test_shows_who_did_what_and_who_has_been_told(self, admin: Page, curl: Curl, system: System) -> None:
        number = place_and_pay(curl)["order_number"]
        open_order(admin, number)
        press(admin, "Mark packed")
        system.events(4)

        told = region(admin, "Who has been told").get_by_role("row").filter(has_text=system.name)
        expect_in_time(admin, told.filter(has_text="Delivered"), 4)

        expect(told.filter(has_text="order.packed")).to_contain_text("200")
        expect(region(admin, "Timeline")).to_contain_text(re.compile(r"Packed.*admin.*Confirmed.*Placed", re.DOTALL))


class TestDeliveryLog:
    def test_finds_an_order_by_its_number(self, admin: Page, curl: Curl, system: System) -> None:
        number = place_and_pay(curl)["order_number"]
        place_and_pay(curl)
        system.events(6)

        search(admin, "/admin/webhooks/delivery/", number)

        rows = admin.locator("#result_list tbody tr")
        expect(rows.filter(has_text=system.name)).to_have_count(3)
        expect(rows.filter(has_not_text=number)).to_have_count(0)

    def test_shows_what_was_sent_and_answered_and_sends_it_again(self, admin: Page, curl: Curl, system: System) -> None:
        system.receiver.answers = [Answer(body=b"thank you")]
        number = curl.post("orders/", **CART)["order_number"]
        [first] = system.receiver.wait_for(1)
        search(admin, "/admin/webhooks/delivery/", number)
        row = admin.locator("#result_list tbody tr").filter(has_text=system.name)
        expect_in_time(admin, row.filter(has_text="Delivered"), 1)
        row.get_by_role("link", name="order.created").click()
        expect(region(admin, "Attempts")).to_contain_text("thank you")
        expect(region(admin, "Attempts")).to_contain_text(first.headers["webhook-id"])

        admin.get_by_role("button", name="Resend").click()

        _, again = system.receiver.wait_for(2)
        assert again.headers["webhook-id"] == first.headers["webhook-id"]
        assert again.body == first.body
        assert again.headers["webhook-redelivery"]
        expect(admin.locator(".messagelist")).to_contain_text("same id")
        expect_in_time(admin, region(admin, "Attempts").locator("details.attempt"), 2)


def region(page: Page, name: str) -> Locator:
    """A part of a page, by its heading."""
    return page.locator("section.card").filter(has=page.get_by_role("heading", name=name, exact=True))


def expect_in_time(page: Page, rows: Locator, count: int) -> None:
    """The receiver may have answered an instant before that is written down."""
    for _ in range(20):
        if rows.count() == count:
            return
        page.wait_for_timeout(100)
        page.reload()
    expect(rows).to_have_count(count)
