"""What is for visitors by browser, and not for calls of the API."""

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from commerce import tokens

pytestmark = pytest.mark.django_db

NOTHING = "default-src 'none'; frame-ancestors 'none'"


class TestCall:
    def test_may_load_nothing_and_be_framed_nowhere(self, client: Client) -> None:
        answer = client.get("/api/v1/products/")

        assert answer["Content-Security-Policy"] == NOTHING
        assert answer["X-Frame-Options"] == "DENY"

    def test_that_is_refused_says_the_same(self, client: Client) -> None:
        answer = client.get("/api/v1/orders/")

        assert answer.status_code == 401
        assert answer["Content-Security-Policy"] == NOTHING

    def test_has_no_session_whatever_cookie_it_brings(
        self, admin_client: Client, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        secret = tokens.issue("ERP", scopes=["orders"])

        # Of the token, and of the order that is not there.
        with django_assert_num_queries(2):
            answer = admin_client.get("/api/v1/orders/ord_1/", headers={"Authorization": f"Bearer {secret}"})

        assert answer.status_code == 404
        assert not answer.cookies
        assert "Cookie" not in answer.get("Vary", "")

    def test_is_nobody_s_by_a_staff_member_s_cookie(self, admin_client: Client) -> None:
        assert admin_client.get("/api/v1/orders/").status_code == 401


class TestPage:
    @pytest.mark.parametrize("path", ["/admin/", "/api/docs/"])
    def test_loads_what_is_our_own(self, admin_client: Client, path: str) -> None:
        policy = admin_client.get(path)["Content-Security-Policy"]

        assert "default-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy

    def test_knows_who_has_logged_in(self, admin_client: Client) -> None:
        assert b"Log out" in admin_client.get("/admin/").content
