import json
from typing import Any

import pytest
from django.test import Client, override_settings

from inventory.models import Warehouse

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.commerce.urls")]

BASKETS = "/api/v1/baskets/"
LINE = {"sku": "MUG", "quantity": 1}
BASKET = {"email": "ada@example.com", "lines": [LINE]}


@pytest.fixture
def client() -> Client:
    return Client(raise_request_exception=False)


def with_line(**values: object) -> bytes:
    return json.dumps({**BASKET, "lines": [{**LINE, **values}]}).encode()


def assert_problem(answer: Any, status: int, code: str) -> dict[str, Any]:
    assert answer["Content-Type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert (answer.status_code, problem["status"], problem["code"]) == (status, status, code)
    assert problem["type"] == f"urn:commerce-engine:problem:{code}"
    assert problem["title"]
    assert problem["detail"]
    return problem


class TestMalformedBodies:
    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{",
            b'{"email": "ada@example.com",}',
            b"email=ada",
            b'{"email": NaN}',
            b'{"email": Infinity}',
            b'"\xff\xfe"',
            b'{"email": "\\ud800"}',
            b'{"\\ud800": 1}',
            b"[" * 100_000,
            b'{"a":' * 100_000,
            b"[" * 5_000 + b"]" * 5_000,
            b'{"quantity": ' + b"9" * 5_000 + b"}",
        ],
        ids=lambda body: repr(body[:20]),
    )
    def test_are_refused_as_such(self, client: Client, body: bytes) -> None:
        answer = client.post(BASKETS, body, "application/json")

        if body:
            assert_problem(answer, 400, "malformed_request")
        else:
            assert_problem(answer, 400, "validation_error")
        assert not Warehouse.objects.exists()

    @pytest.mark.parametrize("content_type", ["text/plain", "application/xml", "multipart/form-data", "x"])
    def test_of_another_type_are_refused(self, client: Client, content_type: str) -> None:
        assert_problem(client.post(BASKETS, b"a=b", content_type), 415, "unsupported_media_type")

    def test_in_an_unknown_charset_are_refused(self, client: Client) -> None:
        answer = client.generic("POST", BASKETS, b"{}", "application/json; charset=bz2")

        assert_problem(answer, 400, "malformed_request")

    def test_that_are_too_large_are_refused_unread(self, client: Client) -> None:
        assert_problem(client.post(BASKETS, b" " * 1_048_577, "application/json"), 413, "body_too_large")

    def test_of_unknown_length_are_refused(self, client: Client) -> None:
        answer = client.post(BASKETS, b"", "application/json", headers={"Transfer-Encoding": "chunked"})

        assert_problem(answer, 411, "length_required")


class TestWrongFields:
    @pytest.mark.parametrize(
        ("body", "field", "code"),
        [
            (b"{}", "email", "required"),
            (b'{"email": null, "lines": []}', "email", "null"),
            (b'{"email": "ada", "lines": []}', "email", "invalid"),
            (b'{"email": {"a": 1}, "lines": []}', "email", "invalid"),
            (b'{"email": "a@b.de", "lines": {}}', "lines", "not_a_list"),
            (b'{"email": "a@b.de", "lines": []}', "lines", "empty"),
            (b'{"email": "a@b.de", "lines": [7]}', "lines.0", "invalid"),
            (b"[]", None, "invalid"),
            (b"7", None, "invalid"),
            (b"null", None, "null"),
            (with_line(quantity=0), "lines.0.quantity", "min_value"),
            (with_line(quantity="two"), "lines.0.quantity", "invalid"),
            (with_line(quantity=1.5), "lines.0.quantity", "invalid"),
            (with_line(quantity=True), "lines.0.quantity", "invalid"),
            (with_line(quantity="9" * 2_000), "lines.0.quantity", "max_string_length"),
            (with_line(sku=""), "lines.0.sku", "blank"),
            (with_line(sku="x" * 11), "lines.0.sku", "max_length"),
            (with_line(sku="a\x00b"), "lines.0.sku", "null_characters_not_allowed"),
            (with_line(sku=["a"]), "lines.0.sku", "invalid"),
        ],
    )
    def test_are_named_with_a_dotted_path(self, client: Client, body: bytes, field: str | None, code: str) -> None:
        answer = client.post(BASKETS, body, "application/json")

        problem = assert_problem(answer, 400, "validation_error")
        assert (problem["errors"][0]["field"], problem["errors"][0]["code"]) == (field, code)
        assert not Warehouse.objects.exists()

    def test_are_all_told_at_once(self, client: Client) -> None:
        body = {"email": "ada", "lines": [LINE, {"sku": "", "quantity": 0}]}
        answer = client.post(BASKETS, body, "application/json")

        problem = assert_problem(answer, 400, "validation_error")
        assert [error["field"] for error in problem["errors"]] == ["email", "lines.1.sku", "lines.1.quantity"]
        assert problem["detail"] == "email: Enter a valid email address. (and 2 more)"

    def test_a_rule_about_the_whole_has_no_field(self, client: Client) -> None:
        answer = client.post(BASKETS, {**BASKET, "email": "nobody@example.com"}, "application/json")

        problem = assert_problem(answer, 400, "validation_error")
        assert problem["errors"] == [{"field": None, "code": "nobody", "detail": "Nobody may not buy."}]


class TestDomainErrors:
    def test_bring_their_code_words_and_items(self, client: Client) -> None:
        answer = client.post(f"{BASKETS}?then=sold_out", BASKET, "application/json")

        problem = assert_problem(answer, 422, "sold_out")
        assert (problem["title"], problem["detail"]) == ("Sold out", "All gone.")
        assert problem["errors"] == [{"sku": "A", "requested": 2, "available": 0}]

    def test_a_row_that_is_not_there_is_not_found(self, client: Client) -> None:
        assert_problem(client.post(f"{BASKETS}?then=missing", BASKET, "application/json"), 404, "not_found")


class TestAddresses:
    @pytest.mark.parametrize("debug", [False, True])
    @pytest.mark.parametrize("path", ["/api/", "/api/v1/nothing/", "/api/v2/baskets/", "/api/v1/baskets/7/"])
    def test_that_lead_nowhere(self, client: Client, path: str, debug: bool) -> None:
        with override_settings(DEBUG=debug):
            assert_problem(client.get(path), 404, "not_found")

    def test_that_lead_nowhere_say_so_to_a_post_as_well(self) -> None:
        answer = Client(enforce_csrf_checks=True).post("/api/v1/nothing/", {}, "application/json")

        assert_problem(answer, 404, "not_found")

    def test_that_lack_their_last_slash_are_told_so(self, client: Client) -> None:
        problem = assert_problem(client.post(BASKETS[:-1], BASKET, "application/json"), 404, "not_found")

        assert problem["detail"].endswith("Did you mean /api/v1/baskets/ with a slash at the end?")

    @pytest.mark.parametrize("path", ["/api/v1/%00/", "/api/v1/warehouses/?code=%00", "/api/v1/warehouses/?%00=1"])
    def test_that_hold_a_nul_are_refused(self, client: Client, path: str) -> None:
        assert_problem(client.get(path), 400, "malformed_request")

    @pytest.mark.parametrize("debug", [False, True])
    def test_of_another_host_are_refused(self, client: Client, debug: bool) -> None:
        with override_settings(DEBUG=debug, ALLOWED_HOSTS=["shop.example.com"]):
            assert_problem(client.get("/api/v1/warehouses/", headers={"Host": ";bad"}), 400, "unknown_host")

    @pytest.mark.parametrize("method", ["get", "put", "patch", "delete"])
    def test_do_only_what_they_say(self, client: Client, method: str) -> None:
        answer = getattr(client, method)(BASKETS)

        assert_problem(answer, 405, "method_not_allowed")
        assert answer["Allow"] == "POST, OPTIONS"

    def test_answer_in_json_only(self, client: Client) -> None:
        answer = client.get("/api/v1/warehouses/", headers={"Accept": "application/xml"})

        assert_problem(answer, 406, "not_acceptable")


class TestBugs:
    @pytest.mark.parametrize("debug", [False, True])
    def test_in_a_view_are_told_without_their_reason(self, client: Client, debug: bool) -> None:
        with override_settings(DEBUG=debug):
            answer = client.post(f"{BASKETS}?then=broken", BASKET, "application/json")

        assert_problem(answer, 500, "server_error")
        assert b"secret reason" not in answer.content

    def test_outside_of_the_framework_too(self, client: Client) -> None:
        answer = client.get("/api/v1/broken/")

        assert_problem(answer, 500, "server_error")
        assert b"secret reason" not in answer.content
