"""What the pages show: orders, parcels, customers, and who has been told."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from orders import couriers, fulfilment
from orders.models import Customer, Order
from tests.factories import confirm_order, make_product, pack_order, pay_for, place_order, ship_order
from tests.orders.admin.conftest import ORDERS, log_in_with
from webhooks import subscriptions
from webhooks.models import Delivery, Subscription

pytestmark = pytest.mark.django_db

CUSTOMERS = "/admin/orders/customer/"
SHIPMENTS = "/admin/orders/shipment/"


def show(client: Client, order: Order) -> str:
    answer = client.get(f"{ORDERS}{order.pk}/change/")
    assert answer.status_code == 200
    return answer.content.decode()


def listed(client: Client, path: str) -> list[str]:
    return [str(row) for row in client.get(path).context["cl"].result_list]


def connect(now: datetime, *event_types: str, name: str = "OMS") -> Subscription:
    return subscriptions.create(
        name=name, url="http://127.0.0.1:9/", event_types=event_types, headers={}, by="ann", now=now
    )


class TestOrderList:
    def test_says_what_to_do_next(self, staff: Client, now: datetime) -> None:
        make_product("MUG", on_hand=50)
        line = ("MUG", 1)
        place_order(line, now=now)
        place_order(line, method="cod", now=now)
        confirm_order(line, now=now)
        pack_order(line, now=now)
        ship_order(line, now=now)

        page = staff.get(ORDERS)

        shown = [page.context["cl"].model_admin.next_step(order) for order in page.context["cl"].result_list]
        assert shown == ["Mark delivered", "Mark shipped", "Mark packed", "Confirm", "Wait for the payment"]

    def test_an_order_of_which_one_parcel_left_is_still_to_be_packed(self, staff: Client, now: datetime) -> None:
        order = confirm_order(now=now)
        (parcel,) = fulfilment.pack(order.public_id, quantities={order.items[0].public_id: 1}, actor="b", now=now)
        fulfilment.ship(parcel.public_id, carrier="DHL", tracking_number="1", actor="b", now=now)

        assert listed(staff, f"{ORDERS}?next=pack") == [str(order)]
        assert "Mark packed" in show(staff, order)

    @pytest.mark.parametrize(
        "term", ["{order.number}", " {order.number} ", "ANN@example.com", "JD01", "{order.public_id}"]
    )
    def test_finds_exactly(self, staff: Client, now: datetime, term: str) -> None:
        make_product("PAN")
        place_order(("PAN", 1), now=now).customer.save()
        Order.objects.update(contact_email="other@example.com")
        order = ship_order(now=now).order

        assert listed(staff, f"{ORDERS}?q={term.format(order=order)}") == [str(order)]

    @pytest.mark.parametrize("term", ["10", "ann", "example.com", "JD", "%", "' OR 1=1", "x" * 3_000])
    def test_finds_nothing_by_a_part_of_a_word(self, staff: Client, now: datetime, term: str) -> None:
        ship_order(now=now)

        page = staff.get(ORDERS, {"q": term})

        assert not page.context["cl"].result_list
        assert "No order fits" in page.content.decode()

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ("status__exact=confirmed", 1),
            ("status__exact=packed", 0),
            ("next=pack", 1),
            ("next=ship", 0),
            ("next=nonsense", 1),
            ("warehouse=BER", 1),
            ("warehouse=RTM", 0),
            ("payment_status__exact=paid", 1),
            ("placed=1d", 1),
            ("placed=nonsense", 1),
        ],
    )
    def test_filters(self, staff: Client, now: datetime, query: str, found: int) -> None:
        confirm_order(now=now)

        assert len(listed(staff, f"{ORDERS}?{query}")) == found

    def test_costs_the_same_queries_however_many_there_are(
        self, staff: Client, now: datetime, django_assert_max_num_queries: DjangoAssertNumQueries
    ) -> None:
        make_product("MUG", on_hand=50)
        for _ in range(6):
            pack_order(("MUG", 1), now=now)
        with django_assert_max_num_queries(6):  # Session, user, warehouses, two counts, rows.
            assert len(listed(staff, ORDERS)) == 6

    def test_empty_it_says_where_orders_come_from(self, staff: Client) -> None:
        assert "POST /api/v1/orders/" in staff.get(ORDERS).content.decode()


class TestOrderPage:
    def test_tells_the_whole_story(self, staff: Client, now: datetime) -> None:
        order = place_order(now=now)
        pay_for(order, result="failed", failure_code="card_declined", reference="ch_0", now=now)
        pay_for(order, now=now)
        (parcel,) = fulfilment.pack(order.public_id, actor="ben", now=now)
        fulfilment.ship(
            parcel.public_id,
            carrier="DHL",
            tracking_number="JD01",
            tracking_url="https://dhl.example/JD01",
            actor="ben",
            now=now,
        )
        couriers.track(
            parcel.public_id, status="in_transit", occurred_at=timezone.now(), location="Leipzig", source="DHL", now=now
        )

        page = staff.get(f"{ORDERS}{order.pk}/change/")

        told = [(entry.what, entry.who) for entry in page.context["timeline"]]
        assert (f"In transit, Leipzig: parcel {parcel}", "DHL") in told
        assert ("Capture of €49.90", "stripe") in told
        assert ("Capture of €49.90 failed", "stripe") in told
        assert [what for what, who in told if who == "ben"] == [f"Shipped parcel {parcel}", f"Packed parcel {parcel}"]
        html = page.content.decode()
        for shown in ("ann@example.com", "Torstrasse 1", "card_declined", 'href="https://dhl.example/JD01"'):
            assert shown in html

    @pytest.mark.parametrize(
        ("kind", "primary"),
        [("pending", None), ("confirmed", "Mark packed"), ("packed", "Mark shipped…"), ("shipped", "Mark delivered")],
    )
    def test_has_one_primary_button(self, staff: Client, now: datetime, kind: str, primary: str | None) -> None:
        makers: dict[str, Any] = {
            "pending": lambda: place_order(now=now),
            "confirmed": lambda: confirm_order(now=now),
            "packed": lambda: pack_order(now=now).order,
            "shipped": lambda: ship_order(now=now).order,
        }

        html = show(staff, makers[kind]())

        assert html.count('class="button default"') == (1 if primary else 0)
        if primary:
            assert primary in html
        else:
            assert "Next: Wait for the payment." in html

    def test_cash_that_is_not_collected_is_the_next_step(self, staff: Client, now: datetime) -> None:
        shipment = ship_order(method="cod", now=now)
        fulfilment.deliver(shipment.public_id, delivered_at=now, actor="ben", now=now)

        html = show(staff, shipment.order)

        address = f"{ORDERS}collect/?order={shipment.order.pk}"
        assert f'class="button default" href="{address}">Record cash collected…' in html

    def test_offers_no_button_without_its_permission(self, now: datetime) -> None:
        order = confirm_order(now=now)

        html = show(log_in_with("view_order"), order)

        assert "Next: Mark packed." in html
        assert "<button" not in html.split('id="content-main"')[1]

    def test_costs_the_same_queries_however_much_there_is(
        self, staff: Client, now: datetime, django_assert_max_num_queries: DjangoAssertNumQueries
    ) -> None:
        make_product("MUG", warehouse="BER")
        make_product("POT", warehouse="RTM")
        for name in ("OMS", "ERP"):
            connect(now, "*", name=name)
        order = confirm_order(("MUG", 2), ("POT", 2), now=now)
        fulfilment.pack(order.public_id, quantities={order.items[0].public_id: 1}, actor="ben", now=now)
        fulfilment.pack(order.public_id, actor="ben", now=now)

        # Session and user; order, lines, parcels, their lines and scans, payments, holds, returns, refunds, steps;
        # events, deliveries, anybody.
        with django_assert_max_num_queries(15):
            assert show(staff, order).count("<dt>") > 3

    @pytest.mark.parametrize("key", ["0", "abc", "-1", "99999999999999999999", "²", "1'"])
    def test_an_order_that_does_not_exist_is_not_found(self, staff: Client, key: str) -> None:
        assert staff.get(f"{ORDERS}{key}/change/").status_code == 404

    def test_text_of_a_customer_s_own_is_shown_as_text(self, staff: Client, now: datetime) -> None:
        order = place_order(now=now)
        Order.objects.update(contact_name="<script>alert(1)</script>", address_city="<b>x</b>")

        html = show(staff, order)

        assert "<script>alert" not in html
        assert "<b>x</b>" not in html


class TestWhoHasBeenTold:
    def test_shows_each_delivery_of_each_event(self, staff: Client, now: datetime) -> None:
        connect(now, "order.*")
        order = confirm_order(now=now)

        html = show(staff, order).split("Who has been told")[1]

        delivery = Delivery.objects.get(event_type="order.created")
        assert f'href="/admin/webhooks/delivery/{delivery.pk}/change/"' in html
        assert "order.confirmed" in html
        assert "OMS" in html
        assert "Pending" in html

    def test_says_when_the_next_attempt_is_where_there_is_one(self, staff: Client, now: datetime) -> None:
        connect(now, "order.created")
        order = place_order(now=now)
        told = {"attempt_count": 1, "last_status_code": 500, "last_reason": "http_5xx"}
        Delivery.objects.update(**told, next_attempt_at=now + timedelta(hours=5))
        retried = show(staff, order).split("Who has been told")[1]
        Delivery.objects.update(**told, next_attempt_at=None, state=Delivery.State.PARKED)

        parked = show(staff, order).split("Who has been told")[1]

        assert "badge-retrying" in retried
        assert "next <time" in retried
        assert ">next" not in parked

    def test_says_when_no_system_is_connected(self, staff: Client, now: datetime) -> None:
        assert "no system is connected yet" in show(staff, place_order(now=now))

    def test_says_that_nobody_asked_for_an_event(self, staff: Client, now: datetime) -> None:
        connect(now, "order.created")
        order = confirm_order(now=now)

        html = show(staff, order).split("Who has been told")[1]

        assert html.count("no subscription asked for it") == 2  # payment.success, order.confirmed

    @pytest.mark.parametrize("verb", [subscriptions.pause, subscriptions.disable])
    def test_says_why_a_delivery_waits_or_was_skipped(self, staff: Client, now: datetime, verb: Any) -> None:
        subscription = connect(now, "order.*")
        order = place_order(now=now)
        reason = {"reason": "Moving"} if verb is subscriptions.disable else {}
        verb(subscription, by="ann", now=now, **reason)

        words = "the subscription is " + ("paused" if verb is subscriptions.pause else "disabled")
        assert words in show(staff, order)

    def test_links_only_for_who_may_follow_them(self, now: datetime) -> None:
        connect(now, "order.*")
        order = place_order(now=now)

        html = show(log_in_with("view_order"), order)

        assert "OMS" in html
        assert "/admin/webhooks/" not in html


class TestShipments:
    def test_are_found_by_tracking_or_order_number(self, staff: Client, now: datetime) -> None:
        shipment = ship_order(now=now)

        for term in ("JD01", shipment.order.number, shipment.public_id):
            assert listed(staff, f"{SHIPMENTS}?q={term}") == [str(shipment)]
        assert listed(staff, f"{SHIPMENTS}?q=JD") == []

    def test_take_what_a_courier_says_from_staff(self, staff: Client, now: datetime) -> None:
        shipment = ship_order(now=now - timedelta(hours=2))
        assert "Add courier update…" in staff.get(f"{ORDERS}{shipment.order_id}/change/").content.decode()
        said = {"status": "out_for_delivery", "occurred_at": f"{now:%Y-%m-%dT%H:%M}", "location": "Berlin"}

        staff.post(f"/admin/orders/shipment/scan/?parcel={shipment.pk}", said)

        shipment.refresh_from_db()
        (scan,) = shipment.tracking_updates.all()
        assert shipment.tracking_status == "out_for_delivery"
        assert (scan.location, scan.source) == ("Berlin", "ann")

    def test_know_nothing_of_what_is_yet_to_happen(self, staff: Client, now: datetime) -> None:
        shipment = ship_order(now=now)
        said = {"status": "delivered", "occurred_at": f"{now + timedelta(days=1):%Y-%m-%dT%H:%M}"}

        page = staff.post(f"/admin/orders/shipment/scan/?parcel={shipment.pk}", said)

        assert page.context["form"].errors == {"occurred_at": ["This moment has not come yet."]}
        assert not shipment.tracking_updates.exists()

    def test_need_the_permission_to_deliver(self, now: datetime) -> None:
        shipment = ship_order(now=now)

        clerk = log_in_with("view_order", "view_shipment", "ship_order")

        assert clerk.get(f"/admin/orders/shipment/scan/?parcel={shipment.pk}").status_code == 403

    def test_are_read_only(self, staff: Client, now: datetime) -> None:
        shipment = pack_order(now=now)
        path = f"{SHIPMENTS}{shipment.pk}/change/"

        assert "MUG (Mug)" in staff.get(path).content.decode()
        assert staff.post(path, {"state": "delivered"}).status_code == 403

    def test_list_costs_the_same_queries(
        self, staff: Client, now: datetime, django_assert_max_num_queries: DjangoAssertNumQueries
    ) -> None:
        make_product("MUG", on_hand=50)
        for _ in range(5):
            pack_order(("MUG", 1), now=now)
        with django_assert_max_num_queries(6):
            assert len(listed(staff, SHIPMENTS)) == 5


class TestCustomers:
    FORM = {"email": "Ada@Example.com", "name": "Ada", "phone": "", "locale": "de"}

    def test_are_edited_and_the_change_is_told(self, staff: Client, told: Any) -> None:
        customer = Customer.objects.create(email="ada@example.com", name="A.")

        staff.post(f"{CUSTOMERS}{customer.pk}/change/", self.FORM)

        customer.refresh_from_db()
        assert (customer.name, customer.email, customer.version) == ("Ada", "ada@example.com", 2)
        assert told(customer.public_id) == ["customer.created", "customer.updated"]

    @pytest.mark.parametrize(
        ("wrong", "field"),
        [
            ({"email": ""}, "email"),
            ({"email": "ada"}, "email"),
            ({"email": "BOB@example.com"}, "email"),
            ({"name": "x" * 201}, "name"),
            ({"phone": "1" * 41}, "phone"),
            ({"locale": ""}, "locale"),
            ({"name": "A\x00da"}, "name"),
        ],
    )
    def test_a_form_that_makes_no_sense_is_marked(self, staff: Client, wrong: dict[str, str], field: str) -> None:
        Customer.objects.create(email="bob@example.com")

        page = staff.post(f"{CUSTOMERS}add/", self.FORM | wrong)

        assert field in page.context["adminform"].form.errors
        assert Customer.objects.count() == 1

    def test_show_their_orders(self, staff: Client, now: datetime) -> None:
        order = place_order(now=now)

        page = staff.get(f"{CUSTOMERS}{order.customer_id}/change/")

        assert f'href="{ORDERS}{order.pk}/change/"' in page.content.decode()

    def test_are_never_deleted(self, staff: Client) -> None:
        customer = Customer.objects.create(email="ada@example.com")

        assert staff.post(f"{CUSTOMERS}{customer.pk}/delete/", {"post": "yes"}).status_code == 403

    @pytest.mark.parametrize("term", ["ADA@example.com", "ada l", "{0.public_id}"])
    def test_are_found(self, staff: Client, term: str) -> None:
        customer = Customer.objects.create(email="ada@example.com", name="Ada Lee")
        Customer.objects.create(email="bob@example.com", name="Bob Adams")

        assert listed(staff, f"{CUSTOMERS}?q={term.format(customer)}") == ["ada@example.com"]
