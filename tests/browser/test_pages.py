"""Every page of the admin that is ours, empty and lived in: fit for everybody's eyes, hands and screens."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from axe_playwright_python.base import AXE_SCRIPT, AxeResults
from playwright.sync_api import Browser, Page

from commerce.demo_store import PASSWORD
from tests.browser.conftest import OpenPage, Window, judge, log_in
from tests.browser.shop import Curl, Shop, running_shop
from tests.inbound.senders import SECRETS, load, post
from tests.receiver import Answer, running_receiver

pytestmark = [pytest.mark.browser, pytest.mark.once]

# Without a preload: axe would read the style sheets in a way that the policy forbids, for a rule that is off.
RULES = {"resultTypes": ["violations"], "preload": False}
WCAG_2_2_AA = RULES | {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
# What a theme can change.
COLOURS = RULES | {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}}
DESKTOP: Any = {"width": 1280, "height": 720}
TELEPHONE: Any = {"width": 400, "height": 800}
LONG = "Hubertus-Blaine-Wolfeschlegelsteinhausenbergerdorff"

Reach = Callable[[Page], object]


def at(path: str, *clicks: str) -> Reach:
    """From an address on by clicking."""

    def reach(page: Page) -> None:
        page.goto(path)
        for selector in clicks:
            page.locator(selector).first.click()

    return reach


def acting(path: str, action: str) -> Reach:
    """What an action of a list asks about its first row."""

    def reach(page: Page) -> None:
        page.goto(path)
        page.locator(".action-select").first.check()
        page.get_by_label("Action:").select_option(action)
        page.get_by_role("button", name="Go").click()

    return reach


LISTS = {
    "customers": at("/admin/orders/customer/"),
    "deliveries": at("/admin/webhooks/delivery/"),
    "events": at("/admin/webhooks/event/"),
    "hold rules": at("/admin/orders/holdrule/"),
    "inbound messages": at("/admin/commerce/inboundmessage/"),
    "inbound sources": at("/admin/commerce/inboundsource/"),
    "orders": at("/admin/orders/order/"),
    "products": at("/admin/inventory/product/"),
    "refunds": at("/admin/orders/refund/"),
    "returns": at("/admin/orders/return/"),
    "shipments": at("/admin/orders/shipment/"),
    "stock levels": at("/admin/inventory/stocklevel/"),
    "stock movements": at("/admin/inventory/stockmovement/"),
    "subscriptions": at("/admin/webhooks/subscription/"),
    "tokens": at("/admin/commerce/apitoken/"),
    "warehouses": at("/admin/inventory/warehouse/"),
}
FORMS = {
    "front page": at("/admin/"),
    "new customer": at("/admin/orders/customer/add/"),
    "new hold rule": at("/admin/orders/holdrule/add/"),
    "new hold rule, refused": at("/admin/orders/holdrule/add/", "input[name=_save]"),
    "new product": at("/admin/inventory/product/add/"),
    "new source": at("/admin/commerce/inboundsource/add/"),
    "new source, refused": at("/admin/commerce/inboundsource/add/", "input[name=_save]"),
    "new stock level": at("/admin/inventory/stocklevel/add/"),
    "new token": at("/admin/commerce/apitoken/add/"),
    "new warehouse": at("/admin/inventory/warehouse/add/"),
    "set-up, step 1": at("/admin/webhooks/subscription/add/"),
    "set-up, step 1, refused": at("/admin/webhooks/subscription/add/", "text=Continue"),
}
ROW = ".row-title"
FIRST = "#result_list tbody th a"
LIVED_IN = {
    "customer": at("/admin/orders/customer/", ROW),
    "delivery": at("/admin/webhooks/delivery/?state=delivered", ROW),
    "delivery that fails": at("/admin/webhooks/delivery/?state=failing", ROW),
    "event": at("/admin/webhooks/event/", ROW),
    "front page": at("/admin/"),
    "inbound message": at("/admin/commerce/inboundmessage/?state=processed", ROW),
    "inbound message, parked": at("/admin/commerce/inboundmessage/?state=parked", ROW),
    "inbound source": at("/admin/commerce/inboundsource/?scheme__exact=standard", ROW, "text=The messages it may send"),
    "nothing found": at("/admin/webhooks/delivery/?q=nothing"),
    "no order found": at("/admin/orders/order/?q=nothing"),
    "order, pending": at("/admin/orders/order/?status__exact=pending", ROW),
    "order, packed": at("/admin/orders/order/?status__exact=packed", ROW),
    "order, delivered": at("/admin/orders/order/?status__exact=delivered", ROW),
    "order, cancelled": at("/admin/orders/order/?status__exact=cancelled", ROW),
    "order, on hold": at("/admin/orders/order/?hold=any", ROW),
    "orders to ship": at("/admin/orders/order/?next=ship"),
    "how parcels leave": at("/admin/orders/order/?next=ship", ROW, "text=Mark shipped…"),
    "how parcels leave, refused": at(
        "/admin/orders/order/?next=ship", ROW, "text=Mark shipped…", "input[value='Mark shipped']"
    ),
    "why it is cancelled": at("/admin/orders/order/?status__exact=pending", ROW, "text=Cancel…"),
    "some units, given up": at("/admin/orders/order/cancel/units/?order=1"),
    "what the courier says": at("/admin/orders/shipment/scan/?parcel=1"),
    "why it is held": at("/admin/orders/order/?status__exact=pending", ROW, "text=Put on hold…"),
    "why it is held, refused": at(
        "/admin/orders/order/?status__exact=pending", ROW, "text=Put on hold…", "input[value^=Put]"
    ),
    "product": at("/admin/inventory/product/", FIRST),
    "cash": at(
        "/admin/orders/order/?payment_status__exact=cod_pending&status__exact=delivered",
        ROW,
        "text=Record cash collected…",
    ),
    "order, returned in part": at("/admin/orders/return/", "td.field-order_link a"),
    "refund": at("/admin/orders/refund/", ROW),
    "refund, asked for": at("/admin/orders/return/", "td.field-order_link a", "text=Refund…"),
    "refund, asked for and refused": at(
        "/admin/orders/return/", "td.field-order_link a", "text=Refund…", "input[value='Request refund']"
    ),
    "refund, what came of it": at("/admin/orders/refund/?state__exact=requested", ROW, "text=Tell what"),
    "return": at("/admin/orders/return/", ROW),
    "return, opened": at("/admin/orders/return/", "td.field-order_link a", "text=Open return…"),
    "return, opened and refused": at(
        "/admin/orders/return/", "td.field-order_link a", "text=Open return…", "input[value='Open return']"
    ),
    "return, received": at("/admin/orders/return/?state__exact=initiated", ROW, "text=Receive…"),
    "resend?": acting("/admin/webhooks/delivery/", "resend_selected"),
    "shipment": at("/admin/orders/shipment/?state__exact=delivered", ROW),
    "stock level": at("/admin/inventory/stocklevel/", ROW),
    "stock to adjust": acting("/admin/inventory/stocklevel/", "adjust"),
    "subscription": at("/admin/webhooks/subscription/?state__exact=active", ROW),
    "subscription, history": at("/admin/webhooks/subscription/?state__exact=active", ROW, "text=History"),
    "subscription, its receiver checked": at(
        "/admin/webhooks/subscription/?state__exact=active", ROW, "text=Check receiver"
    ),
    "token": at("/admin/commerce/apitoken/", FIRST),
    "warehouse": at("/admin/inventory/warehouse/", FIRST),
}


@pytest.fixture(scope="module")
def empty_shop(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """Nothing but its administrator."""
    with running_shop(tmp_path_factory.mktemp("empty"), "--web-only") as shop:
        shop.create_administrator("admin", PASSWORD)
        yield shop


@pytest.fixture(scope="module")
def empty_session(browser: Browser, empty_shop: Shop) -> Any:
    return log_in(browser, empty_shop)


@pytest.fixture(scope="module")
def window(browser: Browser, shop: Shop, session: Any) -> Iterator[Window]:
    """One for all pages: to open it costs more than to look at a page in it."""
    window = Window.open(browser, shop, storage_state=session)
    yield window
    window.close()


@pytest.fixture
def admin(window: Window, request: pytest.FixtureRequest) -> Iterator[Page]:
    yield from fresh(window, request.node)


@pytest.fixture(scope="module")
def empty_window(browser: Browser, empty_shop: Shop, empty_session: Any) -> Iterator[Window]:
    window = Window.open(browser, empty_shop, storage_state=empty_session)
    yield window
    window.close()


@pytest.fixture
def empty_admin(empty_window: Window, request: pytest.FixtureRequest) -> Iterator[Page]:
    yield from fresh(empty_window, request.node)


def fresh(window: Window, test: pytest.Item) -> Iterator[Page]:
    """The page of a window that shows no trace of the test before."""
    window.complaints.clear()
    window.page.set_viewport_size(DESKTOP)
    window.page.emulate_media(color_scheme="light")
    yield window.page
    judge([window], test)


@pytest.fixture(scope="module")
def lived_in(shop: Shop) -> Iterator[None]:
    """Orders in every state, long names, and two systems that are told: one that hears, one that fails."""
    curl = Curl(shop, shop.token("Life", "storefront", "payments", "fulfilment", "orders", "webhooks"))
    with running_receiver() as hearing, running_receiver() as failing:
        failing.script = lambda _: Answer(500, b"<h1>Internal Server Error</h1>")
        subscribe(curl, "Warehouse system", hearing.url, "order.*")
        subscribe(curl, "Old newsletter", failing.url, "payment.*", "customer.*", "order.delivered")
        place(curl, "card", ("VASE-MINI", 1))
        pay(curl, place(curl, "card", ("VASE-MINI", 1)), result="failed", failure_code="card_declined")
        pay(curl, place(curl, "card", ("MUG-SAND", 1)))
        held = f"orders/{place(curl, 'cod', ('TEA-SENCHA', 1))['order_id']}/hold/"
        curl.post(held, kind="address", reason=LONG)
        curl.post(held, kind="fraud", reason="Three cards in five minutes.")
        pack(curl, place(curl, "cod", ("MUG-SAND", 1), ("LAMP-PAPER", 1)))
        deliver(curl, place(curl, "cod", ("TEA-SENCHA", 2)))
        send_back(curl, place(curl, "cod", ("TEA-SENCHA", 3)))
        curl.post(f"orders/{place(curl, 'cod', ('TEA-SENCHA', 1))['order_id']}/cancel/", reason="Ordered twice.")
        tell(shop, load("standard_tracking_updated"), {"type": "tracking.updated", "data": {"status": LONG}})
        hearing.wait_for(15)
        failing.wait_for(1)
        yield


def tell(shop: Shop, *bodies: dict[str, Any]) -> None:
    """What a courier says, taken in by the shop."""
    shop.manage("source", "carrier", "--scheme", "standard", "--secret", SECRETS["standard"])
    for n, body in enumerate(bodies):
        post(f"{shop.url}/api/v1/inbound/carrier/", "standard", body, message_id=f"msg_{n}")


def subscribe(curl: Curl, name: str, url: str, *event_types: str) -> None:
    curl.post(
        "webhooks/subscriptions/", name=name, url=f"{url}/{'x' * 60}", event_types=event_types, headers={"X-Store": "1"}
    )


def place(curl: Curl, method: str, *lines: tuple[str, int]) -> Any:
    return curl.post(
        "orders/",
        customer={"email": f"{LONG}@example.com".lower(), "name": LONG, "phone": "+4915112345678"},
        lines=[{"sku": sku, "quantity": quantity} for sku, quantity in lines],
        shipping_address={
            "name": LONG,
            "line1": f"{LONG}straße 1",
            "line2": "c/o Lee",
            "city": "Berlin",
            "postal_code": "10119",
            "country": "DE",
        },
        payment={"method": method, "gateway": "stripe"},
    )


def pay(curl: Curl, order: Any, **differing: str) -> None:
    attempt = {
        "result": "success",
        "kind": "capture",
        "amount": order["total_amount"],
        "currency": order["currency"],
        "method": "card",
        "gateway": "stripe",
        "gateway_reference": f"ch_{order['order_number']}",
    }
    curl.post(f"orders/{order['order_id']}/payments/", **(attempt | differing))


def pack(curl: Curl, order: Any) -> list[str]:
    """The ids of its parcels."""
    curl.post(f"orders/{order['order_id']}/confirm/")
    packed = curl.post(f"fulfilment/orders/{order['order_id']}/pack/")
    return [parcel["shipment_id"] for parcel in packed["shipments"]]


def deliver(curl: Curl, order: Any) -> None:
    for parcel in pack(curl, order):
        path = f"fulfilment/shipments/{parcel}"
        estimate = (datetime.now(UTC) + timedelta(days=2)).isoformat()
        curl.post(
            f"{path}/ship/",
            carrier="DHL",
            tracking_number="00340434161094042557",
            tracking_url="https://example.com/track",
            estimated_delivery_at=estimate,
        )
        for status in ("in_transit", "attempt_failed", "delivered"):
            occurred_at = datetime.now(UTC).isoformat()
            curl.post(f"{path}/tracking/", status=status, occurred_at=occurred_at, message="Nobody was at home.")


def send_back(curl: Curl, order: Any) -> None:
    """Delivered and paid; one unit came back damaged and is refunded, another is awaited, and its refund too."""
    deliver(curl, order)
    pay(curl, order, kind="cod_collection", method="cod", gateway="cash")
    path, (line,) = f"orders/{order['order_id']}", order["lines"]
    units = {"line_id": line["line_id"], "quantity": 1}
    first, _ = (
        curl.post(f"{path}/returns/", reason=f"Spilt by {LONG}", lines=[units | {"reason": "Torn bag"}]) for _ in "ab"
    )
    curl.post(f"returns/{first['return_id']}/receive/", lines=[units | {"condition": "damaged"}])
    wish = {"amount": line["unit_amount"], "currency": order["currency"], "reason": "Spilt"}
    refund = curl.post(f"{path}/refunds/", **wish, return_id=first["return_id"])
    curl.post(f"refunds/{refund['refund_id']}/result/", result="success", gateway_reference="bank-17")
    curl.post(f"{path}/refunds/", **wish)


def check(page: Page) -> None:
    """By the rules of WCAG 2.2 AA, in both themes; and nothing is wider than the window, or a telephone."""
    page.wait_for_load_state()
    assert overflow(page) == 0
    page.evaluate(AXE_SCRIPT)
    examine(page, WCAG_2_2_AA)
    page.emulate_media(color_scheme="dark")
    page.evaluate("Promise.all(document.getAnimations().map(animation => animation.finished))")
    examine(page, COLOURS)
    page.set_viewport_size(TELEPHONE)
    assert overflow(page) == 0


def examine(page: Page, rules: dict[str, Any]) -> None:
    found = AxeResults(page.evaluate("rules => axe.run(rules)", rules))
    assert found.violations_count == 0, found.generate_report()


def overflow(page: Page) -> Any:
    """By how many pixels the page is wider than its window."""
    return page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


class TestPages:
    @pytest.mark.parametrize("reach", [pytest.param(reach, id=name) for name, reach in (LISTS | FORMS).items()])
    def test_empty_ones_are_fit_for_everybody(self, empty_admin: Page, reach: Reach) -> None:
        reach(empty_admin)

        check(empty_admin)

    @pytest.mark.usefixtures("lived_in")
    @pytest.mark.parametrize("reach", [pytest.param(reach, id=name) for name, reach in (LISTS | LIVED_IN).items()])
    def test_full_ones_are_fit_for_everybody(self, admin: Page, reach: Reach) -> None:
        reach(admin)

        check(admin)

    @pytest.mark.usefixtures("lived_in")
    @pytest.mark.parametrize("name", ["products", "stock levels", "stock movements", "warehouses"])
    def test_lists_of_stock_show_all_their_columns_at_once(self, admin: Page, name: str) -> None:
        LISTS[name](admin)

        assert admin.locator("#changelist .results").evaluate("table => table.scrollWidth - table.clientWidth") == 0

    @pytest.mark.usefixtures("lived_in")
    def test_each_step_of_the_set_up_is_fit_for_everybody(self, admin: Page) -> None:
        admin.goto("/admin/webhooks/subscription/add/")
        admin.get_by_label("Name").fill("ERP")
        admin.get_by_label("Callback URL").fill("http://127.0.0.1:9/webhooks")
        admin.get_by_text("Continue").click()
        check(admin)
        admin.locator("input[value='*']").check()
        admin.get_by_text("Continue").click()
        admin.get_by_label("Bearer token").check()
        check(admin)
        admin.get_by_label("Token", exact=True).fill("opensesame")
        admin.get_by_text("Continue").click()
        check(admin)
        admin.get_by_text("Save").last.click()
        check(admin)
        admin.get_by_text("Send test event").click()
        check(admin)

    def test_the_door_is_fit_for_everybody(self, open_page: OpenPage, shop: Shop) -> None:
        page = open_page(shop)
        page.goto("/admin/")
        check(page)
        page.get_by_label("Username").fill("admin")
        page.get_by_label("Password").fill("wrong")

        page.get_by_role("button", name="Log in").click()

        check(page)
