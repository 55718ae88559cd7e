"""Mistyped and forged forms of the admin: each answered in words, nobody let past, and nothing half-written."""

from html import unescape
from typing import Any, NamedTuple

import pytest
from django.contrib.auth.models import User
from django.test import Client

from tests.journeys.shop import Shop, every_row

pytestmark = pytest.mark.django_db

LONG, NUL, KEY_OF_NOTHING = "x" * 5_000, "a\0b", "999999"
ADDRESS = {"name": "ERP", "url": "http://127.0.0.1:9/"}
PRODUCT = {"sku": "CUP", "name": "Cup", "price": "5.00", "currency": "EUR"}
ADJUST = {"action": "adjust", "apply": "1", "_selected_action": "$level_key", "reason": "received"}
SHIP = {"parcel": "$packed", "$packed-carrier": "DHL", "$packed-tracking_number": "JD02"}
WAREHOUSE = {"code": "MUC", "name": "Munich", "country": "DE", "priority": 1, "handling_days": 1, "cutoff": "14:00"}
CUSTOMER = {"email": "ann@example.com", "name": "Ann", "locale": "en"}
SETTINGS = ADDRESS | {"event_types": "order.*", "ordering": "best_effort", "max_in_flight": 8}
NULS_REFUSED = "Null characters are not allowed."


class Form(NamedTuple):
    """What `path` below /admin/ is sent, and some of the words of the page that comes of it."""

    path: str
    data: dict[str, Any]
    words: str
    status: int = 200

    def __str__(self) -> str:
        return f"{self.path} {self.words}"


FORMS = [
    # Connecting a system
    Form("webhooks/subscription/add/$draft/1/", {}, "This field is required."),
    Form("webhooks/subscription/add/$draft/1/", ADDRESS | {"url": "ftp://127.0.0.1/"}, "begins with https://"),
    Form("webhooks/subscription/add/$draft/1/", ADDRESS | {"url": "http://169.254.169.254/"}, "not a public address"),
    Form("webhooks/subscription/add/$draft/1/", ADDRESS | {"url": "http://a:b@127.0.0.1/"}, "credentials in a header"),
    Form("webhooks/subscription/add/$draft/1/", ADDRESS | {"url": "http://127.0.0.1:99999/"}, "cannot be read"),
    Form("webhooks/subscription/add/$draft/1/", ADDRESS | {"url": f"http://127.0.0.1/{LONG}"}, "at most 2000"),
    Form("webhooks/subscription/add/$draft/1/", ADDRESS | {"name": LONG}, "at most 100 characters"),
    Form("webhooks/subscription/add/$draft/1/", ADDRESS | {"name": NUL}, NULS_REFUSED),
    Form("webhooks/subscription/add/$ready/2/", {}, "Choose at least one event."),
    Form("webhooks/subscription/add/$ready/2/", {"event_types": "order.lost"}, "There is no event called order.lost."),
    Form("webhooks/subscription/add/$ready/2/", {"event_types": NUL}, "There is no event called"),
    *(
        Form("webhooks/subscription/add/$ready/3/", {"headers-name": name, "headers-value": value}, words)
        for name, value, words in (
            ("Webhook-Signature", "v1,forged", "is set by the engine"),
            ("X Y", "1", "is not a header name"),
            ("X-Key", "a\r\nX-Other: b", "one line of plain ASCII"),
            ("X-Key", "Schlüssel", "one line of plain ASCII"),
            ("X-Key", LONG, "one line of plain ASCII"),
            ("", "secret", "without a name"),
            ("X-Key", "", "Enter a value for X-Key."),
        )
    ),
    Form("webhooks/subscription/add/$ready/3/", {"headers-scheme": "bearer"}, "Enter the token."),
    Form("webhooks/subscription/add/$ready/3/", {"headers-scheme": "magic"}, "Choose one of the schemes."),
    # A step too far leads back to the first that lacks something.
    Form("webhooks/subscription/add/$draft/4/", {}, "Callback URL"),
    Form("webhooks/subscription/add/$draft/9/", ADDRESS, "Callback URL"),
    Form("webhooks/subscription/add/sub_forged/1/", ADDRESS, "", 404),
    Form("webhooks/subscription/$subscription_key/change/", SETTINGS | {"retry_schedule": "soon"}, "whole seconds"),
    Form("webhooks/subscription/$subscription_key/change/", SETTINGS | {"max_in_flight": "0"}, "greater than or equal"),
    Form("webhooks/subscription/$subscription_key/change/", SETTINGS | {"ordering": "random"}, "valid choice"),
    Form("webhooks/subscription/$subscription_key/resume/", {}, "is active, not paused or disabled."),
    Form(f"webhooks/subscription/{KEY_OF_NOTHING}/pause/", {}, "", 404),
    Form("webhooks/delivery/$delivery_key/change/", {"state": "delivered"}, "order.created to OMS"),
    Form("webhooks/delivery/$delivery_key/delete/", {"post": "yes"}, "", 403),
    # Moving orders on
    Form("orders/order/ship/?order=$packed_key", SHIP | {"$packed-carrier": ""}, "This field is required."),
    Form("orders/order/ship/?order=$packed_key", SHIP | {"$packed-carrier": LONG}, "at most 60 characters"),
    Form("orders/order/ship/?order=$packed_key", SHIP | {"$packed-carrier": NUL}, NULS_REFUSED),
    Form("orders/order/ship/?order=$packed_key", SHIP | {"$packed-tracking_number": ""}, "Give the tracking number"),
    Form("orders/order/ship/?order=$packed_key", SHIP | {"$packed-is_untracked": "on"}, "is it tracked or not?"),
    Form("orders/order/ship/?order=$packed_key", SHIP | {"$packed-tracking_url": "javascript:x"}, "valid URL"),
    Form("orders/order/ship/?order=$packed_key", SHIP | {"$packed-estimated_delivery_at": "soon"}, "valid date/time"),
    Form("orders/order/ship/?order=$packed_key", SHIP | {"$packed-estimated_delivery_at": "2020-01-01"}, "has passed"),
    Form(
        "orders/order/ship/?order=$packed_key", SHIP | {"$packed-estimated_delivery_at": "2062-01-01"}, "a year ahead"
    ),
    Form(
        "orders/order/ship/?order=$packed_key",
        SHIP | {"$packed-estimated_delivery_at": "9999-12-31T23:59"},
        "a year ahead",
    ),
    Form("orders/order/ship/?order=$packed_key", {"parcel": "$shipped"}, "no parcel of it waits to be shipped"),
    Form("orders/order/ship/?order=$pending_key", SHIP, "no parcel of it waits to be shipped"),
    Form("orders/order/ship/?order=$packed", SHIP, "", 404),
    Form(f"orders/order/ship/?order={'9' * 40}", SHIP, "", 404),
    Form("orders/order/ship/", SHIP, "", 404),
    Form("orders/order/cancel/?order=$pending_key", {"reason": ""}, "This field is required."),
    Form("orders/order/cancel/?order=$pending_key", {"reason": LONG}, "at most 500 characters"),
    Form("orders/order/cancel/?order=$pending_key", {"reason": NUL}, NULS_REFUSED),
    Form("orders/order/cancel/?order=$shipped_key", {"reason": "too late"}, "is shipped"),
    Form("orders/order/hold/?order=$confirmed_key", {"kind": "fraud", "reason": ""}, "This field is required."),
    Form("orders/order/hold/?order=$confirmed_key", {"kind": "fraud", "reason": NUL}, NULS_REFUSED),
    Form("orders/order/hold/?order=$confirmed_key", {"kind": "vip", "reason": "x"}, "Select a valid choice"),
    Form("orders/order/pack/units/?order=$confirmed_key", {"$line-quantity": "-1"}, "greater than or equal"),
    Form("orders/order/pack/units/?order=$confirmed_key", {"$line-quantity": "two"}, "whole number"),
    Form("orders/order/pack/units/?order=$confirmed_key", {"package_count": "0"}, "greater than or equal"),
    Form("orders/order/cancel/units/?order=$confirmed_key", {"$line-quantity": "1"}, "This field is required."),
    Form("orders/order/pack/units/?order=forged", {}, "", 404),
    Form("orders/shipment/scan/?parcel=forged", {}, "", 404),
    Form("orders/order/$pending_key/pack/", {}, "is pending"),
    Form("orders/order/$pending_key/confirm/", {}, "can be confirmed once it is paid"),
    Form("orders/order/$confirmed_key/deliver/", {}, "no parcel of it is on its way"),
    Form(f"orders/order/{KEY_OF_NOTHING}/pack/", {}, "", 404),
    Form("orders/order/", {"action": "mark_packed", "_selected_action": "$pending_key"}, "is pending"),
    Form("orders/order/", {"action": "mark_packed", "index": 0}, "Items must be selected"),
    Form("orders/order/", {"action": "delete_selected", "_selected_action": "$pending_key"}, "No action selected."),
    Form("orders/order/", {"action": "mark_packed", "_selected_action": "forged"}, "", 400),
    Form("orders/order/", {"action": "mark_packed", "_selected_action": "9" * 40}, "", 400),
    Form("inventory/stocklevel/", ADJUST | {"_selected_action": "1; DROP TABLE orders"}, "", 400),
    Form("webhooks/delivery/", {"action": "resend", "_selected_action": "9" * 40}, "", 400),
    Form("auth/user/", {"action": "delete_selected", "_selected_action": "owner"}, "", 400),
    # A state is never edited.
    Form("orders/order/$pending_key/change/", {"status": "delivered", "payment_status": "paid"}, "Order"),
    Form("orders/order/add/", {"status": "delivered"}, "", 403),
    Form("orders/order/$pending_key/delete/", {"post": "yes"}, "", 403),
    # Products, stock, customers, tokens
    Form("inventory/product/add/", PRODUCT | {"price": "five"}, "not an amount"),
    Form("inventory/product/add/", PRODUCT | {"price": "5.001"}, "more digits than EUR has"),
    Form("inventory/product/add/", PRODUCT | {"price": "-5.00"}, "not an amount"),
    Form("inventory/product/add/", PRODUCT | {"sku": "MUG"}, "already exists"),
    Form("inventory/product/add/", PRODUCT | {"sku": "../CUP"}, "Letters, digits"),
    Form("inventory/product/add/", PRODUCT | {"name": NUL}, NULS_REFUSED),
    Form("inventory/product/add/", PRODUCT | {"currency": "QQQ"}, "currency"),
    Form("inventory/product/add/", PRODUCT | {"weight_grams": "-1"}, "greater than or equal"),
    Form("inventory/product/$product_key/delete/", {"post": "yes"}, "", 403),
    Form("inventory/warehouse/add/", WAREHOUSE | {"country": "Germany"}, "at most 2 characters"),
    Form("inventory/warehouse/add/", WAREHOUSE | {"code": "BER"}, "already exists"),
    Form("inventory/warehouse/add/", WAREHOUSE | {"cutoff": "25:00"}, "valid time"),
    Form("inventory/warehouse/add/", WAREHOUSE | {"ships_to": "Germany"}, "two capital letters"),
    Form("inventory/stocklevel/", ADJUST | {"$delta": "many"}, "whole number"),
    Form("inventory/stocklevel/", ADJUST | {"$delta": "9" * 40}, "less than or equal"),
    Form("inventory/stocklevel/", ADJUST | {"$delta": ""}, "at least one"),
    Form("inventory/stocklevel/", ADJUST | {"$delta": "-51"}, "Not enough stock"),
    Form("inventory/stocklevel/", ADJUST | {"$delta": "1", "reason": "stolen"}, "valid choice"),
    Form("inventory/stocklevel/", ADJUST | {"$delta": "1", "reference": NUL}, NULS_REFUSED),
    Form("inventory/stocklevel/$level_key/change/", {"safety_stock": "-1"}, "greater than or equal"),
    Form("inventory/stocklevel/$level_key/change/", {"safety_stock": "", "on_hand": "999"}, "This field is required."),
    Form("inventory/stockmovement/add/", {"on_hand_delta": "5"}, "", 403),
    Form("orders/customer/add/", CUSTOMER, "already exists"),
    Form("orders/customer/add/", CUSTOMER | {"email": "ANN@example.com"}, "already exists"),
    Form("orders/customer/add/", CUSTOMER | {"email": "ann"}, "valid email address"),
    Form("orders/customer/add/", CUSTOMER | {"email": "bo@example.com", "name": LONG}, "at most 200 characters"),
    Form("commerce/apitoken/add/", {"name": "ERP"}, "This field is required."),
    Form("commerce/apitoken/add/", {"name": "ERP", "scopes": "everything"}, "valid choice"),
    Form("commerce/apitoken/add/", {"name": "ERP", "scopes": "orders", "warehouse": "NOPE"}, "valid choice"),
    Form("commerce/apitoken/add/", {"name": NUL, "scopes": "orders"}, NULS_REFUSED),
]
LOGINS = [
    ({"username": "owner", "password": "guess"}, "enter the correct username and password"),
    ({"username": "", "password": ""}, "This field is required."),
    ({"username": NUL, "password": "x"}, NULS_REFUSED),
    ({"username": LONG, "password": LONG}, "enter the correct username and password"),
    ({"username": "owner' OR '1'='1", "password": "x"}, "enter the correct username and password"),
]
QUERIES = ["q=%00", "%00=1", f"q={LONG}", "p=junk", "o=junk", "warehouse=%00", "status=lost", f"older_than={'9' * 40}"]
# What only the right people may do, and only from a page of ours.
POWERS = [
    ("orders/order/$packed_key/confirm/", {}),
    ("orders/order/$confirmed_key/pack/", {}),
    ("orders/order/$shipped_key/deliver/", {}),
    ("orders/order/ship/?order=$packed_key", SHIP),
    ("orders/order/cancel/?order=$pending_key", {"reason": "x"}),
    ("orders/order/hold/?order=$pending_key", {"kind": "fraud", "reason": "x"}),
    ("orders/order/$pending_key/release/", {}),
    ("orders/order/", {"action": "mark_packed", "_selected_action": "$confirmed_key"}),
    ("inventory/stocklevel/", ADJUST | {"$delta": "1"}),
    ("inventory/product/add/", PRODUCT),
    ("orders/customer/$customer_key/change/", CUSTOMER | {"name": "Eve"}),
    ("commerce/apitoken/add/", {"name": "ERP", "scopes": "orders"}),
    ("webhooks/subscription/add/$draft/1/", ADDRESS),
    ("webhooks/subscription/$subscription_key/disable/", {}),
    ("webhooks/subscription/$subscription_key/rotate-secret/", {}),
    ("webhooks/subscription/$subscription_key/delete/", {"post": "yes"}),
    ("webhooks/delivery/", {"action": "resend", "_selected_action": "$delivery_key"}),
]


def submit(shop: Shop, client: Client, path: str, data: dict[str, Any], *, follow: bool = False) -> Any:
    fields = {shop.fill(name): shop.fill(str(value)) for name, value in data.items()}
    return client.post(f"/admin/{shop.fill(path)}", fields, follow=follow)


def browser(username: str = "", *, enforce_csrf_checks: bool = False) -> Client:
    client = Client(raise_request_exception=False, enforce_csrf_checks=enforce_csrf_checks)
    if username:
        client.force_login(User.objects.get(username=username))
    return client


class TestForms:
    @pytest.mark.parametrize("form", FORMS, ids=str)
    def test_that_make_no_sense_are_answered_in_words(self, shop: Shop, form: Form) -> None:
        client = browser("owner")
        before = every_row()

        page = submit(shop, client, form.path, form.data, follow=True)

        assert page.status_code == form.status
        assert form.words in unescape(page.content.decode())
        assert every_row() == before

    @pytest.mark.parametrize(("data", "words"), LOGINS)
    def test_of_the_login_let_nobody_in(self, shop: Shop, data: dict[str, str], words: str) -> None:
        client = browser()
        before = every_row()

        page = submit(shop, client, "login/", data)

        assert page.status_code == 200
        assert words in unescape(page.content.decode())
        assert "sessionid" not in client.cookies
        assert every_row() == before


class TestAddresses:
    @pytest.mark.parametrize("query", QUERIES, ids=lambda query: query[:20])
    @pytest.mark.parametrize("page", ["orders/order/", "orders/shipment/", "inventory/product/", "webhooks/delivery/"])
    def test_that_make_no_sense_break_no_list(self, shop: Shop, page: str, query: str) -> None:
        answer = browser("owner").get(f"/admin/{page}?{query}", follow=True)

        assert answer.status_code in ({400} if "%00" in query else {200, 400})

    @pytest.mark.parametrize("page", ["orders/order/%00/change/", "commerce/apitoken/%00/change/", "%00/"])
    def test_that_hold_a_nul_are_refused(self, shop: Shop, page: str) -> None:
        assert browser("owner").get(f"/admin/{page}").status_code == 400


@pytest.mark.parametrize(("path", "data"), POWERS)
class TestForgedForms:
    def test_of_strangers_lead_to_the_login(self, shop: Shop, path: str, data: dict[str, str]) -> None:
        before = every_row()

        answer = submit(shop, browser(), path, data)

        assert answer.status_code == 302
        assert answer["Location"].startswith("/admin/login/?next=")
        assert every_row() == before

    def test_of_staff_without_the_permission_are_refused(self, shop: Shop, path: str, data: dict[str, str]) -> None:
        client = browser("clerk")
        before = every_row()

        answer = submit(shop, client, path, data)

        assert answer.status_code == 403
        assert every_row() == before

    def test_from_a_page_of_somebody_else_are_refused(self, shop: Shop, path: str, data: dict[str, str]) -> None:
        client = browser("owner", enforce_csrf_checks=True)
        before = every_row()

        answer = submit(shop, client, path, data)

        assert answer.status_code == 403
        assert every_row() == before

    def test_are_not_links(self, shop: Shop, path: str, data: dict[str, str]) -> None:
        client = browser("owner")
        before = every_row()

        answer = client.get(f"/admin/{shop.fill(path)}", {shop.fill(name): value for name, value in data.items()})

        assert answer.status_code < 500
        assert every_row() == before
