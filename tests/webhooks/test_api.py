"""Subscriptions, event types and the delivery log by REST (spec/interface.md)."""

from datetime import datetime
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from pytest_django import DjangoAssertNumQueries

from commerce import tokens
from tests.receiver import Answer, Receiver
from webhooks import subscriptions, transport
from webhooks.models import Delivery, Subscription
from webhooks.signing import public_key

pytestmark = pytest.mark.django_db

BASE = "/api/v1/webhooks/"
LIST = f"{BASE}subscriptions/"
MASK = "••••••••"


@pytest.fixture
def api() -> Client:
    secret = tokens.issue("OMS", scopes=["webhooks"])
    return Client(headers={"Authorization": f"Bearer {secret}"})


def post(api: Client, url: str, data: Any = None) -> Any:
    return api.post(url, data, content_type="application/json")


def patch(api: Client, url: str, data: Any) -> Any:
    return api.patch(url, data, content_type="application/json")


def wishes(receiver: Receiver, **more: Any) -> dict[str, Any]:
    return {"name": "OMS", "url": receiver.url, "event_types": ["order.*"]} | more


@pytest.fixture
def subscription(receiver: Receiver, now: datetime) -> Subscription:
    return subscriptions.create(
        name="OMS", url=receiver.url, event_types=["order.*"], headers={"X-Key": "s3cret"}, by="ann", now=now
    )


class TestSubscriptions:
    def test_are_made_active_and_tell_the_secret_in_this_answer_only(self, api: Client, receiver: Receiver) -> None:
        made = post(api, LIST, wishes(receiver, headers={"X-Key": "s3cret"}, retry_schedule=[1, 60], max_in_flight=2))

        row = Subscription.objects.get()
        assert made.status_code == 201
        assert made.json() == {
            "id": row.public_id,
            "name": "OMS",
            "url": receiver.url,
            "event_types": ["order.*"],
            "conditions": [],
            "compact": False,
            "headers": {"X-Key": MASK},
            "ordering": "best_effort",
            "retry_schedule": [1, 60],
            "max_in_flight": 2,
            "max_per_second": None,
            "state": "active",
            "state_reason": "",
            "state_changed_at": f"{row.state_changed_at:%Y-%m-%dT%H:%M:%S.%f}Z",
            "created_at": f"{row.created_at:%Y-%m-%dT%H:%M:%S.%f}Z",
            "secrets": [
                {
                    "signature": "v1",
                    "public_key": None,
                    "created_at": f"{row.created_at:%Y-%m-%dT%H:%M:%S.%f}Z",
                    "expires_at": None,
                }
            ],
            "secret": row.secrets[0]["secret"],
        }
        assert row.headers == {"X-Key": "s3cret"}
        assert row.state_changed_by == "OMS"
        for answer in (api.get(LIST), api.get(f"{LIST}{row.public_id}/")):
            assert "whsec_" not in answer.content.decode()
            assert "s3cret" not in answer.content.decode()

    def test_are_changed_field_by_field(self, api: Client, subscription: Subscription) -> None:
        answer = patch(api, f"{LIST}{subscription.public_id}/", {"event_types": ["*"], "ordering": "strict"})

        subscription.refresh_from_db()
        assert answer.status_code == 200
        assert (subscription.event_types, subscription.ordering, subscription.name) == (["*"], "strict", "OMS")

    def test_conditions_and_latest_wins_are_kept_and_shown(self, api: Client, receiver: Receiver) -> None:
        asked = [
            {"field": "channel", "operator": "in", "value": ["pos", "web"]},
            {"field": "total_amount", "operator": "gte", "value": "49.90"},
            {"field": "warehouse_code", "operator": "ne", "value": None},
        ]

        made = post(api, LIST, wishes(receiver, conditions=asked, compact=True))
        changed = patch(api, f"{LIST}{made.json()['id']}/", {"conditions": asked[:1], "compact": False})

        assert (made.status_code, made.json()["conditions"], made.json()["compact"]) == (201, asked, True)
        assert (changed.json()["conditions"], changed.json()["compact"]) == (asked[:1], False)
        assert Subscription.objects.get().conditions == asked[:1]

    def test_events_are_not_changed_so_that_a_condition_loses_its_field(
        self, api: Client, receiver: Receiver, subscription: Subscription
    ) -> None:
        url = f"{LIST}{subscription.public_id}/"
        patch(api, url, {"conditions": [{"field": "channel", "operator": "eq", "value": "pos"}]})

        refused = patch(api, url, {"event_types": ["product.*"]})
        both = patch(api, url, {"event_types": ["product.*"], "conditions": []})

        (error,) = refused.json()["errors"]
        assert (error["field"], error["code"]) == ("conditions", "invalid_subscription")
        assert "none of the chosen events has a field 'channel'" in error["detail"]
        assert both.status_code == 200

    def test_a_mask_that_is_written_back_keeps_the_value(self, api: Client, subscription: Subscription) -> None:
        url = f"{LIST}{subscription.public_id}/"
        patch(api, url, {"headers": api.get(url).json()["headers"] | {"X-New": "1"}})

        subscription.refresh_from_db()
        assert subscription.headers == {"X-Key": "s3cret", "X-New": "1"}

    def test_are_deleted(self, api: Client, subscription: Subscription) -> None:
        assert api.delete(f"{LIST}{subscription.public_id}/").status_code == 204
        assert Subscription.objects.count() == 0

    def test_pause_resume_and_rotate(self, api: Client, subscription: Subscription, now: datetime) -> None:
        url = f"{LIST}{subscription.public_id}/"
        old = subscription.secrets[0]["secret"]

        assert post(api, f"{url}pause/").json()["state"] == "paused"
        assert post(api, f"{url}resume/").json()["state"] == "active"
        rotated = post(api, f"{url}rotate-secret/")

        subscription.refresh_from_db()
        assert rotated.status_code == 200
        assert subscription.live_secrets(now=now) == [rotated.json()["secret"], old]

    def test_show_the_ends_of_their_secrets_until_the_old_ones_are_revoked(
        self, api: Client, subscription: Subscription
    ) -> None:
        url = f"{LIST}{subscription.public_id}/"
        rotated = post(api, f"{url}rotate-secret/").json()

        assert [key["expires_at"] is None for key in api.get(url).json()["secrets"]] == [True, False]
        revoked = post(api, f"{url}revoke-old-secrets/")
        again = post(api, f"{url}revoke-old-secrets/")

        subscription.refresh_from_db()
        assert revoked.json()["secrets"] == rotated["secrets"][:1]
        assert "whsec_" not in revoked.content.decode()
        assert [kept["secret"] for kept in subscription.secrets] == [rotated["secret"]]
        assert (again.status_code, again.json()["code"]) == (409, "subscription_conflict")

    def test_sign_with_a_key_pair_whose_public_half_alone_is_told(self, api: Client, receiver: Receiver) -> None:
        made = post(api, LIST, wishes(receiver, signature="v1a"))

        row = Subscription.objects.get()
        [key] = made.json()["secrets"]
        assert (made.status_code, made.json()["secret"]) == (201, None)
        assert (key["signature"], key["public_key"]) == ("v1a", public_key(row.secrets[0]["secret"]))
        assert "whsk_" not in made.content.decode()

    def test_change_to_a_key_pair_and_back_by_rotation(self, api: Client, subscription: Subscription) -> None:
        url = f"{LIST}{subscription.public_id}/rotate-secret/"

        to_pair = post(api, url, {"signature": "v1a"}).json()
        kept = post(api, url).json()
        back = post(api, url, {"signature": "v1"}).json()

        assert [key["signature"] for key in to_pair["secrets"]] == ["v1a", "v1"]
        assert [key["signature"] for key in kept["secrets"]] == ["v1a", "v1a", "v1"]
        assert [key["signature"] for key in back["secrets"]] == ["v1", "v1a", "v1a", "v1"]
        assert (to_pair["secret"], kept["secret"]) == (None, None)
        assert back["secret"].startswith("whsec_")

    @pytest.mark.parametrize("junk", [{"signature": "v2"}, {"signature": None}, {"kind": "v1a"}])
    def test_are_not_rotated_by_junk(self, api: Client, subscription: Subscription, junk: dict[str, Any]) -> None:
        answer = post(api, f"{LIST}{subscription.public_id}/rotate-secret/", junk)

        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, next(iter(junk)))
        assert len(Subscription.objects.get().secrets) == 1

    def test_a_verb_that_does_not_fit_is_a_conflict(self, api: Client, subscription: Subscription) -> None:
        answer = post(api, f"{LIST}{subscription.public_id}/resume/")

        assert (answer.status_code, answer.json()["code"]) == (409, "subscription_conflict")
        assert "is active" in answer.json()["detail"]

    def test_the_test_event_answers_with_what_came_of_it(
        self, api: Client, receiver: Receiver, subscription: Subscription
    ) -> None:
        receiver.answers = [Answer(401, b"who are you?")]

        answer = post(api, f"{LIST}{subscription.public_id}/test/").json()

        assert (answer["event_type"], answer["attempt_count"]) == ("webhook.test", 1)
        (attempt,) = answer["attempts"]
        assert (attempt["status_code"], attempt["reason"]) == (401, "http_4xx")
        assert attempt["response_body"] == "who are you?"

    def test_the_doctor_answers_with_what_is_wrong(
        self, api: Client, receiver: Receiver, subscription: Subscription
    ) -> None:
        answer = post(api, f"{LIST}{subscription.public_id}/doctor/")

        examined = answer.json()
        assert (answer.status_code, examined["ok"]) == (200, False)
        assert [(each["check"], each["ok"]) for each in examined["findings"]] == [
            ("name", True),
            ("redirects", True),
            ("latency", True),
            ("good", True),
            ("tampered", False),
            ("stale", False),
            ("repeated", True),
        ]
        assert "anybody can forge events" in examined["findings"][4]["words"]
        assert isinstance(examined["findings"][0]["duration_ms"], int)
        assert "whsec_" not in answer.content.decode()
        assert not Delivery.objects.exists()

    @pytest.mark.django_db(transaction=True)
    def test_the_doctor_speaks_http_outside_of_any_transaction(
        self, api: Client, subscription: Subscription, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        send, was_in_one = transport.post, []

        def post_watched(*args: Any, **named: Any) -> transport.Outcome:
            was_in_one.append(connection.in_atomic_block)
            return send(*args, **named)

        monkeypatch.setattr(transport, "post", post_watched)

        answer = api.post(f"{LIST}{subscription.public_id}/doctor/", headers={"Idempotency-Key": "k1"})

        assert answer.status_code == 200
        assert was_in_one == [False] * 5

    def test_drafts_are_the_admins_own(self, api: Client) -> None:
        draft = subscriptions.start_draft(User.objects.create_user("ann"))

        assert api.get(LIST).json()["results"] == []
        assert api.get(f"{LIST}{draft.public_id}/").status_code == 404

    def test_list_costs_the_same_with_many(
        self, api: Client, receiver: Receiver, now: datetime, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        for number in range(8):
            subscriptions.create(name=f"{number}", url=receiver.url, event_types=["*"], headers={}, by="ann", now=now)

        with django_assert_num_queries(2):
            assert len(api.get(LIST).json()["results"]) == 8


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"name": None}, "name"),
    ({"name": ""}, "name"),
    ({"name": "x" * 101}, "name"),
    ({"name": "a\x00b"}, "name"),
    ({"name": ["a"]}, "name"),
    ({"url": 7}, "url"),
    ({"url": "example"}, "url"),
    ({"url": "http://10.0.0.1/"}, "url"),
    ({"url": "http://[::1"}, "url"),
    ({"url": "https://ann:pw@127.0.0.1/"}, "url"),
    ({"url": "http://127.0.0.1/" + "x" * 2000}, "url"),
    ({"event_types": []}, "event_types"),
    ({"event_types": "order.*"}, "event_types"),
    ({"event_types": ["order.eaten"]}, "event_types"),
    ({"event_types": [{"a": 1}]}, "event_types.0"),
    ({"event_types": None}, "event_types"),
    ({"headers": []}, "headers"),
    ({"headers": {"Host": "evil.example"}}, "headers"),
    ({"headers": {"webhook-id": "x"}}, "headers"),
    ({"headers": {"X-A": "1\r\nX-B: 2"}}, "headers"),
    ({"headers": {"X-A": "1", "x-a": "2"}}, "headers"),
    ({"headers": {"X A": "1"}}, "headers"),
    ({"headers": {"X-A": MASK}}, "headers"),
    ({"headers": {"X-A": None}}, "headers.X-A"),
    ({"headers": {"X-A": {"b": 1}}}, "headers.X-A"),
    ({"ordering": "random"}, "ordering"),
    ({"retry_schedule": []}, "retry_schedule"),
    ({"retry_schedule": [0]}, "retry_schedule"),
    ({"retry_schedule": [10**9]}, "retry_schedule"),
    ({"retry_schedule": [1] * 51}, "retry_schedule"),
    ({"retry_schedule": ["soon"]}, "retry_schedule.0"),
    ({"retry_schedule": "5"}, "retry_schedule"),
    ({"max_in_flight": 0}, "max_in_flight"),
    ({"max_in_flight": 101}, "max_in_flight"),
    ({"max_in_flight": True}, "max_in_flight"),
    ({"state": "active"}, "state"),
    ({"id": "sub_x"}, "id"),
    ({"secret": "whsec_mine"}, "secret"),
    ({"secrets": []}, "secrets"),
    ({"signature": "v2"}, "signature"),
    ({"max_per_second": 0}, "max_per_second"),
    ({"max_per_second": 1001}, "max_per_second"),
    ({"conditions": {}}, "conditions"),
    ({"conditions": [{"field": "channel", "operator": "eq"}]}, "conditions.0.value"),
    ({"conditions": [{"field": "channel", "operator": "like", "value": "x"}]}, "conditions.0.operator"),
    ({"conditions": [{"field": "channel", "operator": "lt", "value": "x"}]}, "conditions"),
    ({"conditions": [{"field": "available", "operator": "lt", "value": 5}]}, "conditions"),
    ({"conditions": [{"field": "channel", "operator": "eq", "value": "x\x00"}]}, "conditions"),
    ({"conditions": [{"field": "channel", "operator": "eq", "value": "x", "and": 1}]}, "conditions.0.and"),
    ({"conditions": None}, "conditions"),
    ({"compact": "perhaps"}, "compact"),
    ({"compact": None}, "compact"),
    ({"nmae": "typo"}, "nmae"),
]


class TestRefusals:
    @pytest.mark.parametrize(("wrong", "field"), WRONG)
    def test_name_the_field_and_write_nothing(
        self, api: Client, receiver: Receiver, subscription: Subscription, wrong: dict[str, Any], field: str
    ) -> None:
        before = Subscription.objects.values().get()

        made = post(api, LIST, wishes(receiver) | wrong)
        changed = patch(api, f"{LIST}{subscription.public_id}/", {"name": "New"} | wrong)

        for answer in (made, changed):
            assert answer.status_code == 400
            assert answer["Content-Type"] == "application/problem+json"
            assert field in [error["field"] for error in answer.json()["errors"]]
        assert Subscription.objects.values().get() == before

    @pytest.mark.parametrize("body", ["[]", '"text"', "7", "null", "{", "", '{"name": "\\ud800"}'])
    def test_of_what_is_no_object(self, api: Client, body: str) -> None:
        answer = post(api, LIST, body)

        assert answer.status_code == 400
        assert Subscription.objects.count() == 0

    @pytest.mark.parametrize("missing", ["name", "url", "event_types"])
    def test_of_what_is_missing(self, api: Client, receiver: Receiver, missing: str) -> None:
        given = {name: value for name, value in wishes(receiver).items() if name != missing}

        assert [error["field"] for error in post(api, LIST, given).json()["errors"]] == [missing]

    @pytest.mark.parametrize("path", ["subscriptions/", "event-types/", "deliveries/"])
    def test_without_the_scope(self, client: Client, path: str) -> None:
        other = tokens.issue("Shop", scopes=["storefront"])

        assert client.get(BASE + path).status_code == 401
        assert client.get(BASE + path, headers={"Authorization": f"Bearer {other}"}).status_code == 403

    @pytest.mark.parametrize("verb", ["test", "doctor", "rotate-secret", "revoke-old-secrets", "pause", "resume"])
    def test_of_verbs_on_what_is_not_there_or_by_get(self, api: Client, subscription: Subscription, verb: str) -> None:
        assert post(api, f"{LIST}sub_nothing/{verb}/").status_code == 404
        assert api.get(f"{LIST}{subscription.public_id}/{verb}/").status_code == 405

    def test_of_put(self, api: Client, subscription: Subscription) -> None:
        assert api.put(f"{LIST}{subscription.public_id}/", {}, content_type="application/json").status_code == 405


class TestEventTypes:
    def test_come_with_a_schema_and_an_example_that_fits_it(self, api: Client) -> None:
        listed = {each["name"]: each for each in api.get(f"{BASE}event-types/").json()["results"]}

        shipped = listed["order.shipped"]
        assert {"order.created", "payment.failed", "inventory.updated", "webhook.test"} <= set(listed)
        assert (shipped["subject"], shipped["schema"]["title"]) == ("order", "order.shipped")
        snapshots = {name for name, each in listed.items() if each["is_snapshot"]}
        assert snapshots == {"inventory.updated", "product.updated", "customer.updated"}
        Draft202012Validator(shipped["schema"]).validate(shipped["example"])
