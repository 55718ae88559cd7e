from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from commerce import tokens
from commerce.models import ApiToken
from inventory.models import Warehouse

pytestmark = pytest.mark.django_db

FORM = {"name": "3PL Nord", "scopes": ["fulfilment", "inventory"], "warehouse": "", "channel": ""}
ADD = "/admin/commerce/apitoken/add/"


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("ann"))
    return client


class TestApiTokens:
    def test_shows_the_secret_once(self, staff: Client) -> None:
        page = staff.post(ADD, FORM, follow=True)

        made = ApiToken.objects.get()
        (message,) = [str(message) for message in page.context["messages"] if "API key" in str(message)]
        secret = message.split(": ")[1].removesuffix(". Please store it somewhere safe")
        assert made.is_valid(secret)
        assert made.scopes == ["fulfilment", "inventory"]
        assert secret.encode() not in staff.get(f"{ADD}../").content

    def test_binds_it_to_a_warehouse(self, staff: Client) -> None:
        Warehouse.objects.create(code="BER", name="Berlin", country="DE")

        staff.post(ADD, {**FORM, "warehouse": "BER"})

        assert ApiToken.objects.get().warehouse == "BER"

    def test_refuses_a_scope_that_no_warehouse_bounds_and_says_why(self, staff: Client) -> None:
        Warehouse.objects.create(code="BER", name="Berlin", country="DE")

        page = staff.post(ADD, FORM | {"warehouse": "BER", "scopes": ["fulfilment", "orders", "events"]})

        assert page.context["adminform"].form.errors == {
            "warehouse": ["A token of one warehouse cannot have the scope orders or events: it reaches all."]
        }
        assert not ApiToken.objects.exists()

    def test_still_revokes_one_that_was_made_before_that_was_refused(self, staff: Client) -> None:
        Warehouse.objects.create(code="BER", name="Berlin", country="DE")
        tokens.issue("3PL Nord", scopes=["fulfilment", "orders"])
        ApiToken.objects.update(warehouse="BER")
        token = ApiToken.objects.get()

        page = staff.get("/admin/commerce/apitoken/").content.decode()
        change = page.partition('<th class="field-name"><a href="')[2].partition('"')[0]
        staff.post(change, {"name": "3PL Nord", "scopes": token.scopes, "warehouse": "BER", "revoked": "on"})

        token.refresh_from_db()
        assert token.revoked

    @pytest.mark.parametrize(
        "wrong", [{"scopes": ["all"]}, {"scopes": []}, {"name": ""}, {"warehouse": "NOWHERE"}, {"channel": "app"}]
    )
    def test_refuses_what_makes_no_sense(self, staff: Client, wrong: dict[str, object]) -> None:
        page = staff.post(ADD, FORM | wrong)

        assert list(page.context["adminform"].form.errors) == list(wrong)
        assert not ApiToken.objects.exists()

    def test_a_change_keeps_the_secret(self, staff: Client) -> None:
        secret = tokens.issue("3PL Nord", scopes=["fulfilment"], expires=timezone.now() + timedelta(days=1))
        token = ApiToken.objects.get()

        page = staff.get("/admin/commerce/apitoken/").content.decode()
        staff.post(
            page.partition('<th class="field-name"><a href="')[2].partition('"')[0], {**FORM, "name": "3PL South"}
        )

        token.refresh_from_db()
        assert (token.name, token.scopes) == ("3PL South", ["fulfilment", "inventory"])
        assert token.is_valid(secret)

    def test_the_library_s_own_keys_are_not_offered(self, staff: Client) -> None:
        assert staff.get("/admin/rest_framework_api_key/apikey/").status_code == 404
