import json
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from commerce import idempotency, tasks, tokens
from commerce.models import ApiToken, IdempotencyRecord
from inventory.models import Warehouse

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.commerce.urls")]

BASKET = {"email": "ada@example.com", "lines": [{"sku": "MUG", "quantity": 1}]}
Post = Callable[..., Any]


@pytest.fixture
def post(client: Client) -> Post:
    client.raise_request_exception = False

    def send(key: str = "key-1", *, body: object = BASKET, url: str = "/api/v1/baskets/", token: str = "") -> Any:
        headers = {"Idempotency-Key": key} | ({"Authorization": f"Bearer {token}"} if token else {})
        return client.post(url, json.dumps(body), content_type="application/json", headers=headers)

    return send


class TestTheSameKey:
    def test_gets_the_first_answer_again_and_has_one_effect(self, post: Post) -> None:
        first = post()
        again = post()

        assert (again.status_code, again.content) == (first.status_code, first.content) == (201, b'{"code":"W0"}')
        assert again["Content-Type"] == "application/json"
        assert ("Idempotency-Replayed" in first, again["Idempotency-Replayed"]) == (False, "true")
        assert Warehouse.objects.count() == 1

    def test_has_its_answer_encrypted_at_rest(self, post: Post) -> None:
        post()

        with connection.cursor() as cursor:
            cursor.execute("SELECT body FROM commerce_idempotencyrecord")
            (kept,) = cursor.fetchone()
        assert '"W0"' not in str(kept)

    def test_gets_a_refusal_again_too(self, post: Post) -> None:
        first = post(url="/api/v1/baskets/?then=sold_out")
        again = post(url="/api/v1/baskets/?then=sold_out")

        assert (again.status_code, again.content) == (first.status_code, first.content)
        assert again["Content-Type"] == "application/problem+json"
        assert again.json()["code"] == "sold_out"

    def test_is_refused_with_another_body(self, post: Post) -> None:
        post()
        answer = post(body={**BASKET, "email": "bob@example.com"})

        assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
        assert Warehouse.objects.count() == 1

    def test_is_refused_at_another_address(self, post: Post) -> None:
        post()

        assert post(url="/api/v1/talk/").status_code == 422

    def test_of_another_token_is_another_key(self, post: Post) -> None:
        codes = [post(token=tokens.issue(name, scopes=["orders"])).json()["code"] for name in ("a", "b")]

        assert codes == ["W0", "W1"]

    def test_of_another_address_is_another_key_where_there_is_no_token(self, client: Client) -> None:
        def shop(address: str, email: str) -> Any:
            body = json.dumps(BASKET | {"email": email})
            headers = {"Idempotency-Key": "1"}
            return client.post("/api/v1/baskets/", body, "application/json", headers=headers, REMOTE_ADDR=address)

        answers = [shop(address, f"{address[-1]}@example.com") for address in ("192.0.2.1", "2001:db8::2", "192.0.2.1")]

        assert [answer.json()["code"] for answer in answers] == ["W0", "W1", "W0"]
        assert [answer.get("Idempotency-Replayed") for answer in answers] == [None, None, "true"]

    def test_of_a_token_is_the_same_from_any_address(self, client: Client) -> None:
        headers = {"Idempotency-Key": "1", "Authorization": f"Bearer {tokens.issue('a', scopes=['orders'])}"}

        answers = [
            client.post("/api/v1/baskets/", BASKET, "application/json", headers=headers, REMOTE_ADDR=address)
            for address in ("192.0.2.1", "192.0.2.2")
        ]

        assert [answer.json()["code"] for answer in answers] == ["W0", "W0"]

    def test_is_forgotten_after_a_day(self, post: Post) -> None:
        post()
        IdempotencyRecord.objects.update(started_at=timezone.now() - timedelta(hours=24))

        answer = post(body={**BASKET, "email": "bob@example.com"})

        assert answer.json() == {"code": "W1"}

    def test_of_a_revoked_token_gets_nothing(self, post: Post) -> None:
        secret = tokens.issue("a", scopes=["orders"])
        post(token=secret)
        ApiToken.objects.update(revoked=True)

        assert post(token=secret).status_code == 401


class TestARunningRequest:
    def running(self, **values: Any) -> None:
        IdempotencyRecord.objects.update(status_code=None, **values)

    def test_answers_conflict_to_the_same_key(self, post: Post) -> None:
        post()
        self.running()

        answer = post()

        assert (answer.status_code, answer.json()["code"]) == (409, "request_in_progress")
        assert answer["Retry-After"] == "1"
        assert Warehouse.objects.count() == 1

    def test_is_given_up_when_its_process_must_have_died(self, post: Post) -> None:
        post()
        self.running(started_at=timezone.now() - idempotency.LOST_AFTER)

        assert post().json() == {"code": "W1"}

    def test_that_was_overtaken_leaves_no_effect(self, post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
        def overtake(*args: Any) -> None:
            IdempotencyRecord.objects.update(started_at=timezone.now())
            keep(*args)

        keep = idempotency._keep
        monkeypatch.setattr(idempotency, "_keep", overtake)

        answer = post()

        assert (answer.status_code, answer.json()["code"]) == (409, "request_in_progress")
        assert not Warehouse.objects.exists()


class TestWhatIsNotKept:
    def test_a_server_error_leaves_neither_answer_nor_effect(self, post: Post) -> None:
        answer = post(url="/api/v1/baskets/?then=broken")

        assert answer.status_code == 500
        assert not IdempotencyRecord.objects.exists()
        assert not Warehouse.objects.exists()

    def test_a_missing_scope_can_be_mended(self, post: Post) -> None:
        secret = tokens.issue("a", scopes=["orders"])
        assert post(url="/api/v1/guarded/", token=secret).status_code == 403
        ApiToken.objects.update(scopes=["payments"])

        assert post(url="/api/v1/guarded/", token=secret).status_code == 201

    def test_without_a_key_nothing_is(self, client: Client) -> None:
        codes = [client.post("/api/v1/baskets/", BASKET, "application/json").json()["code"] for _ in range(2)]

        assert codes == ["W0", "W1"]
        assert not IdempotencyRecord.objects.exists()

    def test_inbound_messages_have_their_own_way(self, post: Post) -> None:
        codes = [post(url="/api/v1/inbound/baskets/").json()["code"] for _ in range(2)]

        assert codes == ["W0", "W1"]

    @pytest.mark.parametrize("key", ["", "a b", "é", "x" * 256])
    def test_a_key_that_is_none_is_refused(self, post: Post, key: str) -> None:
        answer = post(key)

        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_idempotency_key")
        assert not Warehouse.objects.exists()

    def test_old_answers_are_cleared_away(self, post: Post) -> None:
        post("old")
        IdempotencyRecord.objects.update(started_at=timezone.now() - IdempotencyRecord.KEPT_FOR - timedelta(seconds=1))
        post("new")

        tasks.forget_old_answers()

        assert [record.key for record in IdempotencyRecord.objects.all()] == ["new"]


@pytest.mark.django_db(transaction=True)
class TestTransactions:
    def test_a_view_that_speaks_http_runs_outside_of_any(self, post: Post) -> None:
        assert post(url="/api/v1/talk/").json() == {"in_transaction": False}

    def test_equal_requests_at_once_have_one_effect(self) -> None:
        barrier = threading.Barrier(8)
        answers: list[tuple[int, str]] = []

        def send() -> None:
            barrier.wait()
            answer = Client().post("/api/v1/baskets/", BASKET, "application/json", headers={"Idempotency-Key": "same"})
            answers.append((answer.status_code, answer.json()["code"]))
            connection.close()

        threads = [threading.Thread(target=send) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert Warehouse.objects.count() == 1
        assert set(answers) <= {(201, "W0"), (409, "request_in_progress")}
        assert (201, "W0") in answers
