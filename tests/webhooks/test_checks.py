from typing import Any

import pytest
from django.conf import settings as product
from pytest_django.fixtures import Settings

from webhooks.checks import check_queue


class TestCheckQueue:
    def test_accepts_the_products_own_settings(self) -> None:
        assert check_queue() == []

    @pytest.mark.parametrize(
        ("change", "fault"),
        [
            ({"ack_failures": False}, "webhooks.E001"),
            ({"max_attempts": 0}, "webhooks.E001"),
            ({"save_limit": 250}, "webhooks.E001"),
            ({"timeout": None}, "webhooks.E002"),
            ({"timeout": 120}, "webhooks.E002"),
            ({"retry": 60}, "webhooks.E002"),
        ],
    )
    def test_refuses_what_would_send_twice_or_pile_up(
        self, change: dict[str, Any], fault: str, settings: Settings
    ) -> None:
        settings.Q_CLUSTER = product.Q_CLUSTER | change

        [found] = check_queue()

        assert (found.id, found.is_serious()) == (fault, True)

    def test_refuses_the_queues_own_defaults(self, settings: Settings) -> None:
        settings.Q_CLUSTER = {"orm": "default"}

        assert [fault.id for fault in check_queue()] == ["webhooks.E001"] * 3 + ["webhooks.E002"]
