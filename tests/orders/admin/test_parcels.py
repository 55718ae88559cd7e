"""Parcels that do not reach their customer, on the order's page: unpacked before they left, or brought back."""

from datetime import datetime
from typing import Any

import pytest
from django.test import Client

from orders import couriers, fulfilment
from orders.models import Shipment
from tests.factories import confirm_order, make_product, pack_order, ship_order
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


def bring_back(client: Client, parcel: Shipment, **units: str) -> Any:
    (content,) = parcel.contents
    answers = {f"line-{content.pk}-{fate}": count for fate, count in units.items()}
    return client.post(f"{PARCELS}bring-back/?parcel={parcel.pk}", answers, follow=True)


def scan(parcel: Shipment, status: str, now: datetime) -> None:
    couriers.track(parcel.public_id, status=status, occurred_at=now, source="dhl", now=now)


class TestBringBack:
    def test_counts_what_came_and_what_did_not(self, staff: Client, now: datetime) -> None:
        parcel = ship_order(now=now)

        page = bring_back(staff, parcel, sellable="1", damaged="", lost="1")

        parcel.refresh_from_db()
        assert said(page) == [f"Brought back: {parcel}."]
        assert (parcel.state, parcel.order.status) == ("returned", "cancelled")
        assert parcel.order.transitions.get(kind="shipment_returned").details["received"] == [
            [parcel.contents[0].line.public_id, 1, "sellable"],
            [parcel.contents[0].line.public_id, 1, "lost"],
        ]
        html = page_of(staff, parcel)
        assert (f"Brought back parcel {parcel}" in html, "Bring back…" in html) == (True, False)

    def test_asks_about_each_unit(self, staff: Client, now: datetime) -> None:
        parcel = ship_order(now=now)

        page = bring_back(staff, parcel, sellable="1")

        (form,) = page.context["forms"]
        assert form.errors == {"sellable": ["2 are in the parcel, and this says what became of 1."]}
        parcel.refresh_from_db()
        assert parcel.state == "shipped"

    @pytest.mark.parametrize(("status", "likely"), [("returned", "sellable"), ("lost", "lost")])
    def test_is_the_next_step_once_the_courier_has_given_up(
        self, staff: Client, now: datetime, status: str, likely: str
    ) -> None:
        parcel = ship_order(now=now)
        assert f'class="button default" href="{PARCELS}bring-back/' not in page_of(staff, parcel)

        scan(parcel, status, now)

        address = f"{PARCELS}bring-back/?parcel={parcel.pk}"
        assert f'class="button default" href="{address}">Bring back…' in page_of(staff, parcel)
        (form,) = staff.get(address).context["forms"]
        assert form.initial == {"sellable": 0, "damaged": 0, "lost": 0} | {likely: 2}
        assert str(parcel.order) in staff.get(f"{ORDERS}?next=bring_back").content.decode()
        assert "0 orders" in staff.get(f"{ORDERS}?next=deliver").content.decode()

    def test_what_was_given_up_is_not_delivered_with_the_rest(self, staff: Client, now: datetime) -> None:
        make_product("MUG", warehouse="BER")
        make_product("POT", warehouse="RTM")
        order = confirm_order(("MUG", 1), ("POT", 1), now=now)
        lost, other = fulfilment.pack(order.public_id, actor="ben", now=now)
        for parcel in (lost, other):
            fulfilment.ship(parcel.public_id, carrier="DHL", tracking_number="JD01", actor="ben", now=now)
        scan(lost, "lost", now)

        staff.post(f"{ORDERS}{order.pk}/deliver/")

        assert list(order.shipments.order_by("index").values_list("state", flat=True)) == ["shipped", "delivered"]

    def test_of_what_has_arrived_is_refused_in_words(self, staff: Client, now: datetime) -> None:
        parcel = ship_order(now=now)
        fulfilment.deliver(parcel.public_id, delivered_at=now, actor="ben", now=now)

        page = bring_back(staff, parcel, sellable="2")

        assert said(page) == [f"Shipment {parcel} is delivered, not shipped."]

    def test_needs_its_own_permission(self, now: datetime) -> None:
        parcel = ship_order(now=now)
        scan(parcel, "returned", now)
        ben = log_in_with("view_order", "deliver_order", "cancel_order", "return_order")

        html = page_of(ben, parcel)

        assert ("bring-back" in html, "Next: Bring back." in html) == (False, True)
        assert bring_back(ben, parcel, sellable="2").status_code == 403
        parcel.refresh_from_db()
        assert parcel.state == "shipped"
