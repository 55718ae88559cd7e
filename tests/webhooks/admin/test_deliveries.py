"""The delivery log: found, understood, resent; never written."""

import re
import subprocess
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from tests.factories import add_stock, make_product
from tests.receiver import Receiver
from tests.webhooks.admin.conftest import log_in_with, make_deliveries, make_subscription, send_all
from tests.webhooks.admin.pages import page_of
from webhooks import compaction
from webhooks.admin.deliveries import curl
from webhooks.advice import ADVICE
from webhooks.drain import send_now
from webhooks.models import Attempt, Delivery, Subscription
from webhooks.transport import Reason

pytestmark = pytest.mark.django_db

LOG = "/admin/webhooks/delivery/"


def found(client: Client, query: str = "") -> list[Delivery]:
    return list(client.get(f"{LOG}?{query}").context["cl"].result_list)


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
