"""Connecting a system in four steps: from an empty form to the first verified delivery."""

import re
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect
from standardwebhooks.webhooks import Webhook

from tests.browser.conftest import OpenPage
from tests.browser.shop import Shop
from tests.receiver import Answer, Received, Receiver

pytestmark = [pytest.mark.browser, pytest.mark.once]

SUBSCRIPTIONS = "/admin/webhooks/subscription/"
STEPS = ("Callback URL", "Events", "Authentication headers", "Save")


def begin(page: Page) -> None:
    """As everybody does: from the list."""
    page.goto(SUBSCRIPTIONS)
    page.get_by_role("link", name=re.compile("^Connect")).first.click()


def give_address(page: Page, *, name: str, url: str) -> None:
    page.get_by_label("Name").fill(name)
    page.get_by_label("Callback URL").fill(url)
    go_on(page)


def choose(page: Page, *event_types: str) -> None:
    for event_type in event_types:
        choice(page, event_type).check()
    go_on(page)


def choice(page: Page, event_type: str) -> Locator:
    return page.locator(f'input[name="event_types"][value="{event_type}"]')


def connect(page: Page, *, name: str, url: str) -> None:
    """All four steps, for a system that needs no headers."""
    begin(page)
    give_address(page, name=name, url=url)
    choose(page, "*")
    go_on(page)
    save(page)


def go_on(page: Page) -> None:
    page.get_by_role("button", name="Continue").click()


def save(page: Page) -> None:
    page.get_by_role("button", name="Save").click()


def send_test_event(page: Page) -> None:
    page.get_by_role("button", name="Send test event").click()


def expect_step(page: Page, number: int) -> None:
    expect(page.locator("[aria-current=step]")).to_have_text(STEPS[number - 1])


def shown_secret(page: Page) -> str:
    return page.get_by_label("Signing secret").input_value()


def verify(received: Received, *, secret: str) -> Any:
    """The event, if a library that is not ours finds the signature right; else it raises."""
    return Webhook(secret).verify(received.body, received.headers)


@pytest.fixture(params=[True, False], ids=["with JavaScript", "without JavaScript"])
def window(request: pytest.FixtureRequest, open_page: OpenPage, shop: Shop, session: Any) -> Page:
    return open_page(shop, storage_state=session, java_script_enabled=request.param)


class TestFourSteps:
    def test_lead_from_nothing_to_the_first_verified_delivery(self, window: Page, receiver: Receiver) -> None:
        receiver.answers = [Answer(202, b'{"stored": true}')]
        begin(window)
        give_address(window, name="Warehouse", url=receiver.url)
        choose(window, "order.*", "inventory.updated")
        window.get_by_label("Bearer token").check()
        window.get_by_label("Token", exact=True).fill("opensesame")
        go_on(window)
        save(window)

        send_test_event(window)

        expect(window.get_by_role("status")).to_contain_text("It answered 202")
        expect(window.get_by_role("status")).to_contain_text('{"stored": true}')
        [received] = receiver.received
        assert received.headers["authorization"] == "Bearer opensesame"
        assert verify(received, secret=shown_secret(window))["type"] == "webhook.test"

    def test_hold_for_an_expert_conditions_latest_wins_and_a_key_pair(self, window: Page, receiver: Receiver) -> None:
        begin(window)
        give_address(window, name="Tills", url=receiver.url)
        choice(window, "order.*").check()
        expect(window.get_by_label("Field of condition 1")).to_be_hidden()
        window.get_by_text("Conditions and latest wins").click()
        window.get_by_label("Field of condition 1").fill("chanel")
        window.get_by_label("Comparison of condition 1").select_option("is one of")
        window.get_by_label("Value of condition 1").fill("pos, web")
        window.get_by_role("checkbox", name="Latest wins").check()
        go_on(window)
        expect(window.locator(".errorlist")).to_contain_text("none of the chosen events has a field 'chanel'")
        window.get_by_label("Field of condition 1").fill("channel")
        go_on(window)
        go_on(window)
        expect(window.locator(".summary")).to_contain_text('channel is one of "pos", "web"')

        window.get_by_text("How it is signed").click()
        window.get_by_label("Key pair (Ed25519, v1a)").check()
        save(window)
        send_test_event(window)

        expect(window.get_by_role("status")).to_contain_text("It answered 200")
        expect(window.get_by_role("textbox", name="Public key")).to_have_value(re.compile("^whpk_"))
        [received] = receiver.received
        assert received.headers["webhook-signature"].startswith("v1a,")

    def test_are_completed_by_the_keyboard_alone(self, admin: Page, receiver: Receiver) -> None:
        begin(admin)
        expect_step(admin, 1)
        reach(admin, admin.get_by_label("Name"))
        admin.keyboard.type("Keys")
        admin.keyboard.press("Tab")
        admin.keyboard.type(receiver.url)
        admin.keyboard.press("Enter")
        expect_step(admin, 2)
        reach(admin, choice(admin, "*"))
        admin.keyboard.press("Space")
        admin.keyboard.press("Enter")
        expect_step(admin, 3)
        reach(admin, admin.get_by_role("button", name="Continue"))
        admin.keyboard.press("Enter")
        expect_step(admin, 4)
        reach(admin, admin.get_by_role("button", name="Save"))
        admin.keyboard.press("Enter")
        expect(admin.get_by_label("Signing secret")).to_be_visible()
        reach(admin, admin.get_by_role("button", name="Send test event"))
        admin.keyboard.press("Enter")

        expect(admin.get_by_role("status")).to_contain_text("It answered 200")
        [received] = receiver.received
        assert verify(received, secret=shown_secret(admin))["type"] == "webhook.test"

    def test_say_in_words_why_an_address_cannot_be_used(self, admin: Page) -> None:
        begin(admin)

        give_address(admin, name="Far away", url="https://no-such-host.invalid/webhooks")

        expect(admin.get_by_role("alert")).to_be_visible()
        expect(admin.locator(".errorlist")).to_contain_text("no-such-host.invalid")
        expect(admin.get_by_label("Callback URL")).to_have_value("https://no-such-host.invalid/webhooks")
        expect_step(admin, 1)

    def test_ask_for_at_least_one_event(self, admin: Page, receiver: Receiver) -> None:
        begin(admin)
        give_address(admin, name="Choosy", url=receiver.url)

        go_on(admin)

        expect(admin.locator(".errorlist")).to_have_text("Choose at least one event.")
        expect_step(admin, 2)

    def test_never_show_a_header_s_value_again(self, admin: Page, receiver: Receiver) -> None:
        begin(admin)
        give_address(admin, name="Discreet", url=receiver.url)
        choose(admin, "*")
        admin.get_by_label("API key", exact=True).first.check()
        admin.get_by_label("API key", exact=True).last.fill("opensesame")

        go_on(admin)

        expect(admin.locator(".summary")).to_contain_text("X-API-Key")
        assert "opensesame" not in admin.content()
        admin.get_by_role("link", name="Back", exact=True).click()
        assert "opensesame" not in admin.content()

    def test_keep_what_was_typed_when_going_back(self, admin: Page, receiver: Receiver) -> None:
        begin(admin)
        give_address(admin, name="There and back", url=receiver.url)
        choose(admin, "order.shipped")

        admin.get_by_role("link", name="Back", exact=True).click()
        expect(choice(admin, "order.shipped")).to_be_checked()
        admin.get_by_role("link", name="Back", exact=True).click()

        expect(admin.get_by_label("Name")).to_have_value("There and back")
        expect(admin.get_by_label("Callback URL")).to_have_value(receiver.url)

    def test_follow_the_browser_s_own_back_and_reload(self, admin: Page, receiver: Receiver) -> None:
        begin(admin)
        give_address(admin, name="Reloaded", url=receiver.url)
        choose(admin, "order.shipped")
        expect_step(admin, 3)
        admin.wait_for_load_state()

        admin.reload()
        expect_step(admin, 3)
        admin.go_back()

        expect_step(admin, 2)
        go_on(admin)
        expect_step(admin, 3)

    def test_keep_a_draft_of_its_own_for_each_tab(
        self, admin: Page, open_page: OpenPage, shop: Shop, session: Any, receiver: Receiver
    ) -> None:
        other = open_page(shop, storage_state=session)
        begin(admin)
        begin(other)
        give_address(admin, name="Left", url=f"{receiver.url}/left")
        give_address(other, name="Right", url=f"{receiver.url}/right")
        choose(other, "payment.*")
        choose(admin, "order.*")
        for page in (admin, other):
            go_on(page)
            save(page)

        send_test_event(admin)
        send_test_event(other)

        expect(other.get_by_role("status")).to_contain_text("It answered 200")
        left, right = receiver.received
        assert (left.path, right.path) == ("/webhooks/left", "/webhooks/right")
        assert verify(left, secret=shown_secret(admin))["type"] == "webhook.test"
        assert verify(right, secret=shown_secret(other))["type"] == "webhook.test"


def reach(page: Page, target: Locator) -> None:
    """By Tab, and over the navigation where a page begins with it. Fails the test if the target is out of reach."""
    page.wait_for_load_state()
    for _ in range(20):
        page.keyboard.press("Tab")
        if has_focus(page.get_by_role("link", name="Skip to main content")):
            page.keyboard.press("Enter")
        if has_focus(target):
            return
    raise AssertionError(f"{target} is not reached by Tab")


def has_focus(element: Locator) -> bool:
    return bool(element.evaluate("element => element === document.activeElement"))


class TestConnectedPage:
    def test_copies_the_very_secret_that_signs(self, admin: Page, receiver: Receiver) -> None:
        admin.context.grant_permissions(["clipboard-read", "clipboard-write"])
        connect(admin, name="Copied", url=receiver.url)

        admin.get_by_role("button", name="Copy").first.click()
        admin.get_by_role("button", name="Copied").wait_for()

        secret = admin.evaluate("navigator.clipboard.readText()")
        send_test_event(admin)
        [received] = receiver.wait_for(1)
        assert verify(received, secret=secret)["type"] == "webhook.test"

    def test_shows_a_refusal_in_place_and_what_to_do_about_it(self, admin: Page, receiver: Receiver) -> None:
        receiver.answers = [Answer(401, b"who are you?")]
        connect(admin, name="Locked", url=receiver.url)

        send_test_event(admin)

        answer = admin.get_by_role("status")
        expect(answer).to_contain_text("401")
        expect(answer).to_contain_text("check the authentication headers")
        expect(answer).to_contain_text("who are you?")
