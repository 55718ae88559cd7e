"""The third step: the headers that a system authenticates us by."""

from typing import Any

import pytest
from django.test import Client

from tests.receiver import Receiver
from tests.webhooks.admin.steps import NO_HEADERS, draft_at, walk_to

pytestmark = pytest.mark.django_db


class TestHeaders:
    @pytest.mark.parametrize(
        ("typed", "headers"),
        [
            ({"headers-scheme": "bearer", "headers-bearer_token": "Bearer t0k"}, {"Authorization": "Bearer t0k"}),
            (
                {"headers-scheme": "basic", "headers-basic_username": "ann", "headers-basic_password": "pässword"},
                {"Authorization": "Basic YW5uOnDDpHNzd29yZA=="},
            ),
            (
                {"headers-scheme": "api_key", "headers-api_key_name": "X-Key", "headers-api_key_value": "k"},
                {"X-Key": "k"},
            ),
            ({"headers-name": ["X-A", "X-B"], "headers-value": ["1", " 2 "]}, {"X-A": "1", "X-B": "2"}),
            ({}, {}),
        ],
    )
    def test_presets_and_rows_become_headers(
        self, staff: Client, receiver: Receiver, typed: dict[str, Any], headers: dict[str, str]
    ) -> None:
        address = walk_to(3, staff, receiver.url)

        staff.post(f"{address}3/", NO_HEADERS | typed)

        assert draft_at(address).headers == headers

    def test_a_value_is_never_shown_again_and_is_kept_unless_retyped(self, staff: Client, receiver: Receiver) -> None:
        address = walk_to(3, staff, receiver.url)
        staff.post(f"{address}3/", NO_HEADERS | {"headers-name": ["X-A", "X-B"], "headers-value": ["s3cret", "old"]})

        page = staff.get(f"{address}3/").content.decode()
        summary = staff.get(f"{address}4/").content.decode()
        staff.post(f"{address}3/", NO_HEADERS | {"headers-name": ["X-A", "X-B"], "headers-value": ["", "new"]})

        assert "s3cret" not in page + summary
        assert draft_at(address).headers == {"X-A": "s3cret", "X-B": "new"}

    def test_one_can_be_removed(self, staff: Client, receiver: Receiver) -> None:
        address = walk_to(3, staff, receiver.url)
        staff.post(f"{address}3/", NO_HEADERS | {"headers-name": ["X-A", "X-B"], "headers-value": ["1", "2"]})

        staff.post(
            f"{address}3/",
            NO_HEADERS | {"headers-name": ["X-A", "X-B"], "headers-value": ["", ""], "headers-remove": ["X-A"]},
        )

        assert draft_at(address).headers == {"X-B": "2"}

    def test_a_preset_replaces_the_stored_one(self, staff: Client, receiver: Receiver) -> None:
        address = walk_to(3, staff, receiver.url)
        bearer = {"headers-scheme": "bearer", "headers-bearer_token": "old"}
        staff.post(f"{address}3/", NO_HEADERS | bearer)

        staff.post(
            f"{address}3/",
            bearer | {"headers-bearer_token": "new", "headers-name": ["Authorization", ""], "headers-value": ["", ""]},
        )

        assert draft_at(address).headers == {"Authorization": "Bearer new"}
