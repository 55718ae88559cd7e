"""/metrics as a scraper reads it."""

from collections import Counter
from datetime import datetime, timedelta
from unittest.mock import patch

import pytest
from django.db import OperationalError
from django.test import Client
from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics
from pytest_django import DjangoAssertNumQueries

from commerce import prometheus, tasks, tokens
from commerce.models import Alarm, AuditRun
from tests.webhooks.factories import happen, make_subscription
from webhooks.models import Delivery, Subscription, Tally
from webhooks.tallies import BOUNDS, NOT_TIMED

pytestmark = pytest.mark.django_db

SCRAPED = "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"


@pytest.fixture
def scraper(client: Client) -> Client:
    token = tokens.issue("prometheus", scopes=["metrics"])
    return Client(headers={"Authorization": f"Bearer {token}", "Accept": SCRAPED})


@pytest.fixture
def subscription() -> Subscription:
    return make_subscription(name='The "ERP"')


def scrape(scraper: Client) -> dict[tuple[str, ...], float]:
    """The value of each sample, by its name and the values of its labels."""
    answer = scraper.get("/metrics")
    assert answer.status_code == 200
    families = parser.text_string_to_metric_families(answer.content.decode())
    return {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in families
        for sample in family.samples
    }


def tally(subscription: Subscription, now: datetime, count: int, *, reason: str = "", latency: int = 0) -> None:
    Tally.objects.create(
        subscription=subscription, at=now, reason=reason, latency=latency, count=count, milliseconds=count * 10
    )


class TestWhoMayRead:
    @pytest.mark.parametrize(
        ("scopes", "status", "code"),
        [(None, 401, "not_authenticated"), (["orders"], 403, "permission_denied")],
        ids=["nobody", "who may do something else"],
    )
    def test_not(self, client: Client, scopes: list[str] | None, status: int, code: str) -> None:
        headers = {"Authorization": f"Bearer {tokens.issue('shop', scopes=scopes)}"} if scopes else {}

        answer = client.get("/metrics", headers=headers)

        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert ("WWW-Authenticate" in answer.headers) == (status == 401)

    def test_not_with_a_token_that_is_unknown(self, client: Client) -> None:
        answer = client.get("/metrics", headers={"Authorization": "Bearer nobody.knows"})

        assert answer.status_code == 401
        assert answer.json()["detail"] == "This token is unknown or was revoked."

    def test_a_database_that_does_not_answer_is_said_so(self, scraper: Client) -> None:
        with patch("commerce.prometheus.read", side_effect=OperationalError("password of nobody")):
            answer = scraper.get("/metrics")

        assert answer.status_code == 503
        assert "password" not in answer.content.decode()


class TestSamples:
    def test_tell_each_queue(self, scraper: Client, subscription: Subscription, now: datetime) -> None:
        for _ in range(3):
            happen()
        first, second, _ = Delivery.objects.order_by("pk")
        Delivery.objects.filter(pk=first.pk).update(state="parked", next_attempt_at=None)
        Delivery.objects.filter(pk=second.pk).update(next_attempt_at=now + timedelta(hours=1))
        Delivery.objects.exclude(pk__in=(first.pk, second.pk)).update(next_attempt_at=now - timedelta(minutes=1))

        samples = scrape(scraper)

        label = subscription.public_id
        states = {
            state: samples["commerce_deliveries", state, label] for state in ("due", "waiting", "sending", "parked")
        }
        assert states == {"due": 1, "waiting": 1, "sending": 0, "parked": 1}
        assert 60 <= samples["commerce_oldest_due_seconds", label] < 120
        assert 60 <= samples["commerce_delivery_lag_seconds",] < 120
        assert samples["commerce_events_last_hour",] == 3

    def test_count_attempts_by_outcome(self, scraper: Client, subscription: Subscription, now: datetime) -> None:
        tally(subscription, now, 7)
        tally(subscription, Tally.LONG_AGO, 10)
        tally(subscription, now, 2, reason="http_5xx", latency=NOT_TIMED)

        samples = scrape(scraper)

        label = subscription.public_id
        assert samples["commerce_delivery_attempts_total", "delivered", label] == 17
        assert samples["commerce_delivery_attempts_total", "http_5xx", label] == 2

    def test_latency_is_a_cumulative_histogram(
        self, scraper: Client, subscription: Subscription, now: datetime
    ) -> None:
        for latency, count in enumerate((5, 3, 0, 1)):
            tally(subscription, now, count, latency=latency)
        tally(subscription, now, 4, latency=NOT_TIMED)

        samples = scrape(scraper)

        label = subscription.public_id
        buckets = [samples["commerce_delivery_latency_seconds_bucket", str(float(at)), label] for at in BOUNDS[:5]]
        assert buckets == [5, 8, 8, 9, 9]
        assert samples["commerce_delivery_latency_seconds_bucket", "+Inf", label] == 9
        assert samples["commerce_delivery_latency_seconds_count", label] == 9

    def test_tell_the_state_of_each_subscription(
        self, scraper: Client, subscription: Subscription, now: datetime
    ) -> None:
        Subscription.objects.update(consecutive_failures=12, resting_until=now, throttled=True)

        samples = scrape(scraper)

        label = subscription.public_id
        assert samples["commerce_subscription_info", 'The "ERP"', label] == 1
        states = {state: samples["commerce_subscription_state", state, label] for state in prometheus.STATES}
        assert states == {"active": 1, "paused": 0, "disabled": 0}
        assert samples["commerce_subscription_resting", label] == 1
        assert samples["commerce_subscription_throttled", label] == 1
        assert samples["commerce_subscription_consecutive_failures", label] == 12

    def test_tell_heartbeat_audit_and_alarms(self, scraper: Client, now: datetime) -> None:
        tasks.beat()
        AuditRun.objects.create(day=now.date(), started_at=now, renewed_at=now, finished_at=now, finding_count=3)
        Alarm.objects.create(kind="silence", words="Silence.", since=now, crossed_at=now)

        samples = scrape(scraper)

        assert abs(samples["commerce_cluster_heartbeat_timestamp_seconds",] - now.timestamp()) < 60
        assert samples["commerce_audit_timestamp_seconds",] == pytest.approx(now.timestamp())
        assert samples["commerce_audit_findings",] == 3
        assert samples["commerce_alarms", "silence"] == 1
        assert samples["commerce_alarms", "overdue"] == 0

    def test_name_so_many_subscriptions_and_the_others_as_one(
        self, scraper: Client, now: datetime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(prometheus, "LABELLED", 2)
        for number in range(5):
            tally(make_subscription(name=f"System {number}"), now, 1)
        happen()

        samples = scrape(scraper)

        counted = {name[-1]: value for name, value in samples.items() if name[0] == "commerce_delivery_attempts_total"}
        assert len(counted) == 3
        assert counted[prometheus.OTHERS] == 3
        assert samples["commerce_deliveries", "due", prometheus.OTHERS] == 3

    def test_are_each_told_once_and_in_openmetrics_too(self, scraper: Client, subscription: Subscription) -> None:
        answer = scraper.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})

        families = list(openmetrics.text_string_to_metric_families(answer.content.decode()))  # type: ignore[no-untyped-call]
        assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
        assert Counter(family.name for family in families).most_common(1)[0][1] == 1
        assert all(family.documentation for family in families)

    def test_cost_the_same_however_many_there_are(
        self, scraper: Client, now: datetime, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        for number in range(6):
            tally(make_subscription(name=f"System {number}"), now, 1)
        happen()

        # The token, and the reading.
        with django_assert_num_queries(1 + 6):
            scraper.get("/metrics")
