from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest
from django.db import OperationalError
from django.test import Client
from django.utils import timezone

from commerce import tasks
from commerce.models import Heartbeat

pytestmark = pytest.mark.django_db


def ready(client: Client) -> tuple[int, dict[str, Any]]:
    answer = client.get("/readyz")
    return answer.status_code, answer.json()["checks"]


class TestReadyz:
    def test_is_ready_when_all_is_there(self, client: Client) -> None:
        tasks.beat()

        assert ready(client) == (200, {"database": "ok", "migrations": "ok", "queue": "ok"})

    def test_says_that_no_cluster_has_ever_run(self, client: Client) -> None:
        status, checks = ready(client)

        assert (status, checks["queue"]) == (503, "no queue cluster has ever run: start manage.py qcluster")

    def test_says_for_how_long_the_cluster_has_been_silent(self, client: Client) -> None:
        Heartbeat.objects.create(pk=Heartbeat.THE_ONE, at=timezone.now() - timedelta(seconds=90))

        status, checks = ready(client)

        assert (status, checks["queue"]) == (503, "no queue cluster has been heard of for 90 s")

    def test_beats_are_one_row(self) -> None:
        tasks.beat()
        tasks.beat()

        assert Heartbeat.objects.count() == 1

    def test_says_that_the_database_does_not_answer(self, client: Client) -> None:
        with patch("commerce.health.connection.cursor", side_effect=OperationalError("password of nobody")):
            status, checks = ready(client)

        assert (status, checks["database"]) == (503, "the database does not answer")

    def test_healthz_needs_no_database(self, client: Client) -> None:
        with patch("commerce.health.connection.cursor", side_effect=OperationalError):
            assert client.get("/healthz").json() == {"status": "ok"}
