"""The subscriptions' list, their page and its switches."""

import html
import re
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from tests.factories import make_product, place_order
from tests.receiver import Answer, Receiver
from tests.webhooks.admin.conftest import log_in_with, make_subscription, send_all
from tests.webhooks.admin.pages import page_of
from webhooks import retention, standing, subscriptions
from webhooks.admin import health
from webhooks.models import Delivery, Subscription

pytestmark = pytest.mark.django_db

LIST = "/admin/webhooks/subscription/"


def form_of(subscription: Subscription, **changes: Any) -> dict[str, Any]:
    """What the change page sends when nothing is touched but `changes`."""
    return {
        "name": subscription.name,
        "url": subscription.url,
        "event_types": subscription.event_types,
        "headers-scheme": "",
        "headers-name": [*subscription.headers, ""],
        "headers-value": [""] * (len(subscription.headers) + 1),
        "ordering": subscription.ordering,
        "retry_schedule": "",
        "max_in_flight": subscription.max_in_flight,
    } | changes


def rows(*conditions: tuple[str, str, str]) -> dict[str, list[str]]:
    """Conditions as they are typed: field, comparison, value."""
    columns = zip(*conditions, strict=True)
    return dict(zip(("conditions-field", "conditions-operator", "conditions-value"), map(list, columns), strict=True))


class TestTheList:
    def test_says_what_to_do_while_it_is_empty(self, staff: Client) -> None:
        page = staff.get(LIST).content.decode()

        assert "No system is connected yet" in page
        assert page.count(f'href="{LIST}add/"') >= 2

    def test_shows_state_last_answer_and_backlog(
        self, staff: Client, receiver: Receiver, subscription: Subscription
    ) -> None:
        receiver.answers = [Answer(503)]
        place_order()
        send_all()

        page = staff.get(LIST).content.decode()

        assert '<span class="badge badge-active">Active</span>' in page
        assert '<span class="failed" title="The receiver failed.">503</span>' in page
        assert f'subscription={subscription.public_id}&amp;state=open">1</a>' in page

    def test_counts_a_backlog_no_further_than_it_takes(
        self, staff: Client, receiver: Receiver, now: datetime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for module in (standing, health):
            monkeypatch.setattr(module, "COUNTED_TO", 2)
        subscription = make_subscription(receiver.url, now=now, event_types=["product.created"])
        for sku in ("HAT", "CAP", "TIE"):
            make_product(sku)

        page = staff.get(LIST).content.decode()

        assert f'subscription={subscription.public_id}&amp;state=open">2 or more</a>' in page

    def test_costs_the_same_with_many(
        self,
        staff: Client,
        receiver: Receiver,
        now: datetime,
        django_assert_num_queries: DjangoAssertNumQueries,
    ) -> None:
        for number in range(8):
            make_subscription(receiver.url, now=now, name=f"System {number}")
        place_order()

        staff.get(LIST)
        with django_assert_num_queries(7):
            staff.get(LIST)

    def test_hides_the_drafts_of_others(self, ann: User) -> None:
        subscriptions.start_draft(ann)

        page = log_in_with("view_subscription", "change_subscription").get(LIST)

        assert page.context["cl"].result_count == 0

    def test_a_draft_is_continued_where_it_was_left(self, staff: Client, ann: User) -> None:
        draft = subscriptions.start_draft(ann)

        assert f"{LIST}add/{draft.public_id}/1/" in staff.get(LIST).content.decode()
        assert staff.get(page_of(draft))["Location"] == f"{LIST}add/{draft.public_id}/1/"


class TestThePage:
    def test_tells_how_it_is_doing(self, staff: Client, receiver: Receiver, subscription: Subscription) -> None:
        receiver.answers = [Answer(200), Answer(500)]
        place_order()
        make_product("HAT")
        make_subscription(receiver.url, now=subscription.created_at, event_types=["*"], name="Other")
        send_all()

        page = staff.get(page_of(subscription))

        facts = dict(page.context["facts"])
        assert facts["Last success"].startswith("<time")
        assert facts["Not delivered yet"] == "0"

    def test_says_why_it_is_not_well(self, staff: Client, subscription: Subscription, now: datetime) -> None:
        well = staff.get(page_of(subscription)).content.decode()
        Subscription.objects.update(
            consecutive_failures=12,
            failing_since=now - timedelta(hours=3),
            resting_until=now + timedelta(minutes=20, seconds=30),
        )

        page = staff.get(page_of(subscription))
        listed = staff.get(LIST).content.decode()

        assert "Failing" not in well
        text = html.unescape(re.sub("<[^>]+>", "", page.content.decode()))
        assert "12 failures in a row, the first 3 h ago; it is tried again in 20 min." in text
        assert "Failing, resting" in text
        assert "Failing, resting" in listed

    def test_changes_are_saved_and_stored_headers_kept(self, staff: Client, subscription: Subscription) -> None:
        answer = staff.post(
            page_of(subscription),
            form_of(subscription, name="New", event_types=["*"], retry_schedule="5, 60", max_in_flight="3"),
        )

        subscription.refresh_from_db()
        assert answer.status_code == 302
        assert (subscription.name, subscription.event_types) == ("New", ["*"])
        assert (subscription.retry_schedule, subscription.max_in_flight) == ([5, 60], 3)
        assert subscription.headers == {"Authorization": "Bearer s3cret", "X-Store": "berlin"}

    def test_a_change_does_not_undo_what_happened_to_the_state_meanwhile(
        self, staff: Client, subscription: Subscription, now: datetime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        check = subscriptions.check_event_types

        def disable_meanwhile(chosen: list[str]) -> None:
            subscriptions.disable(Subscription.objects.get(), by="the engine", now=now, reason="410")
            check(chosen)

        monkeypatch.setattr(subscriptions, "check_event_types", disable_meanwhile)
        staff.post(page_of(subscription), form_of(subscription, name="New"))

        subscription.refresh_from_db()
        assert (subscription.name, subscription.state) == ("New", "disabled")

    @pytest.mark.parametrize(
        ("field", "typed"),
        [
            ("name", ""),
            ("url", "http://10.0.0.1/"),
            ("event_types", []),
            ("retry_schedule", "5; 6"),
            ("retry_schedule", "0"),
            ("retry_schedule", "-5"),
            ("retry_schedule", "1.5"),
            ("retry_schedule", "99999999999"),
            ("retry_schedule", ", ".join(["5"] * 51)),
            ("max_in_flight", "0"),
            ("max_in_flight", "101"),
            ("max_in_flight", "many"),
            ("ordering", "random"),
            ("conditions", ("", "eq", "pos")),
            ("conditions", ("chanel", "eq", "pos")),
            ("conditions", ("channel", "like", "pos")),
            ("conditions", ("channel", "in", "")),
            ("conditions", ("channel", "eq", "a\x00b")),
            ("conditions", ("channel", "in", "x" * 200_000)),
            ("conditions", ("item_count", "eq", "many")),
            ("conditions", ("on_hold", "eq", "perhaps")),
        ],
    )
    def test_refuses_nonsense_and_changes_nothing(
        self, staff: Client, subscription: Subscription, field: str, typed: Any
    ) -> None:
        changes = rows(typed) if isinstance(typed, tuple) else {field: typed}

        page = staff.post(page_of(subscription), form_of(subscription, **{"name": "New"} | changes))

        assert list(page.context["adminform"].form.errors) == [field]
        subscription.refresh_from_db()
        assert subscription.name == "Warehouse system"

    def test_reads_each_condition_as_what_its_field_holds(self, staff: Client, subscription: Subscription) -> None:
        typed = rows(
            ("channel", "in", 'web, " pos", "a,b", "5"" wide"'),
            ("item_count", "gt", "2"),
            ("item_count", "lt", "9.5"),
            ("total_amount", "gte", " 49.90 "),
            ("on_hold", "eq", "False"),
            ("warehouse_code", "ne", ""),
            ("", "eq", ""),
        )

        answer = staff.post(page_of(subscription), form_of(subscription, compact="on", **typed))

        subscription.refresh_from_db()
        assert (answer.status_code, subscription.compact) == (302, True)
        assert [(each["field"], each["operator"], each["value"]) for each in subscription.conditions] == [
            ("channel", "in", ["web", "pos", "a,b", '5" wide']),
            ("item_count", "gt", 2),
            ("item_count", "lt", 9.5),
            ("total_amount", "gte", "49.90"),
            ("on_hold", "eq", False),
            ("warehouse_code", "ne", None),
        ]

    def test_shows_conditions_so_that_saving_them_again_changes_nothing(
        self, staff: Client, subscription: Subscription
    ) -> None:
        asked = [
            {"field": "channel", "operator": "in", "value": ["web", "a,b", '5" wide']},
            {"field": "on_hold", "operator": "eq", "value": False},
            {"field": "warehouse_code", "operator": "eq", "value": None},
        ]
        Subscription.objects.update(conditions=asked)
        before = Subscription.objects.get().wants_since
        form = staff.get(page_of(subscription)).context["adminform"].form

        staff.post(page_of(subscription), form_of(subscription, **rows(*form["conditions"].value())))

        after = Subscription.objects.get()
        assert (after.conditions, after.wants_since) == (asked, before)

    def test_never_shows_a_header_value_or_a_secret(self, staff: Client, subscription: Subscription) -> None:
        onlooker = log_in_with("view_subscription")

        for client in (staff, onlooker):
            page = client.get(page_of(subscription)).content.decode()
            assert "Authorization" in page
            assert "s3cret" not in page
            assert "whsec_" not in page

    def test_deleting_asks_first_and_takes_the_log_along(
        self, staff: Client, receiver: Receiver, subscription: Subscription
    ) -> None:
        place_order()

        asked = staff.get(page_of(subscription, "delete")).content.decode()
        staff.post(page_of(subscription, "delete"), {"post": "yes"})
        retention.prune()

        assert "Warehouse system and its delivery log" in asked
        assert (Subscription.objects.count(), Delivery.objects.count()) == (0, 0)


class TestTheDoctor:
    def test_says_what_to_mend(self, staff: Client, receiver: Receiver, subscription: Subscription) -> None:
        page = staff.post(page_of(subscription, "doctor")).content.decode()

        assert "2 things to mend" in page
        assert page.count('class="answer good"') == 5
        assert page.count('class="answer bad"') == 2
        assert "anybody can forge events" in page
        assert "would prove nothing" not in page
        assert "whsec_" not in page
        assert "s3cret" not in page
        assert not Delivery.objects.exists()
        assert LogEntry.objects.get().get_change_message() == "Checked the receiver."

    def test_says_why_it_looked_no_further(self, staff: Client, receiver: Receiver, subscription: Subscription) -> None:
        receiver.answers = [Answer(404, b"<script>")]

        page = staff.post(page_of(subscription, "doctor")).content.decode()

        assert "1 thing to mend" in page
        assert "The other checks would prove nothing until then." in page
        assert len(receiver.received) == 1

    def test_has_its_button_on_the_page(self, staff: Client, subscription: Subscription) -> None:
        assert f'action="{page_of(subscription, "doctor")}"' in staff.get(page_of(subscription)).content.decode()

    def test_does_not_examine_a_draft(self, staff: Client, ann: User) -> None:
        draft = subscriptions.start_draft(ann)

        page = staff.post(page_of(draft, "doctor"), follow=True).content.decode()

        assert "is a draft: finish its set-up first." in page
