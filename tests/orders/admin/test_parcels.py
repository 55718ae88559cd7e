"""Parcels that do not reach their customer, on the order's page: unpacked before they left."""

from datetime import datetime
from typing import Any

import pytest
from django.test import Client

from tests.factories import pack_order, ship_order
from tests.orders.admin.conftest import ORDERS, log_in_with, said

pytestmark = pytest.mark.django_db

PARCELS = "/admin/orders/shipment/"


def page_of(client: Client, parcel: Any) -> str:
    return client.get(f"{ORDERS}{parcel.order_id}/change/").content.decode()


class TestUnpack:
    def test_is_offered_beside_the_parcel_and_takes_it_apart(self, staff: Client, now: datetime) -> None:
        parcel = pack_order(now=now)
        assert f'action="{PARCELS}{parcel.pk}/unpack/"' in page_of(staff, parcel)

        page = staff.post(f"{PARCELS}{parcel.pk}/unpack/", follow=True)

        parcel.refresh_from_db()
        assert said(page) == [f"Unpacked: {parcel}."]
        assert (parcel.state, parcel.order.status) == ("unpacked", "confirmed")
        assert parcel.order.transitions.latest("pk").actor == "ann"
        assert "/unpack/" not in page_of(staff, parcel)

    def test_of_what_has_left_is_refused_in_words(self, staff: Client, now: datetime) -> None:
        parcel = ship_order(now=now)
        assert "/unpack/" not in page_of(staff, parcel)

        page = staff.post(f"{PARCELS}{parcel.pk}/unpack/", follow=True)

        assert said(page) == [f"Shipment {parcel} is shipped, not packed."]

    def test_needs_its_own_permission(self, now: datetime) -> None:
        parcel = pack_order(now=now)
        ben = log_in_with("view_order", "pack_order", "ship_order", "cancel_order")

        assert "/unpack/" not in page_of(ben, parcel)
        assert ben.post(f"{PARCELS}{parcel.pk}/unpack/").status_code == 403
        parcel.refresh_from_db()
        assert parcel.state == "packed"

    def test_is_not_done_by_following_a_link(self, staff: Client, now: datetime) -> None:
        assert staff.get(f"{PARCELS}{pack_order(now=now).pk}/unpack/").status_code == 405

    def test_of_no_parcel_is_not_found(self, staff: Client) -> None:
        assert staff.post(f"{PARCELS}0/unpack/").status_code == 404
