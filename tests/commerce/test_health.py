from datetime import datetime, timedelta
from typing import Any
from unittest.mock import patch

import pytest
from django.db import OperationalError
from django.test import Client, override_settings

from commerce import tasks
from commerce.models import Heartbeat
from tests.webhooks.factories import happen, make_subscription
from webhooks.models import Delivery, Subscription

pytestmark = pytest.mark.django_db


def ready(client: Client) -> tuple[int, dict[str, Any]]:
    answer = client.get("/readyz")
    return answer.status_code, answer.json()["checks"]


class TestReadyz:
    def test_is_ready_when_all_is_there(self, client: Client) -> None:
        tasks.beat()

        assert ready(client) == (200, {"database": "ok", "migrations": "ok", "queue": "ok", "deliveries": "ok"})

    def test_says_that_no_cluster_has_ever_run(self, client: Client) -> None:
        status, checks = ready(client)

        assert (status, checks["queue"]) == (503, "no queue cluster has ever run: start manage.py qcluster")

    def test_says_for_how_long_the_cluster_has_been_silent(self, client: Client, now: datetime, frozen: None) -> None:
        Heartbeat.objects.create(pk=Heartbeat.THE_ONE, at=now - timedelta(seconds=90))

        status, checks = ready(client)

        assert (status, checks["queue"]) == (503, "no queue cluster has been heard of for 90 s")

    def test_says_for_how_long_something_could_have_gone_out(self, client: Client, now: datetime, frozen: None) -> None:
        tasks.beat()
        make_subscription()
        happen()
        Delivery.objects.update(next_attempt_at=now - timedelta(seconds=301))

        status, checks = ready(client)

        assert status == 503
        assert checks["deliveries"].startswith("the oldest delivery that could go out has been due for 301")

    def test_does_not_go_away_for_a_receiver_that_fails(self, client: Client, now: datetime) -> None:
        tasks.beat()
        make_subscription()
        happen()
        Delivery.objects.update(next_attempt_at=now - timedelta(days=1))
        Subscription.objects.update(consecutive_failures=10, resting_until=now + timedelta(hours=1))

        assert ready(client)[0] == 200

    def test_beats_are_one_row(self) -> None:
        tasks.beat()
        tasks.beat()

        assert Heartbeat.objects.count() == 1

    def test_says_that_the_database_does_not_answer(self, client: Client) -> None:
        with patch("commerce.health.connection.cursor", side_effect=OperationalError("password of nobody")):
            status, checks = ready(client)

        assert (status, checks["database"]) == (503, "the database does not answer")

    @pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
    def test_another_method_is_told_so(self, path: str) -> None:
        answer = Client(enforce_csrf_checks=True).post(path)

        assert (answer.status_code, answer.content) == (405, b"")

    @pytest.mark.parametrize("path", ["/healthz", "/readyz"])
    @override_settings(SECURE_SSL_REDIRECT=True)
    def test_a_probe_from_within_is_not_sent_away(self, client: Client, path: str) -> None:
        tasks.beat()

        assert client.get(path).status_code == 200

    def test_healthz_needs_no_database(self, client: Client) -> None:
        with patch("commerce.health.connection.cursor", side_effect=OperationalError):
            assert client.get("/healthz").json() == {"status": "ok"}
