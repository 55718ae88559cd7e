"""The real product in a real browser: Debian's Chromium, driven by Playwright.

Whatever the browser complains of on its console, a breach of the content security policy among it, fails the test.
Without a Chromium these tests are left out, and the summary says so; with REQUIRE_BROWSER=1 they fail instead.
"""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pytest
from django.conf import settings
from playwright.sync_api import Browser, Page, expect, sync_playwright

from commerce.demo_store import PASSWORD
from tests.browser.shop import Shop, running_shop
from tests.receiver import Receiver, running_receiver

CHROMIUM = shutil.which("chromium")
LEFT_OUT = "There is no Chromium: every test in a browser was left out. Install it, or run with REQUIRE_BROWSER=1."
QUIETLY = ("gpu", "quic", "background-networking", "component-update", "sync")
SCREENSHOTS: Path = settings.VAR_DIR / "screenshots"
PATIENCE_MS = 15_000
expect.set_options(timeout=PATIENCE_MS)

OpenPage = Callable[..., Page]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if CHROMIUM is None:
        terminalreporter.write_line(LEFT_OUT, yellow=True, bold=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    report = yield
    if report.when == "call":
        item.stash[_FAILED] = report.failed
    return report


_FAILED = pytest.StashKey[bool]()


# Per package, not per session: while Playwright runs, Django refuses every other test its database.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.fail("There is no Chromium.") if os.environ.get("REQUIRE_BROWSER") == "1" else pytest.skip(LEFT_OUT)
    switches = ["--no-sandbox", "--no-first-run", *(f"--disable-{feature}" for feature in QUIETLY)]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=switches)
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def shop(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """With the demo store, web server and queue cluster."""
    with running_shop(tmp_path_factory.mktemp("shop")) as shop:
        shop.manage("seed")
        yield shop


@pytest.fixture(scope="package")
def session(browser: Browser, shop: Shop) -> Any:
    """The cookies of `admin`, logged in to the shop."""
    return log_in(browser, shop)


def log_in(browser: Browser, shop: Shop) -> Any:
    page = browser.new_page(base_url=shop.url)
    page.goto("/admin/")
    page.get_by_label("Username").fill("admin")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("button", name="Log out").wait_for()
    cookies = page.context.storage_state()
    page.close()
    return cookies


@dataclass(frozen=True)
class Window:
    """Of a browser: a page, and what its console has complained of."""

    page: Page
    complaints: list[str] = field(default_factory=list)

    @classmethod
    def open(cls, browser: Browser, shop: Shop, **options: Any) -> Self:
        context = browser.new_context(base_url=shop.url, **options)
        context.set_default_timeout(PATIENCE_MS)
        window = cls(context.new_page())
        context.on("console", lambda said: window.complaints.append(said.text) if said.type == "error" else None)
        context.on("weberror", lambda error: window.complaints.append(str(error.error)))
        return window

    def close(self) -> None:
        self.page.context.close()


def judge(windows: list[Window], test: pytest.Item) -> None:
    """When a test is over: what a window complained of fails it, and its windows are to be seen if it failed."""
    complaints = [complaint for window in windows for complaint in window.complaints]
    if test.stash.get(_FAILED, True) or complaints:
        take_pictures(test.name, [window.page for window in windows])
    assert complaints == []


@pytest.fixture
def open_page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[OpenPage]:
    """Opens a page of a shop in a browser window of its own."""
    windows: list[Window] = []

    def open_page(shop: Shop, **options: Any) -> Page:
        windows.append(Window.open(browser, shop, **options))
        return windows[-1].page

    yield open_page
    try:
        judge(windows, request.node)
    finally:
        for window in windows:
            window.close()


def take_pictures(test: str, pages: list[Page]) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    for number, page in enumerate(pages, 1):
        page.screenshot(path=SCREENSHOTS / f"{re.sub('[^a-z0-9]+', '-', test.lower())}-{number}.png", full_page=True)


@pytest.fixture
def admin(open_page: OpenPage, shop: Shop, session: Any) -> Page:
    """A window of the admin, logged in."""
    return open_page(shop, storage_state=session)


@pytest.fixture
def receiver(browser: Browser) -> Iterator[Receiver]:
    with running_receiver() as running:
        yield running
