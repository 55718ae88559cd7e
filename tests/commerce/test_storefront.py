from typing import Any

import pytest
from django.test import Client


class TestShop:
    @pytest.mark.parametrize(("debug", "status"), [(True, 200), (False, 404)])
    def test_is_open_in_debug_only(self, client: Client, settings: Any, debug: bool, status: int) -> None:
        settings.DEBUG = debug

        response = client.get("/shop/")

        assert response.status_code == status
