from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from commerce import tokens
from commerce.models import ApiToken
from commerce.tokens import PublicThrottle, TokenThrottle
from tests.factories import make_warehouse

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.commerce.urls")]

URL = "/api/v1/guarded/"


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


class TestAuthentication:
    def test_knows_the_caller_by_the_token(self, client: Client) -> None:
        secret = tokens.issue("Warehouse system", scopes=["fulfilment"], channel="pos")

        answer = client.get(URL, headers=bearer(secret))

        assert answer.status_code == 200
        assert answer.json() == {"name": "Warehouse system", "channel": "pos"}

    def test_refuses_a_call_without_a_token(self, client: Client) -> None:
        answer = client.get(URL)

        assert (answer.status_code, answer.json()["code"]) == (401, "not_authenticated")
        assert answer["WWW-Authenticate"] == 'Bearer realm="Commerce Engine"'

    @pytest.mark.parametrize("header", ["Bearer", "Bearer ", "Bearer nonsense", "Bearer AbCdEfGh.wrong", "bearer é"])
    def test_refuses_a_wrong_token(self, client: Client, header: str) -> None:
        answer = client.get(URL, headers={"Authorization": header})

        assert (answer.status_code, answer.json()["code"]) == (401, "authentication_failed")

    def test_refuses_the_right_prefix_with_a_wrong_secret(self, client: Client) -> None:
        secret = tokens.issue("ERP", scopes=["orders"])

        answer = client.get(URL, headers=bearer(secret[:-1] + ("a" if secret[-1] != "a" else "b")))

        assert answer.status_code == 401

    def test_refuses_an_expired_token_and_says_since_when(self, client: Client) -> None:
        yesterday = timezone.now() - timedelta(days=1)
        secret = tokens.issue("ERP", scopes=["orders"], expires=yesterday)

        answer = client.get(URL, headers=bearer(secret))

        assert answer.status_code == 401
        assert answer.json()["detail"] == f"This token expired on {yesterday:%Y-%m-%d}."

    def test_refuses_a_revoked_token(self, client: Client) -> None:
        secret = tokens.issue("ERP", scopes=["orders"])
        ApiToken.objects.update(revoked=True)

        assert client.get(URL, headers=bearer(secret)).status_code == 401

    def test_keeps_no_secret(self) -> None:
        secret = tokens.issue("ERP", scopes=["orders"])

        kept = str(ApiToken.objects.values().get())
        assert secret not in kept
        assert secret.partition(".")[2] not in kept


class TestScopes:
    def test_any_one_of_the_scopes_is_enough(self, client: Client) -> None:
        secret = tokens.issue("ERP", scopes=["orders"])

        assert client.get(URL, headers=bearer(secret)).status_code == 200

    def test_refuses_a_token_without_the_scope_and_names_it(self, client: Client) -> None:
        secret = tokens.issue("ERP", scopes=["orders"])

        answer = client.post(URL, headers=bearer(secret))

        assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")
        assert answer.json()["detail"] == "This needs a token with the scope payments."

    def test_asks_for_none_on_a_public_view(self, client: Client) -> None:
        assert client.get("/api/v1/warehouses/").status_code == 200


class TestThrottles:
    def test_counts_each_token_by_itself(self, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(TokenThrottle, "rate", "2/min", raising=False)
        first, second = (bearer(tokens.issue(name, scopes=["orders"])) for name in ("a", "b"))

        statuses = [client.get(URL, headers=first).status_code for _ in range(3)]

        assert statuses == [200, 200, 429]
        assert client.get(URL, headers=second).status_code == 200

    def test_says_when_to_come_back(self, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(PublicThrottle, "rate", "1/min", raising=False)
        client.get("/api/v1/warehouses/", REMOTE_ADDR="192.0.2.1")

        answer = client.get("/api/v1/warehouses/", REMOTE_ADDR="192.0.2.1")

        assert (answer.status_code, answer.json()["code"]) == (429, "throttled")
        assert 0 < int(answer["Retry-After"]) <= 60

    def test_believes_no_header_about_the_address(self, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(PublicThrottle, "rate", "1/min", raising=False)
        statuses = [
            client.get("/api/v1/warehouses/", REMOTE_ADDR="192.0.2.2", headers={"X-Forwarded-For": faked}).status_code
            for faked in ("198.51.100.1", "198.51.100.2")
        ]

        assert statuses == [200, 429]


class TestCommand:
    def test_prints_the_token_alone_on_the_last_line(self, client: Client, capsys: pytest.CaptureFixture[str]) -> None:
        call_command("token", "OMS", "--scopes", "orders, fulfilment", "--expires", "2999-01-01", "--channel", "web")

        secret = capsys.readouterr().out.splitlines()[-1]
        assert client.get(URL, headers=bearer(secret)).status_code == 200
        made = ApiToken.objects.get()
        assert (made.scopes, made.channel, made.warehouse) == (["orders", "fulfilment"], "web", "")
        assert made.expiry_date is not None
        assert made.expiry_date.isoformat() == "2999-01-01T00:00:00+00:00"

    @pytest.mark.parametrize(
        ("options", "complaint"),
        [
            (["--scopes", "orders,everything"], "there is no scope everything"),
            (["--scopes", "orders", "--expires", "soon"], "'soon' is not a date"),
            (["--scopes", "orders", "--expires", "2001-01-01"], "2001-01-01 has passed"),
            (["--scopes", "orders", "--warehouse", "NOWHERE"], "There is no warehouse NOWHERE."),
            (["--scopes", " , "], "name at least one of storefront"),
            (["--scopes", "orders", "--channel", "app"], "invalid choice: 'app'"),
            ([], "--scopes"),
        ],
    )
    def test_refuses_what_makes_no_sense(self, options: list[str], complaint: str) -> None:
        with pytest.raises(CommandError, match=complaint):
            call_command("token", "OMS", *options)

        assert not ApiToken.objects.exists()

    @pytest.mark.parametrize("scope", sorted(set(tokens.SCOPES) - {"fulfilment", "inventory", "storefront"}))
    def test_refuses_a_scope_that_no_warehouse_bounds(self, scope: str) -> None:
        make_warehouse("BER")

        with pytest.raises(CommandError, match=f"one warehouse cannot have the scope {scope}: it reaches all."):
            call_command("token", "3PL", "--scopes", f"fulfilment,{scope}", "--warehouse", "BER")

        assert not ApiToken.objects.exists()

    def test_refuses_a_name_too_long_to_keep(self) -> None:
        with pytest.raises(CommandError, match="name: Ensure this value has at most 50"):
            call_command("token", "x" * 51, "--scopes", "orders")
