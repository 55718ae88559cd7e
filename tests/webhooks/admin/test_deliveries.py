"""The delivery log: found, understood, resent; never written."""

import re
import subprocess
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.admin.models import LogEntry
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from tests.factories import add_stock, make_product, place_order
from tests.receiver import Answer, Receiver
from tests.webhooks.admin.conftest import log_in_with, make_subscription, send_all
from webhooks import compaction, subscriptions
from webhooks.admin.deliveries import curl
from webhooks.advice import ADVICE
from webhooks.drain import send_now
from webhooks.models import Attempt, Delivery, Event, Subscription
from webhooks.transport import Reason

pytestmark = pytest.mark.django_db

LOG = "/admin/webhooks/delivery/"
EVENTS = "/admin/webhooks/event/"


def page_of(delivery: Delivery, verb: str = "change") -> str:
    return f"{LOG}{delivery.pk}/{verb}/"


def found(client: Client, query: str = "") -> list[Delivery]:
    return list(client.get(f"{LOG}?{query}").context["cl"].result_list)


@pytest.fixture
def failed(receiver: Receiver, subscription: Subscription) -> Delivery:
    """The `order.created` of an order, answered 500 once."""
    receiver.answers = [Answer(500, b'{"error": "<b>down</b>"}', {"set-cookie": "id=s3cret"})]
    place_order()
    send_all()
    return Delivery.objects.get()


def make_deliveries(subscription: Subscription, count: int) -> None:
    """Many rows of one event type, without the domain."""
    events = [
        Event(
            type="order.created", subject=f"ord_{n}", label=f"{n}", sequence=1, body="{}", occurred_at=datetime.now(UTC)
        )
        for n in range(count)
    ]
    Delivery.objects.bulk_create(
        Delivery(
            event=event, subscription=subscription, event_type=event.type, subject=event.subject, label=event.label
        )
        for event in Event.objects.bulk_create(events)
    )


class TestTheList:
    def test_says_what_to_do_while_it_is_empty(self, staff: Client) -> None:
        assert "Nothing has been sent yet" in staff.get(LOG).content.decode()

    def test_shows_what_was_sent_where_and_what_came_of_it(self, staff: Client, failed: Delivery) -> None:
        page = staff.get(LOG).content.decode()

        assert '<span class="badge badge-retrying">Pending</span>' in page
        assert ">order.created</a>" in page
        assert f'<a href="/admin/webhooks/delivery/?label={failed.label}">{failed.label}</a>' in page
        assert "to Warehouse system" in page
        assert '<span class="failed" title="The receiver failed.">500</span>' in page
        assert "1 of 10" in page
        assert " ms</span>" in page
        assert f'title="{failed.created_at:%Y-%m-%d %H:%M:%S} UTC"' in page
        assert ">next <time" in page

    def test_is_paged_by_key_and_never_counted(
        self, staff: Client, subscription: Subscription, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        make_deliveries(subscription, 120)
        ids = list(Delivery.objects.order_by("-id").values_list("pk", flat=True))

        staff.get(LOG)
        with django_assert_num_queries(4) as queries:
            first = staff.get(LOG)
        second = staff.get(f"{LOG}{first.context['cl'].older_url}")
        last = staff.get(f"{LOG}{second.context['cl'].older_url}")

        pages = [[each.pk for each in page.context["cl"].result_list] for page in (first, second, last)]
        assert pages == [ids[:50], ids[50:100], ids[100:]]
        assert last.context["cl"].older_url == ""
        assert not any("COUNT(" in query["sql"] for query in queries.captured_queries)

    def test_a_filter_stays_while_paging_and_a_page_does_not_while_filtering(
        self, staff: Client, subscription: Subscription
    ) -> None:
        make_deliveries(subscription, 60)

        page = staff.get(f"{LOG}?state=pending")
        older = staff.get(f"{LOG}{page.context['cl'].older_url}").content.decode()

        assert "state=pending" in page.context["cl"].older_url
        assert older.count("older_than") == 0

    @pytest.mark.parametrize("junk", ["", "abc", "-1", "٣", "9" * 40, "1e3"])
    def test_a_forged_page_is_no_error(self, staff: Client, failed: Delivery, junk: str) -> None:
        assert staff.get(LOG, {"older_than": junk}).status_code == 200


class TestFinding:
    def test_by_state_subscription_type_and_label(
        self, staff: Client, receiver: Receiver, failed: Delivery, now: datetime
    ) -> None:
        other = make_subscription(receiver.url, now=now, name="Other", event_types=["inventory.updated"])
        make_product("HAT")
        (told,) = Delivery.objects.filter(subscription=other)
        send_now(told)

        assert found(staff, "state=delivered") == [told]
        assert found(staff, "state=failing") == [failed]
        assert found(staff, "state=open") == [failed]
        assert found(staff, f"subscription={other.public_id}") == [told]
        assert found(staff, "event_type=order.created") == [failed]
        assert found(staff, "label=HAT") == [told]

    def test_searches_exactly(self, staff: Client, failed: Delivery) -> None:
        for term in (failed.label, f" {failed.label} ", failed.public_id, failed.event.public_id, failed.subject):
            assert found(staff, f"q={term}") == [failed]
        for term in (failed.label[:-1], "order", failed.public_id[:-1], "dlv_", "%"):
            assert staff.get(LOG, {"q": term}).status_code == 200
        assert found(staff, f"q={failed.label[:-1]}") == []

    def test_searches_by_index(
        self, staff: Client, failed: Delivery, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        staff.get(LOG)
        with django_assert_num_queries(4) as queries:
            found(staff, f"q={failed.label}")

        (search,) = [query["sql"] for query in queries.captured_queries if failed.label in query["sql"]]
        assert "LIKE" not in search
        assert "UPPER" not in search

    def test_a_time_range_is_half_open(self, staff: Client, failed: Delivery) -> None:
        at = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
        Delivery.objects.update(created_at=at)

        assert found(staff, "since=2026-01-02T03:04") == [failed]
        assert found(staff, "until=2026-01-02T03:04") == []
        assert found(staff, "until=2026-01-02T03:05&since=2026-01-02T03:04") == [failed]
        assert found(staff, "since=2026-01-02T05:05%2B02:00") == []

    def test_a_period_ends_now(self, staff: Client, failed: Delivery, now: datetime) -> None:
        Delivery.objects.update(created_at=now - timedelta(hours=2))

        assert found(staff, "period=1h") == []
        assert found(staff, "period=24h") == [failed]

    @pytest.mark.parametrize(
        "junk", ["since=yesterday", "until=2026-99-99T00:00", "since=0001-01-01T00:00%2B14:00", "period=9y"]
    )
    def test_a_time_that_makes_no_sense_filters_nothing(self, staff: Client, failed: Delivery, junk: str) -> None:
        assert found(staff, junk) == [failed]

    def test_what_has_no_index_cannot_be_asked(self, staff: Client, failed: Delivery) -> None:
        for lookup in ("label__contains=1", "event__body__icontains=x", "created_at__date=2026-01-01"):
            assert staff.get(f"{LOG}?{lookup}").status_code == 400

    def test_an_unlucky_search_says_where_to_look(self, staff: Client, failed: Delivery) -> None:
        assert "Was nothing sent at all?" in staff.get(f"{LOG}?q=nothing").content.decode()


class TestThePage:
    def test_shows_each_attempt_with_secrets_masked(self, staff: Client, receiver: Receiver, failed: Delivery) -> None:
        secret = failed.subscription.secrets[0]["secret"]
        signature = receiver.received[0].headers["webhook-signature"]

        page = staff.get(page_of(failed)).content.decode()

        assert "Attempt 1 ·" in page
        assert failed.event.public_id in page
        assert "&lt;b&gt;down&lt;/b&gt;" in page
        for hidden in ("s3cret", secret, signature, "berlin"):
            assert hidden not in page

    def test_says_why_it_failed_and_what_to_do(self, staff: Client, failed: Delivery) -> None:
        page = staff.get(page_of(failed)).content.decode()

        assert "The receiver failed with 500." in page
        assert "Look into the receiver&#x27;s own log" in page
        assert "attempt 1 of 10" in page

    @pytest.mark.parametrize(
        ("values", "words"),
        [
            ({}, "next attempt in 4 s"),
            ({"state": "paused"}, "next attempt when ERP is resumed"),
            ({"resting": timedelta(minutes=20)}, "next attempt when ERP answers again, tried in 20 min"),
            ({"resting": timedelta(seconds=1)}, "next attempt in 4 s"),
        ],
        ids=["its schedule", "who pauses it", "its circuit", "its schedule, though the circuit is open"],
    )
    def test_says_what_the_next_attempt_waits_for(
        self, staff: Client, failed: Delivery, now: datetime, values: dict[str, Any], words: str
    ) -> None:
        rests = {"resting_until": now + values["resting"]} if "resting" in values else values
        Subscription.objects.update(name="ERP", **rests)
        Delivery.objects.update(next_attempt_at=now + timedelta(seconds=4.5))

        with time_machine.travel(now, tick=False):
            page, listed = (staff.get(url).content.decode() for url in (page_of(failed), LOG))

        assert words in re.sub("<[^>]+>", "", page)
        assert words.replace("next attempt", "next") in re.sub("<[^>]+>", "", listed)

    def test_shows_the_exact_bytes(self, staff: Client, receiver: Receiver, failed: Delivery) -> None:
        page = staff.get(page_of(failed))

        assert page.context["body"].encode() == receiver.received[0].body
        assert page.context["body_bytes"] == len(receiver.received[0].body)

    def test_costs_the_same_after_many_attempts(
        self, staff: Client, failed: Delivery, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        first = failed.attempts.get()
        Attempt.objects.bulk_create(
            Attempt(
                delivery=failed, number=n, started_at=first.started_at, duration_ms=1, url=first.url, reason="timeout"
            )
            for n in range(2, 80)
        )
        Delivery.objects.update(attempt_count=79)

        staff.get(page_of(failed))
        with django_assert_num_queries(5):
            page = staff.get(page_of(failed)).content.decode()

        assert page.count('<details class="attempt"') == 50
        assert "29 older ones are not shown." in page

    def test_is_read_only(self, staff: Client, failed: Delivery) -> None:
        assert staff.get(f"{LOG}add/").status_code == 403
        assert staff.get(page_of(failed, "delete")).status_code == 403
        assert (
            staff.post(LOG, {"action": "delete_selected", "_selected_action": [failed.pk]}, follow=True).status_code
            == 200
        )
        assert Delivery.objects.count() == 1

    def test_needs_the_permission_to_look(self, failed: Delivery) -> None:
        stranger = log_in_with("view_subscription")

        assert stranger.get(LOG).status_code == 403
        assert stranger.get(page_of(failed)).status_code == 403

    def test_of_a_delivery_that_is_not_there(self, staff: Client) -> None:
        assert staff.get(f"{LOG}123/change/").status_code == 404

    def test_every_reason_has_words_and_a_remedy(self) -> None:
        assert set(ADVICE) == {reason.value for reason in Reason}

    def test_says_which_one_went_in_the_place_of_a_superseded_one(
        self, staff: Client, receiver: Receiver, now: datetime
    ) -> None:
        subscription = make_subscription(receiver.url, now=now, event_types=["inventory.updated"], compact=True)
        product = make_product()
        add_stock(product, on_hand=1)
        compaction.settle(subscription, look_ahead=200, now=now + timedelta(minutes=1))
        send_all()
        older, newer = Delivery.objects.order_by("id")

        page = staff.get(page_of(older)).content.decode()

        assert (older.state, newer.state) == ("superseded", "delivered")
        assert "A newer one went in its place." in page
        assert f'<a href="{page_of(newer)}">That is {newer.public_id}</a>' in page
        assert '<span class="badge badge-superseded">Superseded</span>' in page
        assert "went in its place" not in staff.get(page_of(newer)).content.decode()


class TestCurl:
    def test_sends_the_same_body_with_blanks_for_what_is_masked(self, receiver: Receiver, failed: Delivery) -> None:
        command = curl(failed.attempts.get(), failed.event.body)

        subprocess.run(["bash", "-c", f"{command} --silent"], check=True, timeout=10, capture_output=True)

        first, again = receiver.received
        assert again.body == first.body
        assert again.headers["webhook-id"] == first.headers["webhook-id"]
        assert again.headers["webhook-signature"] == "<your webhook-signature>"
        assert again.headers["authorization"] == "<your Authorization>"


class TestResend:
    def test_sends_the_same_bytes_again_and_says_who_asked(
        self, staff: Client, receiver: Receiver, failed: Delivery
    ) -> None:
        page = staff.post(page_of(failed, "resend"), follow=True)
        send_all()

        failed.refresh_from_db()
        first, again = receiver.received
        assert "On its way again" in page.content.decode()
        assert (failed.state, failed.resent_by) == ("delivered", "ann")
        assert again.body == first.body
        assert again.headers["webhook-id"] == first.headers["webhook-id"]
        assert LogEntry.objects.get().object_id == str(failed.pk)

    def test_a_refusal_is_told(self, staff: Client, failed: Delivery, now: datetime) -> None:
        subscriptions.disable(failed.subscription, by="ann", now=now, reason="")

        page = staff.post(page_of(failed, "resend"), follow=True).content.decode()

        assert "Warehouse system is disabled: resume it first." in page
        assert LogEntry.objects.count() == 0

    def test_needs_a_permission_of_its_own(self, failed: Delivery) -> None:
        onlooker = log_in_with("view_delivery", "change_delivery")
        support = log_in_with("view_delivery", "resend_delivery", username="eve")

        assert "Resend</button>" not in onlooker.get(page_of(failed)).content.decode()
        assert "resend_selected" not in onlooker.get(LOG).content.decode()
        assert onlooker.post(page_of(failed, "resend")).status_code == 403
        assert support.post(page_of(failed, "resend")).status_code == 302
        failed.refresh_from_db()
        assert failed.resent_by == "eve"

    def test_is_a_post(self, staff: Client, failed: Delivery) -> None:
        assert staff.get(page_of(failed, "resend")).status_code == 405

    def action(self, **more: Any) -> dict[str, Any]:
        return {
            "action": "resend_selected",
            "_selected_action": list(Delivery.objects.values_list("pk", flat=True)),
        } | more

    def test_of_many_asks_first_with_their_real_number(self, staff: Client, subscription: Subscription) -> None:
        make_deliveries(subscription, 3)

        asked = staff.post(LOG, self.action()).content.decode()

        assert "3 deliveries are sent again" in asked
        assert not Delivery.objects.exclude(resent_by="").exists()

        staff.post(LOG, self.action(confirmed="yes"))

        assert Delivery.objects.filter(resent_by="ann").count() == 3

    def test_of_many_tells_what_was_refused(self, staff: Client, failed: Delivery) -> None:
        Delivery.objects.update(state="sending", next_attempt_at=None)

        page = staff.post(LOG, self.action(confirmed="yes"), follow=True).content.decode()

        assert f"Not resent: {failed}. It is being sent at this very moment." in page

    def test_a_forged_selection_of_everything_is_bounded(self, staff: Client, subscription: Subscription) -> None:
        make_deliveries(subscription, 501)

        page = staff.post(LOG, self.action(select_across="1", _selected_action=["1"], confirmed="yes"), follow=True)

        assert "At most 500 deliveries" in page.content.decode()
        assert not Delivery.objects.exclude(resent_by="").exists()


class TestEvents:
    def test_show_what_happened_and_whom_it_was_owed_to(self, staff: Client, failed: Delivery) -> None:
        page = staff.get(f"{EVENTS}?type=order.created").content.decode()
        detail = staff.get(f"{EVENTS}{failed.event_id}/change/").content.decode()

        assert f'<a href="{page_of(failed)}">' in page
        assert "Warehouse system" in detail
        assert f"&quot;order_number&quot;: &quot;{failed.label}&quot;" in detail

    def test_tell_why_nothing_was_sent(self, staff: Client) -> None:
        place_order()
        event = Event.objects.get(type="order.created")

        assert "nobody asked for it" in staff.get(EVENTS).content.decode()
        assert "no subscription asked for <code>order.created</code>" in (
            staff.get(f"{EVENTS}{event.pk}/change/").content.decode()
        )

    def test_name_the_condition_that_kept_one_back(self, staff: Client, receiver: Receiver, now: datetime) -> None:
        tills = [{"field": "channel", "operator": "eq", "value": "pos"}]
        make_subscription(receiver.url, now=now, name="Tills", conditions=tills)
        make_subscription(receiver.url, now=now, name="Stock", event_types=["inventory.*"])
        order = place_order()
        event = Event.objects.get(type="order.created")
        words = "Tills is told only if channel is &quot;pos&quot;; here it is &quot;web&quot;."

        for page in (f"{EVENTS}{event.pk}/change/", f"/admin/orders/order/{order.pk}/change/"):
            assert words in staff.get(page).content.decode()
            assert "no subscription asked for" not in staff.get(page).content.decode()

        # What it asked for then is not known any more.
        Subscription.objects.update(wants_since=now + timedelta(minutes=1))
        assert words not in staff.get(f"{EVENTS}{event.pk}/change/").content.decode()

    def test_cost_the_same_with_many(
        self, staff: Client, subscription: Subscription, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        make_deliveries(subscription, 60)

        staff.get(EVENTS)
        with django_assert_num_queries(4):
            staff.get(EVENTS)

    def test_are_found_exactly(self, staff: Client, failed: Delivery) -> None:
        for term in (failed.label, failed.event.public_id):
            assert failed.event in staff.get(EVENTS, {"q": term}).context["cl"].result_list

    def test_are_read_only(self, staff: Client, failed: Delivery) -> None:
        assert staff.get(f"{EVENTS}add/").status_code == 403
        assert staff.get(f"{EVENTS}{failed.event_id}/delete/").status_code == 403
        assert staff.get(f"{EVENTS}999999/change/").status_code == 404
        assert log_in_with("view_delivery").get(f"{EVENTS}{failed.event_id}/change/").status_code == 403
