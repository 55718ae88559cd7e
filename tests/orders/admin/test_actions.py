"""What staff do with orders: on the list and on the order's page alike, each done or refused with the reason."""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from orders import fulfilment
from orders.admin import verbs
from orders.models import Order, OrderTransition, Shipment
from tests.factories import confirm_order, make_product, pack_order, place_order, ship_order
from tests.orders.admin.conftest import ORDERS, everything, fresh, log_in_with, said
from tests.told import Told

pytestmark = pytest.mark.django_db

ACTIONS = {
    "confirm": "confirm",
    "pack": "mark_packed",
    "ship": "mark_shipped",
    "deliver": "mark_delivered",
    "cancel": "cancel",
}
COMPLETE = {"carrier": "DHL", "tracking_number": "1"}
IN_A_DAY = timedelta(days=1)


def act(client: Client, verb: str, orders: Iterable[Order]) -> Any:
    """Choose rows of the list and an action, and press Go."""
    form = {"action": ACTIONS[verb], "_selected_action": [order.pk for order in orders]}
    return client.post(ORDERS, form, follow=True)


def press(client: Client, verb: str, order: Order) -> Any:
    """The button on the order's page."""
    return client.post(f"{ORDERS}{order.pk}/{verb}/", follow=True)


def ship(client: Client, parcels: Iterable[Shipment], **answers: str) -> Any:
    """The form that asks how each parcel leaves, all filled in alike."""
    parcels = list(parcels)
    query = "&".join(f"order={parcel.order_id}" for parcel in parcels)
    form: dict[str, Any] = {"parcel": [parcel.public_id for parcel in parcels]}
    form |= {f"{parcel.public_id}-{name}": value for parcel in parcels for name, value in answers.items()}
    return client.post(f"{ORDERS}ship/?{query}", form, follow=True)


@pytest.fixture
def orders(now: datetime) -> dict[str, Order]:
    """One of each kind, by its status."""
    make_product("MUG", on_hand=100)
    line = ("MUG", 2)
    return {
        "pending": place_order(line, now=now),
        "to_confirm": place_order(line, method="cod", now=now),
        "confirmed": confirm_order(line, now=now),
        "packed": pack_order(line, now=now).order,
        "shipped": ship_order(line, now=now).order,
    }


class TestEachVerb:
    CASES = (
        ("confirm", "to_confirm", "confirmed", "order.confirmed"),
        ("pack", "confirmed", "packed", "order.packed"),
        ("deliver", "shipped", "delivered", "order.delivered"),
    )

    @pytest.mark.parametrize("way", [act, press])
    @pytest.mark.parametrize(("verb", "kind", "status", "event"), CASES)
    def test_is_taken_told_and_signed(
        self,
        staff: Client,
        orders: dict[str, Order],
        told: Told,
        way: Callable[..., Any],
        verb: str,
        kind: str,
        status: str,
        event: str,
    ) -> None:
        order = orders[kind]

        page = way(staff, verb, [order] if way is act else order)

        assert said(page) == [f"{status.capitalize()}: {order}."]
        assert fresh(order).status == status
        assert told(order.public_id)[-1] == event
        assert order.transitions.latest("pk").actor == "ann"

    @pytest.mark.parametrize("verb", ["confirm", "pack", "deliver"])
    def test_is_done_for_some_and_refused_for_the_others(
        self, staff: Client, orders: dict[str, Order], verb: str
    ) -> None:
        page = act(staff, verb, orders.values())

        done, *refused = said(page)
        fit = {case[0]: case[1] for case in self.CASES}[verb]
        assert str(orders[fit]) in done
        assert len(refused) == 4
        for kind, order in orders.items():
            if kind != fit:
                assert any(f"Order {order} is " in words for words in refused)

    @pytest.mark.parametrize("verb", ["confirm", "pack", "deliver"])
    def test_refused_it_leaves_nothing_behind(self, staff: Client, orders: dict[str, Order], verb: str) -> None:
        before = everything()

        page = press(staff, verb, orders["pending"])

        (refusal,) = said(page)
        assert refusal.startswith(f"Order {orders['pending']} is ")
        assert everything() == before

    @pytest.mark.parametrize("verb", ["confirm", "pack", "deliver"])
    def test_is_not_taken_by_looking(self, staff: Client, orders: dict[str, Order], verb: str) -> None:
        before = everything()

        assert staff.get(f"{ORDERS}{orders['confirmed'].pk}/{verb}/").status_code == 405
        assert everything() == before

    def test_needs_a_token_of_the_form(self, orders: dict[str, Order], staff: Client) -> None:
        strict = Client(enforce_csrf_checks=True)
        strict.cookies = staff.cookies

        assert strict.post(f"{ORDERS}{orders['confirmed'].pk}/pack/").status_code == 403
        assert fresh(orders["confirmed"]).status == "confirmed"

    def test_too_many_at_once_are_refused(
        self, staff: Client, orders: dict[str, Order], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(verbs, "AT_ONCE", 4)

        page = act(staff, "pack", orders.values())

        assert said(page) == ["Choose 4 orders at most. Nothing was done."]
        assert fresh(orders["confirmed"]).status == "confirmed"

    def test_of_many_refusals_ten_are_told(
        self, staff: Client, orders: dict[str, Order], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(verbs, "REFUSALS_TOLD", 2)

        page = act(staff, "pack", [orders["pending"], orders["to_confirm"], orders["packed"], orders["shipped"]])

        assert len(said(page)) == 3
        assert said(page)[-1] == "… and 2 more were refused."


class TestPermissions:
    @pytest.mark.parametrize("verb", ACTIONS)
    def test_each_verb_has_its_own(self, orders: dict[str, Order], verb: str) -> None:
        others = [f"{name}_order" for name in ACTIONS if name != verb]
        ben = log_in_with("view_order", *others)
        order, before = orders["to_confirm"], everything()

        act(ben, verb, [order])
        path = f"{ORDERS}{verb}/?order={order.pk}" if verb in {"ship", "cancel"} else f"{ORDERS}{order.pk}/{verb}/"
        refused = ben.post(path, {"reason": "x"})

        assert refused.status_code == 403
        assert everything() == before
        assert ACTIONS[verb] not in ben.get(ORDERS).content.decode().split('name="action"')[1].split("</select>")[0]

    def test_who_may_do_one_thing_can_do_it(self, orders: dict[str, Order]) -> None:
        wanda = log_in_with("view_order", "pack_order")

        press(wanda, "pack", orders["confirmed"])

        assert fresh(orders["confirmed"]).status == "packed"
        assert OrderTransition.objects.latest("pk").actor == "ben"

    def test_who_may_not_look_sees_nothing(self, orders: dict[str, Order]) -> None:
        nobody = log_in_with("view_product")

        assert nobody.get(ORDERS).status_code == 403
        assert nobody.get(f"{ORDERS}{orders['pending'].pk}/change/").status_code == 403

    def test_nobody_edits_adds_or_deletes_an_order(self, staff: Client, orders: dict[str, Order]) -> None:
        order = orders["pending"]

        staff.post(f"{ORDERS}{order.pk}/change/", {"status": "delivered", "state": "completed"})

        assert fresh(order).status == "pending"
        assert staff.get(f"{ORDERS}add/").status_code == 403
        assert staff.post(f"{ORDERS}{order.pk}/delete/", {"post": "yes"}).status_code == 403


class TestShipping:
    def test_the_action_asks_about_each_packed_parcel_and_names_the_others(
        self, staff: Client, orders: dict[str, Order]
    ) -> None:
        page = act(staff, "ship", orders.values())

        assert [str(form.parcel.order) for form in page.context["forms"]] == [str(orders["packed"])]
        assert f"{orders['pending']}: no parcel of it waits to be shipped, it is pending." in said(page)
        assert len(said(page)) == 4

    def test_ships_with_carrier_number_and_estimate(
        self, staff: Client, orders: dict[str, Order], now: datetime
    ) -> None:
        parcel = orders["packed"].shipments.get()
        estimate = (now + IN_A_DAY).replace(second=0, microsecond=0)

        page = ship(
            staff,
            [parcel],
            carrier="DHL",
            tracking_number="JD99",
            tracking_url="https://dhl.example/JD99",
            estimated_delivery_at=f"{estimate:%Y-%m-%dT%H:%M}",
        )

        parcel.refresh_from_db()
        assert said(page) == [f"Shipped: {parcel}."]
        assert page.redirect_chain[-1][0] == f"{ORDERS}{parcel.order_id}/change/"
        assert (parcel.carrier, parcel.tracking_number, parcel.estimated_delivery_at) == ("DHL", "JD99", estimate)
        assert fresh(orders["packed"]).status == "shipped"

    def test_ships_untracked_when_that_is_said(self, staff: Client, orders: dict[str, Order]) -> None:
        parcel = orders["packed"].shipments.get()

        ship(staff, [parcel], carrier="Bike", is_untracked="on")

        parcel.refresh_from_db()
        assert (parcel.state, parcel.tracking_number) == ("shipped", "")

    def test_of_several_parcels_those_left_empty_stay(self, staff: Client, now: datetime) -> None:
        make_product("MUG")
        first, second = (pack_order(("MUG", 1), now=now) for _ in range(2))
        form = {
            "parcel": [first.public_id, second.public_id],
            f"{first.public_id}-carrier": "DHL",
            f"{first.public_id}-tracking_number": "1",
        }

        page = staff.post(f"{ORDERS}ship/?order={first.order_id}&order={second.order_id}", form, follow=True)

        assert said(page) == [f"Shipped: {first}."]
        assert dict(Shipment.objects.values_list("public_id", "state")) == {
            first.public_id: "shipped",
            second.public_id: "packed",
        }

    def test_all_left_empty_ships_nothing_and_says_so(self, staff: Client, now: datetime) -> None:
        make_product("MUG")
        parcels = [pack_order(("MUG", 1), now=now) for _ in range(2)]

        page = ship(staff, parcels)

        assert said(page) == ["Nothing was shipped: say for at least one parcel how it leaves."]

    @pytest.mark.parametrize(
        ("answers", "field"),
        [
            ({}, "carrier"),
            ({"tracking_number": "1"}, "carrier"),
            ({"carrier": "DHL"}, "tracking_number"),
            ({"carrier": "D" * 61, "tracking_number": "1"}, "carrier"),
            ({"carrier": "DHL", "tracking_number": "1" * 81}, "tracking_number"),
            ({"carrier": "DHL", "tracking_number": "1\x00"}, "tracking_number"),
            ({**COMPLETE, "is_untracked": "on"}, "is_untracked"),
            ({**COMPLETE, "tracking_url": "javascript:alert(1)"}, "tracking_url"),
            ({**COMPLETE, "tracking_url": "not a link"}, "tracking_url"),
            ({"carrier": "DHL", "tracking_number": "1", "estimated_delivery_at": "soon"}, "estimated_delivery_at"),
            (
                {"carrier": "DHL", "tracking_number": "1", "estimated_delivery_at": "2020-01-01T10:00"},
                "estimated_delivery_at",
            ),
            (
                {"carrier": "DHL", "tracking_number": "1", "estimated_delivery_at": "99999-01-01"},
                "estimated_delivery_at",
            ),
        ],
    )
    def test_an_answer_that_makes_no_sense_is_marked(
        self, staff: Client, orders: dict[str, Order], answers: dict[str, str], field: str
    ) -> None:
        before = everything()

        page = ship(staff, [orders["packed"].shipments.get()], **answers)

        (form,) = page.context["forms"]
        assert field in form.errors
        assert everything() == before

    def test_a_parcel_that_a_colleague_shipped_meanwhile_is_refused(
        self, staff: Client, orders: dict[str, Order], now: datetime
    ) -> None:
        parcel = orders["packed"].shipments.get()
        fulfilment.ship(parcel.public_id, carrier="UPS", tracking_number="U1", actor="eve", now=now)

        page = ship(staff, [parcel], **COMPLETE)

        assert said(page) == [f"Shipment {parcel} is shipped, not packed."]
        parcel.refresh_from_db()
        assert parcel.carrier == "UPS"

    @pytest.mark.parametrize("query", ["", "?order=", "?order=abc", "?order=0", f"?order={10**20}", "?order=²"])
    @pytest.mark.parametrize("verb", ["ship", "cancel"])
    def test_orders_that_do_not_exist_are_not_found(self, staff: Client, verb: str, query: str) -> None:
        assert staff.get(f"{ORDERS}{verb}/{query}").status_code == 404

    def test_a_parcel_of_an_order_that_was_not_named_stays(self, staff: Client, orders: dict[str, Order]) -> None:
        parcel = orders["packed"].shipments.get()
        form = {
            "parcel": parcel.public_id,
            f"{parcel.public_id}-carrier": "DHL",
            f"{parcel.public_id}-tracking_number": "1",
        }

        staff.post(f"{ORDERS}ship/?order={orders['confirmed'].pk}", form)

        parcel.refresh_from_db()
        assert parcel.state == "packed"


class TestCancelling:
    def test_asks_the_reason_and_tells_it(self, staff: Client, orders: dict[str, Order]) -> None:
        order = orders["confirmed"]
        asked = act(staff, "cancel", [order])

        page = staff.post(asked.redirect_chain[-1][0], {"reason": "Changed her mind"}, follow=True)

        assert said(page) == [f"Cancelled: {order}."]
        assert fresh(order).status == "cancelled"
        assert order.transitions.latest("pk").reason == "Changed her mind"

    @pytest.mark.parametrize("reason", ["", "   ", "x" * 501, "a\x00b"])
    def test_without_a_reason_nothing_is_cancelled(self, staff: Client, orders: dict[str, Order], reason: str) -> None:
        before = everything()

        page = staff.post(f"{ORDERS}cancel/?order={orders['confirmed'].pk}", {"reason": reason})

        assert "reason" in page.context["form"].errors
        assert everything() == before

    def test_what_is_packed_is_refused(self, staff: Client, orders: dict[str, Order]) -> None:
        keys = "&".join(f"order={orders[kind].pk}" for kind in ("confirmed", "packed"))

        page = staff.post(f"{ORDERS}cancel/?{keys}", {"reason": "fraud"}, follow=True)

        done, refused = said(page)
        assert done == f"Cancelled: {orders['confirmed']}."
        assert refused.startswith(f"Order {orders['packed']} is packed")
        assert fresh(orders["packed"]).status == "packed"
