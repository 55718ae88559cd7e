"""The admin's front page."""

import html
import re
from datetime import datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from commerce import tasks
from commerce.models import Alarm
from tests import factories
from tests.webhooks.admin.conftest import log_in_with
from tests.webhooks.factories import make_subscription
from webhooks import subscriptions
from webhooks.models import Subscription, Tally

pytestmark = pytest.mark.django_db

MINUTE = timedelta(minutes=1)


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("ann"))
    return client


def front_page(client: Client) -> str:
    """As text."""
    page = client.get("/admin/").content.decode()
    return " ".join(html.unescape(re.sub("<[^>]+>", " ", page)).split())


def tally(subscription: Subscription, at: datetime, count: int, *, reason: str = "", latency: int = 0) -> None:
    Tally.objects.create(subscription=subscription, at=at, reason=reason, latency=latency, count=count, milliseconds=0)


class TestFirstSteps:
    def test_are_named_while_there_is_nothing(self, staff: Client) -> None:
        shown = front_page(staff)

        assert [step in shown for step in ("Add a product", "Connect a system", "Place a test order")] == [True] * 3
        assert "Success rate" not in shown

    def test_are_gone_when_all_are_done(self, staff: Client) -> None:
        make_subscription()
        factories.place_order()

        assert "What to do next" not in front_page(staff)


class TestOrders:
    def test_are_counted_by_what_they_wait_for_and_the_list_shows_the_same(self, staff: Client) -> None:
        factories.make_product("MUG", on_hand=50)
        lines = ("MUG", 1)
        factories.place_order(lines)
        factories.place_order(lines, method="cod")
        factories.confirm_order(lines)
        factories.pack_order(lines)
        factories.ship_order(lines)

        work = staff.get("/admin/").context["work"]

        assert [(tile.label, tile.figure) for tile in work] == [
            ("To confirm", "1"),
            ("To pack", "1"),
            ("To ship", "1"),
            ("On hold", "0"),
        ]
        listed = [staff.get(tile.url).context["cl"].result_count for tile in work]
        assert listed == [1, 1, 1, 0]


class TestDeliveries:
    def test_are_told_in_figures(self, staff: Client, now: datetime) -> None:
        erp = make_subscription(name="ERP")
        tally(erp, now - MINUTE, 90, latency=1)
        tally(erp, now - MINUTE, 10, reason="timeout", latency=-1)

        page = staff.get("/admin/")

        tiles = {tile.label: (tile.figure, tile.note) for tile in page.context["tiles"]}
        assert tiles["Success rate"] == ("90.0 %", "100 attempts in 24 h")
        assert tiles["Half arrive within"] == ("8 ms", "95 % within 10 ms")
        assert tiles["Oldest that is due"] == ("none", "nothing waits for us")
        assert [(each["reason"], each["count"]) for each in page.context["reasons"]] == [("timeout", 10)]

    def test_what_is_undeliverable_is_named_and_is_no_failure(self, staff: Client, now: datetime) -> None:
        messages = make_subscription(name="Messages")
        tally(messages, now - MINUTE, 10)
        tally(messages, now - MINUTE, 30, reason="no_mailbox", latency=-1)

        page = staff.get("/admin/")

        [rate, *_] = page.context["tiles"]
        assert (rate.figure, rate.note, rate.is_bad) == ("100 %", "10 attempts in 24 h", False)
        assert [(each["reason"], each["percent"]) for each in page.context["reasons"]] == [("no mailbox", 100)]

    def test_an_hour_is_drawn_and_told_as_a_figure(self, staff: Client, now: datetime) -> None:
        erp = make_subscription(name="ERP")
        tally(erp, now, 6)
        tally(erp, now, 2, reason="dns", latency=-1)

        page = staff.get("/admin/")

        bar = page.context["chart"].bars[-1]
        assert (bar.delivered, bar.failed, bar.peak) == (90, 30, 0)
        assert '<td class="number">6</td><td class="number">2</td>' in page.content.decode()

    def test_the_banner_names_who_is_not_told(self, staff: Client, now: datetime) -> None:
        tasks.beat()
        make_subscription(name="ERP")
        assert "not told as" not in front_page(staff)
        subscriptions.disable(make_subscription(name="CRM"), by="system", now=now, reason="It answered 410 Gone.")
        Alarm.objects.create(kind="silence", words="Nobody was heard of.", since=now, crossed_at=now)

        shown = front_page(staff)

        assert "1 system is not told as it should be" in shown
        assert re.search(r"CRM Disabled Disabled .* by system\. It answered 410 Gone\.", shown)
        assert "Nobody was heard of." in shown

    def test_say_that_nobody_can_be_mailed(self, staff: Client) -> None:
        assert "Nobody is mailed. No active superuser has an e-mail address" in front_page(staff)

        User.objects.update(email="ann@example.com")

        assert "Nobody is mailed." not in front_page(staff)

    def test_say_that_no_cluster_runs(self, staff: Client) -> None:
        assert "Nothing is sent. No queue cluster has ever run" in front_page(staff)

        tasks.beat()

        assert "Nothing is sent." not in front_page(staff)

    def test_cost_the_same_however_many_there_are(self, staff: Client, now: datetime) -> None:
        costs = []
        for number in range(4):
            tally(make_subscription(name=f"System {number}"), now, 1)
            with CaptureQueriesContext(connection) as asked:
                staff.get("/admin/")
            costs.append(len(asked))

        assert len(set(costs[1:])) == 1
        assert costs[-1] <= 25


class TestWhoSeesWhat:
    def test_a_packer_sees_the_orders_alone(self) -> None:
        make_subscription(name="ERP")

        shown = front_page(log_in_with("view_order"))

        assert "To pack" in shown
        assert "Success rate" not in shown

    def test_an_integrator_sees_the_deliveries_alone(self) -> None:
        make_subscription(name="ERP")

        shown = front_page(log_in_with("view_subscription"))

        assert "Success rate" in shown
        assert "To pack" not in shown
