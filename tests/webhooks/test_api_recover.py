"""Recovering since a moment by REST: counted, started, followed."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from commerce import tokens
from tests.webhooks.factories import happen, make_subscription
from webhooks import replay
from webhooks.models import Delivery, Event, Replay, Subscription

pytestmark = pytest.mark.django_db


@pytest.fixture
def api() -> Client:
    secret = tokens.issue("OMS", scopes=["webhooks"])
    return Client(headers={"Authorization": f"Bearer {secret}"})


@pytest.fixture
def url() -> str:
    """Of a subscription with one parked delivery."""
    subscription = make_subscription()
    happen()
    Delivery.objects.update(state="parked", next_attempt_at=None)
    return f"/api/v1/webhooks/subscriptions/{subscription.public_id}/recover/"


def post(api: Client, url: str, data: Any) -> Any:
    return api.post(url, data, content_type="application/json")


class TestRecover:
    def test_counts_without_starting(self, api: Client, url: str) -> None:
        answer = post(api, url, {"since": "2020-01-01T00:00:00Z", "dry_run": True})

        assert answer.status_code == 200
        assert answer.json() == {
            "id": None,
            "kind": "failed",
            "since": "2020-01-01T00:00:00.000000Z",
            "until": None,
            "count": 1,
            "is_exact": True,
            "done": 0,
            "left_out": None,
            "started_by": "",
            "started_at": None,
            "finished_at": None,
            "cancelled_by": "",
        }
        assert not Replay.objects.exists()

    def test_starts_and_shows_how_far_it_has_come(self, api: Client, url: str, now: datetime) -> None:
        answer = post(api, url, {"since": "2020-01-01T00:00:00Z"})
        replay.advance_one(Replay.objects.get().pk, now=now)

        (shown,) = api.get(url).json()["results"]
        assert (answer.status_code, answer.json()["count"], answer.json()["done"]) == (202, 1, 0)
        assert (shown["count"], shown["done"], shown["started_by"]) == (1, 1, "OMS")
        assert shown["finished_at"] is not None

    def test_sends_what_it_never_had(self, api: Client, url: str) -> None:
        Delivery.objects.all().delete()
        Event.objects.update(type="order.created")

        answer = post(api, url, {"since": "2020-01-01T00:00:00Z", "kind": "missing"})

        assert answer.json()["count"] == 1
        assert Replay.objects.get().kind == "missing"

    def test_ends_before_until(self, api: Client, url: str) -> None:
        at = Delivery.objects.get().created_at

        for until, count in ((at, 0), (at + timedelta(seconds=1), 1)):
            body = {"since": "2020-01-01T00:00:00Z", "until": until.isoformat(), "dry_run": True}
            assert post(api, url, body).json()["count"] == count

    def test_counts_no_further_than_it_has_time_for(
        self, api: Client, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(replay, "COUNTED_TO", 1)

        told = post(api, url, {"since": "2020-01-01T00:00:00Z", "dry_run": True}).json()

        assert (told["count"], told["is_exact"]) == (1, False)

    def test_says_what_it_leaves_out(self, api: Client, url: str, now: datetime) -> None:
        Subscription.objects.update(pruned_from=now - timedelta(days=50), pruned_until=now - timedelta(days=30))
        since = now - timedelta(days=40)

        answer = post(api, url, {"since": since.isoformat(), "kind": "missing", "dry_run": True})

        told = {name: datetime.fromisoformat(moment) for name, moment in answer.json()["left_out"].items()}
        assert told == {"since": since, "until": now - timedelta(days=30)}

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({}, "since"),
            ({"since": "yesterday"}, "since"),
            ({"since": "2020-01-01T00:00:00Z", "kind": "all"}, "kind"),
            ({"since": "2020-01-01T00:00:00Z", "kind": "skipped"}, "kind"),
            ({"since": "2020-01-01T00:00:00Z", "until": "2020-01-01T00:00:00Z"}, "until"),
        ],
    )
    def test_refuses_what_makes_no_sense(self, api: Client, url: str, body: dict[str, Any], field: str) -> None:
        answer = post(api, url, body)

        assert answer.status_code == 400
        assert answer.json()["errors"][0]["field"] == field
        assert not Replay.objects.exists()


class TestCancel:
    def test_ends_a_run_by_its_id(self, api: Client, url: str, now: datetime) -> None:
        started = post(api, url, {"since": "2020-01-01T00:00:00Z"}).json()

        answer = post(api, f"{url}{started['id']}/cancel/", None)

        assert answer.status_code == 200
        told = answer.json()
        assert (told["id"], told["done"], told["cancelled_by"]) == (started["id"], 0, "OMS")
        assert told["finished_at"] is not None
        replay.advance_one(Replay.objects.get().pk, now=now)
        assert Delivery.objects.get().state == "parked"

    def test_refuses_one_that_has_ended(self, api: Client, url: str) -> None:
        started = post(api, url, {"since": "2020-01-01T00:00:00Z"}).json()
        post(api, f"{url}{started['id']}/cancel/", None)

        answer = post(api, f"{url}{started['id']}/cancel/", None)

        assert (answer.status_code, answer.json()["code"]) == (409, "replay_refused")

    def test_finds_only_the_subscriptions_own(self, api: Client, url: str) -> None:
        started = post(api, url, {"since": "2020-01-01T00:00:00Z"}).json()
        other = make_subscription(name="Other")

        path = f"/api/v1/webhooks/subscriptions/{other.public_id}/recover/{started['id']}/cancel/"
        assert post(api, path, None).status_code == 404
        assert Replay.objects.get().finished_at is None
