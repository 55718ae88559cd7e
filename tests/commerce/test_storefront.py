from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client

from commerce.models import InboundSource

pytestmark = pytest.mark.django_db


class TestShop:
    @pytest.mark.parametrize(("debug", "status"), [(True, 200), (False, 404)])
    def test_is_open_in_debug_only(self, client: Client, settings: Any, debug: bool, status: int) -> None:
        settings.DEBUG = debug

        response = client.get("/shop/")

        assert response.status_code == status

    def test_has_a_gateway_to_pay_by_once_the_demo_store_is_loaded(self, client: Client, settings: Any) -> None:
        settings.DEBUG = True
        assert "data-gateway" not in client.get("/shop/").content.decode()

        call_command("seed")

        [secret] = InboundSource.objects.get(name="test-gateway").live_secrets
        page = client.get("/shop/").content.decode()
        assert f'data-gateway="/api/v1/inbound/test-gateway/" data-secret="{secret}"' in page
