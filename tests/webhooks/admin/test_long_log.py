"""A log of many: each filter, alone or with another, reads about a page of it, whatever it finds."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.marks import only_on
from tests.receiver import Receiver
from tests.webhooks.admin.conftest import make_subscription
from webhooks.api import DeliveryFilter
from webhooks.lookups import LATENESS
from webhooks.models import Delivery, Event, Subscription

pytestmark = pytest.mark.django_db

LOG = "/admin/webhooks/delivery/"
SUBSCRIPTIONS = "/admin/webhooks/subscription/"
# A minute apart, each told to both systems. At fewer, reading them all is the quickest.
EVENTS = 10_000
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
# A page, what came within LATENESS of its ends, and what lies between.
READ_AT_MOST = 400

on_postgresql = only_on("postgresql", because="SQLite tells no numbers of rows, and is not meant for logs as long.")

_EVENTS = """
    INSERT INTO webhooks_event (public_id, position, type, subject, label, sequence, body, occurred_at, created_at)
    SELECT 'evt_' || n, 0, 'order.created', 'ord_' || n, n::text, 1, '{{}}', at, at FROM (
        SELECT n, %s + make_interval(mins => n) AS at FROM generate_series(1, {events}) n
    ) made ORDER BY at
"""
# One system has taken all; the other had failures at first, was disabled for a while, and then went down.
_DELIVERIES = """
    INSERT INTO webhooks_delivery (public_id, event_id, subscription_id, event_type, subject, label, state, lane,
        attempt_count, attempts_before, next_attempt_at, lease_owner, last_reason, resent_by, created_at)
    SELECT 'dlv_' || id || '_' || subscription, id, subscription, type, subject, label, state, 0,
        CASE state WHEN 'pending' THEN 0 WHEN 'skipped' THEN 0 ELSE 1 END, 0,
        CASE state WHEN 'pending' THEN created_at END, '', '', '', created_at
    FROM (
        SELECT e.*, s.id AS subscription, CASE
            WHEN s.id = %s THEN 'delivered' WHEN e.label::int > {events} * 0.6 THEN 'pending'
            WHEN e.label::int < {events} * 0.1 THEN 'parked' WHEN e.label::int < {events} * 0.2 THEN 'skipped'
            ELSE 'delivered' END AS state
        FROM webhooks_event e, webhooks_subscription s
    ) owed ORDER BY id, subscription
"""


@pytest.fixture
def well(receiver: Receiver, now: datetime) -> Subscription:
    return make_subscription(receiver.url, now=now, name="Well")


@pytest.fixture
def down(receiver: Receiver, now: datetime) -> Subscription:
    return make_subscription(receiver.url, now=now, name="Down")


@pytest.fixture
def long_log(well: Subscription, down: Subscription) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_EVENTS.format(events=EVENTS), [NOON])
        cursor.execute(_DELIVERIES.format(events=EVENTS), [well.pk])
        cursor.execute("ANALYZE webhooks_event, webhooks_delivery")
        # Of so few rows, all that one filter finds is read and sorted the quickest. Not of many.
        cursor.execute("SET enable_bitmapscan = off; SET enable_sort = off")


def rows_read(sql: str) -> int:
    """Of the log or an index of it, by the step that reads most."""
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}")
        (plan,) = cursor.fetchone()
    (whole,) = json.loads(plan) if isinstance(plan, str) else plan
    return max(_reads(whole["Plan"]), default=0)


def _reads(node: dict[str, Any]) -> Iterator[int]:
    if node.get("Relation Name") == "webhooks_delivery" or "delivery" in node.get("Index Name", ""):
        yield int((node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"])
    for child in node.get("Plans", []):
        yield from _reads(child)


def most_read(client: Client, url: str) -> int:
    with CaptureQueriesContext(connection) as captured:
        assert client.get(url).status_code == 200
    return max(rows_read(query["sql"]) for query in captured if "webhooks_delivery" in query["sql"])


HALF = f"{NOON + timedelta(minutes=EVENTS // 2):%Y-%m-%dT%H:%M}"
EARLY = f"{NOON + timedelta(minutes=EVENTS // 20):%Y-%m-%dT%H:%M}"
STATES = (*Delivery.State.values, "failing", "open")


@on_postgresql
# Not rolled back but emptied: what is known of so many rows must not lead the plans of other tests.
@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("long_log")
class TestEachPage:
    """All in one test of a kind: to fill the log takes longer than to ask it."""

    def test_of_a_time_or_a_state_reads_about_a_page(self, staff: Client) -> None:
        times = [f"until={HALF}", f"until={EARLY}", f"since={EARLY}&until={HALF}", f"since={HALF}"]
        states = [f"state={state}" for state in STATES]
        asked = [*times, *states, *(f"{time}&state=skipped" for time in times)]
        asked += [f"event_type=order.created&{other}" for other in (*times, *states)]

        read = {query: most_read(staff, f"{LOG}?{query}") for query in asked}

        assert {query: rows for query, rows in read.items() if rows > READ_AT_MOST} == {}

    def test_of_a_system_reads_about_a_page_whatever_it_has(
        self, staff: Client, well: Subscription, down: Subscription
    ) -> None:
        systems = [f"subscription={each.public_id}" for each in (well, down)]
        others = [*(f"state={state}" for state in STATES), f"until={EARLY}", "event_type=order.shipped"]
        asked = [f"{system}&{other}" for system in systems for other in others]

        read = {query: most_read(staff, f"{LOG}?{query}") for query in asked}

        assert {query: rows for query, rows in read.items() if rows > READ_AT_MOST} == {}

    def test_of_the_api_reads_about_a_page(self, down: Subscription) -> None:
        system = {"subscription": down.public_id}
        times = [{"until": f"{EARLY}Z"}, {"since": f"{EARLY}Z", "until": f"{HALF}Z"}]
        states: list[dict[str, str]] = [{"state": state} for state in Delivery.State.values]

        for asked in (*times, *states, *(system | each for each in (*times, *states))):
            page = DeliveryFilter(asked, Delivery.objects.order_by("-id")).qs[:51]
            with CaptureQueriesContext(connection) as captured:
                list(page)
            assert rows_read(captured[0]["sql"]) <= READ_AT_MOST, asked

    def test_of_the_subscriptions_reads_one_row_of_each(self, staff: Client, down: Subscription) -> None:
        with CaptureQueriesContext(connection) as captured:
            staff.get(SUBSCRIPTIONS)
            staff.get(f"{SUBSCRIPTIONS}{down.pk}/change/")

        log = [query["sql"] for query in captured if "webhooks_delivery" in query["sql"]]
        # What is counted is counted up to COUNTED_TO, by the queues' statement.
        assert [rows_read(sql) for sql in log if "count(*)" not in sql] == [2, 2, 1]


class TestATime:
    def test_finds_what_got_its_key_late(self, staff: Client, subscription: Subscription) -> None:
        """A transaction that lasted: its row is of before the other's, and came in after it."""
        later, late = (make_delivery(subscription, NOON + minutes) for minutes in (LATENESS, timedelta(0)))

        until = f"{NOON + timedelta(minutes=1):%Y-%m-%dT%H:%M}"
        since = f"{NOON + LATENESS:%Y-%m-%dT%H:%M}"

        assert late.pk > later.pk
        assert found(staff, f"until={until}") == [late]
        assert found(staff, f"since={since}") == [later]

    def test_at_an_end_of_the_calendar_is_no_error(self, staff: Client, subscription: Subscription) -> None:
        delivery = make_delivery(subscription, NOON)

        assert found(staff, "since=0001-01-01T00:00&until=9999-12-31T23:59") == [delivery]
        assert found(staff, "since=9999-12-31T23:59") == []


def make_delivery(subscription: Subscription, at: datetime) -> Delivery:
    number = Event.objects.count()
    event = Event.objects.create(
        type="order.created", subject=f"ord_{number}", label="1", sequence=1, body="{}", occurred_at=at, created_at=at
    )
    return Delivery.objects.create(
        event=event, subscription=subscription, event_type=event.type, subject=event.subject, label="1", created_at=at
    )


def found(client: Client, query: str) -> list[Delivery]:
    return list(client.get(f"{LOG}?{query}").context["cl"].result_list)
