import pytest
from django.contrib.auth.models import User
from django.test import Client

pytestmark = pytest.mark.django_db


class TestSite:
    def test_puts_what_staff_use_all_day_first_and_the_machinery_last(self, client: Client) -> None:
        client.force_login(User.objects.create_superuser("ann"))

        apps = client.get("/admin/").context["app_list"]

        assert [app["app_label"] for app in apps] == ["orders", "inventory", "webhooks", "commerce", "auth", "django_q"]
        assert [model["object_name"] for model in apps[-1]["models"]] == ["Failure", "OrmQ"]
