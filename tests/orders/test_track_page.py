import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from orders import checkout, couriers, fulfilment, holds, returns
from orders.models import Order, Return, Shipment
from orders.returns import Receipt
from tests.factories import (
    confirm_order,
    deliver_order,
    make_product,
    pack_order,
    pay_for,
    place_order,
    send_back,
    ship_order,
)

pytestmark = pytest.mark.django_db

NOW = timezone.now().replace(microsecond=0)


def path(order: Order, *further: str) -> str:
    return "/".join(["/track", order.tracking_token, *further, ""])


def read(client: Client, order: Order) -> str:
    """The page, as words."""
    page = client.get(path(order)).content.decode()
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.partition("<main")[2]))


def headline(client: Client, order: Order) -> str:
    found = re.search("<h1>(.*?)</h1>", client.get(path(order)).content.decode())
    assert found
    return found[1]


def scan(parcel: Shipment, status: str, **told: Any) -> None:
    couriers.track(parcel.public_id, status=status, occurred_at=NOW, source="dhl", now=NOW, **told)


def scanned(status: str) -> Callable[[], Order]:
    def make() -> Order:
        parcel = ship_order(now=NOW)
        scan(parcel, status)
        return parcel.order

    return make


def bring_back(parcel: Shipment, fate: str) -> None:
    receipts = [Receipt(content.line.public_id, content.quantity, fate) for content in parcel.contents]
    fulfilment.bring_back(parcel.public_id, receipts=receipts, actor="ben", now=NOW)


def declined() -> Order:
    order = place_order(now=NOW)
    pay_for(order, result="failed", failure_code="card_declined", now=NOW)
    return order


def held(kind: str) -> Callable[[], Order]:
    def make() -> Order:
        order = confirm_order(now=NOW)
        holds.place(order.public_id, kind=kind, reason="Ships to a reshipper.", actor="ann", now=NOW)
        return order

    return make


def cancelled() -> Order:
    order = place_order(now=NOW)
    checkout.cancel_by_customer(order.tracking_token, now=NOW)
    return order


def two_parcels() -> tuple[Shipment, Shipment]:
    """Of one order, packed."""
    make_product("MUG")
    make_product("TEA")
    order = confirm_order(("MUG", 1), ("TEA", 1), now=NOW)
    [first, second] = [
        fulfilment.pack(order.public_id, quantities={line.public_id: 1}, actor="ben", now=NOW)[0]
        for line in order.items
    ]
    return first, second


def ship(parcel: Shipment) -> None:
    fulfilment.ship(parcel.public_id, carrier="DHL", tracking_number="JD01", actor="ben", now=NOW)


class TestHeadline:
    @pytest.mark.parametrize(
        ("make", "words"),
        [
            (lambda: place_order(now=NOW), "We are waiting for your payment"),
            (lambda: place_order(method="cod", now=NOW), "We have your order"),
            (declined, "Your payment did not go through"),
            (lambda: confirm_order(now=NOW), "Your order is confirmed"),
            (held("fraud"), "We are checking your order"),
            (held("address"), "We are checking your address"),
            (lambda: pack_order(now=NOW).order, "Your order is packed and ready to ship"),
            (lambda: ship_order(now=NOW).order, "Your order is on its way"),
            (scanned("in_transit"), "Your order is on its way"),
            (scanned("delayed"), "Your parcel is running late"),
            (scanned("out_for_delivery"), "Your parcel is out for delivery"),
            (scanned("attempt_failed"), "The courier missed you"),
            (scanned("ready_for_pickup"), "Your parcel is ready to collect"),
            (scanned("return_to_sender"), "Your parcel is on its way back to us"),
            (scanned("returned"), "Your parcel has come back to us"),
            (scanned("lost"), "Your parcel seems to be lost"),
            (scanned("delivered"), "Your order has arrived"),
            (cancelled, "Your order was cancelled"),
        ],
    )
    def test_says_where_the_order_is(self, client: Client, make: Callable[[], Order], words: str) -> None:
        order = make()

        assert headline(client, order) == words

    def test_says_that_part_of_it_has_left_and_then_arrived(self, client: Client) -> None:
        first, second = two_parcels()
        ship(first)
        left = headline(client, first.order)
        ship(second)
        scan(first, "delivered")

        assert left == "Part of your order is on its way"
        assert headline(client, first.order) == "Part of your order has arrived"

    def test_names_trouble_with_one_of_several_parcels(self, client: Client) -> None:
        first, second = two_parcels()
        ship(first)
        ship(second)
        scan(second, "lost")

        assert headline(client, first.order) == "One of your parcels seems to be lost"

    def test_is_sorry_when_the_promise_has_passed(self, client: Client) -> None:
        late = ship_order(now=NOW - timedelta(days=60)).order
        in_time = ship_order(("MUG", 1), now=NOW).order

        words, page = read(client, late), client.get(path(late)).content.decode()
        assert "we are sorry that it is late" in words
        assert "Arrives" not in words
        assert 'class="mood-wait"' in page
        assert "sorry" not in read(client, in_time)


class TestPage:
    def test_shows_steps_parcels_and_scans(self, client: Client) -> None:
        first, second = two_parcels()
        ship(first)
        scan(first, "in_transit", location="Leipzig", message="Sorted at the hub")

        words = read(client, first.order)

        assert "On its way : not yet 1 of 2 parcels" in words
        assert "Parcel 1 of 2 In transit 1 × Mug DHL JD01" in words
        assert "In transit , Leipzig Sorted at the hub" in words
        assert "Parcel 2 of 2 Packed 1 × Tea" in words
        assert str(second) not in words

    def test_marks_the_step_that_is_reached(self, client: Client) -> None:
        order = pack_order(now=NOW).order

        page = client.get(path(order)).content.decode()

        assert re.findall(r'aria-current="step">\s*<span class="label">(\w+)', page) == ["Packed"]

    def test_promises_a_window_until_the_courier_knows_the_day(self, client: Client) -> None:
        parcel = pack_order(now=NOW)
        promised = read(client, parcel.order)
        ship(parcel)
        day = NOW + timedelta(days=3)
        scan(parcel, "in_transit", estimated_delivery_at=day)

        order = parcel.order
        assert f"Arrives {order.promised_from:%A} {order.promised_from.day}" in promised
        assert f"Arrives {day:%A} {day.day} {day:%B}" in read(client, order)

    def test_says_when_it_arrived_as_the_courier_does(self, client: Client) -> None:
        parcel = ship_order(now=NOW)
        couriers.track(
            parcel.public_id,
            status="delivered",
            occurred_at=NOW + timedelta(hours=5),
            source="dhl",
            now=NOW + timedelta(hours=30),
        )

        steps = client.get(path(parcel.order)).content.decode().partition("</ol>")[0]

        assert f'datetime="{NOW + timedelta(hours=5):%Y-%m-%dT%H}' in steps
        assert f'datetime="{NOW + timedelta(hours=30):%Y-%m-%dT%H}' not in steps

    def test_counts_no_parcel_that_was_taken_apart(self, client: Client) -> None:
        first, second = two_parcels()
        fulfilment.unpack(first.public_id, actor="ben", now=NOW)
        assert "Your parcel" in read(client, second.order)

        fulfilment.pack(second.order.public_id, actor="ben", now=NOW)

        said = read(client, second.order)
        assert ("Parcel 1 of 2" in said, "Parcel 2 of 2" in said, "Unpacked" in said) == (True, True, False)

    @pytest.mark.parametrize(
        ("fate", "why"), [("damaged", "It could not be handed over"), ("lost", "it was lost on its way")]
    )
    def test_says_why_an_order_ended_without_arriving(self, client: Client, fate: str, why: str) -> None:
        parcel = ship_order(now=NOW)

        bring_back(parcel, fate)

        said = read(client, parcel.order)
        assert ("Your order was cancelled" in said, why in said, "given back" in said) == (True, True, True)

    def test_says_that_the_rest_of_it_has_arrived(self, client: Client) -> None:
        first, second = two_parcels()
        for parcel in (first, second):
            fulfilment.ship(parcel.public_id, carrier="DHL", tracking_number="JD01", actor="ben", now=NOW)
        fulfilment.deliver(first.public_id, delivered_at=NOW, actor="ben", now=NOW)

        bring_back(second, "lost")

        said = read(client, first.order)
        assert ("Your order has arrived" in said, "Lost" in said) == (True, True)

    def test_names_what_was_cancelled(self, client: Client) -> None:
        order = place_order(now=NOW)
        checkout.cancel(order.public_id, reason="customer_request", actor="ann", now=NOW)

        assert "Cancelled 2 × Mug" in read(client, order)

    def test_tells_what_is_to_be_paid_at_the_door(self, client: Client) -> None:
        order = confirm_order(method="cod", now=NOW)

        assert "To pay at the door €49.90" in read(client, order)

    def test_tells_nothing_private(self, client: Client) -> None:
        order = held("fraud")()

        page = client.get(path(order)).content.decode()

        private = ["Ann Lee", "ann@example.com", "Torstrasse", "10119", "+4930123456", "49.90", "reshipper", "fraud"]
        assert [words for words in private if words in page] == []
        assert "a•••@example.com" in page
        assert "Berlin, Germany" in page

    def test_is_kept_by_no_cache_and_told_to_nobody(self, client: Client) -> None:
        answer = client.get(path(place_order(now=NOW)))

        assert "no-store" in answer.headers["Cache-Control"]
        assert answer.headers["X-Robots-Tag"] == "noindex, nofollow"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.cookies == {}

    def test_says_in_a_friendly_way_that_there_is_no_such_order(self, client: Client) -> None:
        answer = client.get("/track/nothing/")

        assert answer.status_code == 404
        assert "There is no order at this address" in answer.content.decode()
        assert answer.headers["X-Robots-Tag"] == "noindex, nofollow"

    def test_costs_the_same_for_one_parcel_as_for_two(self, client: Client, django_assert_num_queries: Any) -> None:
        first, second = two_parcels()
        ship(first)
        ship(second)
        scan(first, "in_transit")
        small = ship_order(("MUG", 1), now=NOW).order

        with django_assert_num_queries(9):
            client.get(path(small))
        with django_assert_num_queries(9):
            client.get(path(first.order))


class TestCancel:
    def test_is_asked_and_then_done(self, client: Client) -> None:
        order = place_order(now=NOW)

        question = client.get(path(order, "cancel"))
        assert "Cancel this order?" in question.content.decode()
        answer = client.post(path(order, "cancel"))

        assert (answer.status_code, answer.headers["Location"]) == (302, path(order))
        assert Order.objects.get().status == Order.Status.CANCELLED
        assert "As you asked." in read(client, order)

    def test_is_neither_offered_nor_done_too_late(self, client: Client) -> None:
        order = pack_order(now=NOW).order

        assert "Cancel the order" not in read(client, order)
        assert "It is too late to cancel" in client.get(path(order, "cancel")).content.decode()
        answer = client.post(path(order, "cancel"))

        assert answer.status_code == 409
        assert "too late to cancel" in answer.content.decode()
        assert Order.objects.get().status == Order.Status.PACKED

    def test_needs_no_cookie(self) -> None:
        order = place_order(now=NOW)

        Client(enforce_csrf_checks=True).post(path(order, "cancel"))

        assert Order.objects.get().status == Order.Status.CANCELLED


class TestSendBack:
    def test_says_that_a_closed_return_is_awaited_no_more(self, client: Client) -> None:
        opened = send_back(deliver_order(now=NOW), now=NOW)
        returns.close(opened.public_id, actor="ann", now=NOW)

        assert f"Return {opened}: it has not arrived, and we expect no more of it" in read(client, opened.order)

    REASON = "It does not fit"

    @pytest.fixture
    def delivered(self) -> Order:
        return scanned("delivered")()

    @pytest.fixture
    def line_id(self, delivered: Order) -> str:
        return str(delivered.items[0].public_id)

    def test_opens_a_return_of_what_is_chosen(self, client: Client, delivered: Order, line_id: str) -> None:
        assert "Send something back" in read(client, delivered)

        answer = client.post(path(delivered, "return"), {line_id: "1", "reason": self.REASON})

        assert (answer.status_code, answer.headers["Location"]) == (302, path(delivered))
        [opened] = Return.objects.all()
        assert (opened.reason, opened.initiated_by) == (self.REASON, "customer")
        assert [content.quantity for content in opened.lines.all()] == [1]
        assert f"Return {opened}: we are expecting it" in read(client, delivered)

    @pytest.mark.parametrize(
        ("chosen", "complaint"), [("0", "Choose at least one item to send back."), ("3", "Select a valid choice.")]
    )
    def test_says_what_is_wrong(
        self, client: Client, delivered: Order, line_id: str, chosen: str, complaint: str
    ) -> None:
        answer = client.post(path(delivered, "return"), {line_id: chosen, "reason": self.REASON})

        assert answer.status_code == 422
        assert complaint in answer.content.decode()
        assert Return.objects.count() == 0

    def test_is_not_offered_before_anything_has_arrived(self, client: Client) -> None:
        order = ship_order(now=NOW).order

        assert "Send something back" not in read(client, order)
        assert "There is nothing to send back" in client.get(path(order, "return")).content.decode()
