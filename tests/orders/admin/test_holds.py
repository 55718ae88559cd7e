"""Holding and releasing in the admin, and the rules that hold by themselves."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from orders import holds
from orders.models import Hold, HoldRule, Order
from tests.caller import Caller
from tests.factories import confirm_order, make_product, pack_order, place_order
from tests.orders.admin.conftest import ORDERS, everything, fresh, log_in_with, said
from tests.orders.api.refusals import assert_refused

pytestmark = pytest.mark.django_db

RULES = "/admin/orders/holdrule/"
ANSWER = {"kind": "address", "reason": "No such street"}
RULE = {"name": "Card testing", "is_active": "on", "test": "failed_payments", "count": "3", "kind": "fraud"}


def choose(client: Client, action: str, *orders: Order) -> Any:
    form = {"action": action, "_selected_action": [order.pk for order in orders]}
    return client.post(ORDERS, form, follow=True)


def hold(order: Order, now: datetime, kind: str = "fraud") -> Order:
    holds.place(order.public_id, kind=kind, reason=f"Odd {kind}", actor="rule", now=now)
    return order


class TestHold:
    def test_asks_kind_and_reason_for_all_chosen_orders(self, staff: Client, now: datetime) -> None:
        make_product("MUG")
        orders = [confirm_order(("MUG", 1), now=now) for _ in range(2)]

        asked = choose(staff, "hold", *orders)
        page = staff.post(asked.redirect_chain[-1][0], ANSWER, follow=True)

        assert said(page) == [f"Put on hold: {orders[0]}, {orders[1]}."]
        assert set(Hold.objects.values_list("kind", "reason", "placed_by")) == {("address", "No such street", "ann")}
        assert {fresh(order).status for order in orders} == {"on_hold"}

    @pytest.mark.parametrize(
        ("answer", "field"),
        [
            ({"kind": "address"}, "reason"),
            ({"kind": "address", "reason": "x" * 501}, "reason"),
            ({"kind": "address", "reason": "\x00"}, "reason"),
            ({"kind": "vip", "reason": "x"}, "kind"),
            ({"reason": "x"}, "kind"),
        ],
    )
    def test_marks_an_answer_that_makes_no_sense(
        self, staff: Client, now: datetime, answer: dict[str, str], field: str
    ) -> None:
        order = confirm_order(now=now)
        before = everything()

        page = staff.post(f"{ORDERS}hold/?order={order.pk}", answer)

        assert field in page.context["form"].errors
        assert everything() == before

    def test_is_refused_with_the_reason(self, staff: Client, now: datetime) -> None:
        order = hold(confirm_order(now=now), now, "address")

        page = staff.post(f"{ORDERS}hold/?order={order.pk}", ANSWER, follow=True)

        assert said(page) == [f"Order {order} is on_hold: it has an open hold of this kind (address) already."]

    def test_stops_the_action_that_packs(self, staff: Client, now: datetime) -> None:
        order = hold(confirm_order(now=now), now)

        page = choose(staff, "mark_packed", order)

        assert said(page) == [f"Order {order} is on hold: release it first."]
        assert fresh(order).shipment_count == 0


class TestRelease:
    def test_from_the_list_ends_all_holds(self, staff: Client, now: datetime) -> None:
        order = hold(hold(confirm_order(now=now), now), now, "address")

        page = choose(staff, "release", order)

        assert said(page) == [f"Released: {order}."]
        assert not Hold.objects.open().exists()

    def test_from_the_page_ends_the_one_that_was_pressed(self, staff: Client, now: datetime) -> None:
        order = hold(hold(confirm_order(now=now), now), now, "address")

        staff.post(f"{ORDERS}{order.pk}/release/", {"kind": "fraud"})

        assert holds.open_kinds(order) == ["address"]

    def test_of_what_is_not_held_is_refused(self, staff: Client, now: datetime) -> None:
        order = confirm_order(now=now)

        page = staff.post(f"{ORDERS}{order.pk}/release/", follow=True)

        assert said(page) == [f"Order {order} is confirmed: it has no open hold."]


class TestPermissions:
    @pytest.mark.parametrize("verb", ["hold", "release"])
    def test_each_verb_has_its_own(self, now: datetime, verb: str) -> None:
        order = hold(confirm_order(now=now), now)
        other = {"hold": "release", "release": "hold"}[verb]
        ben = log_in_with("view_order", f"{other}_order", "cancel_order")
        path = f"{ORDERS}hold/?order={order.pk}" if verb == "hold" else f"{ORDERS}{order.pk}/release/"
        before = everything()

        assert ben.post(path, ANSWER).status_code == 403
        choose(ben, verb, order)

        assert everything() == before

    def test_who_may_release_can(self, now: datetime) -> None:
        order = hold(confirm_order(now=now), now)

        log_in_with("view_order", "release_order").post(f"{ORDERS}{order.pk}/release/")

        assert Hold.objects.get().released_by == "ben"


class TestOrderPage:
    def test_tells_what_holds_it_and_what_to_do(self, staff: Client, now: datetime) -> None:
        order = hold(hold(confirm_order(now=now), now), now, "address")

        page = staff.get(f"{ORDERS}{order.pk}/change/")

        html = page.content.decode()
        assert "Odd fraud" in html
        assert "Odd address" in html
        assert page.context["next_step"] == "Release"
        assert html.count('name="kind"') == 2
        told = [(entry.what, entry.who, entry.why) for entry in page.context["timeline"]]
        assert ("Put on hold: Fraud", "rule", "Odd fraud") in told

    def test_tells_what_a_release_ended_and_what_it_did_to_the_promise(self, staff: Client, now: datetime) -> None:
        order = hold(hold(confirm_order(now=now), now), now, "address")
        before = f"hold; it was {order.promised_from} to {order.promised_to}"

        holds.release(order.public_id, actor="eve", now=now + timedelta(days=7))

        page = staff.get(f"{ORDERS}{order.pk}/change/")
        told = [(entry.what, entry.who, entry.why) for entry in page.context["timeline"]]
        assert ("Released: Address, Fraud", "eve", "") in told
        assert ("Delivery window changed", "eve", before) in told

    def test_offers_no_hold_once_all_is_packed(self, staff: Client, now: datetime) -> None:
        order = pack_order(now=now).order

        labels = [verb.name for verb, *_ in staff.get(f"{ORDERS}{order.pk}/change/").context["buttons"]]

        assert "hold" not in labels

    @pytest.mark.parametrize(
        ("query", "found"), [("hold=any", 2), ("hold=fraud", 1), ("hold=stock", 0), ("hold=nonsense", 3)]
    )
    def test_is_found_by_its_holds(self, staff: Client, now: datetime, query: str, found: int) -> None:
        make_product("MUG")
        hold(place_order(("MUG", 1), now=now), now, "fraud")
        hold(confirm_order(("MUG", 1), now=now), now, "address")
        place_order(("MUG", 1), now=now)

        assert len(staff.get(f"{ORDERS}?{query}").context["cl"].result_list) == found


class TestStanding:
    """Of an order of a fortnight ago, which should have left the day after."""

    @pytest.mark.parametrize(("query", "found"), [("late", 1), ("at_risk", 0), ("nonsense", 2)])
    def test_is_shown_and_found(self, staff: Client, now: datetime, query: str, found: int) -> None:
        make_product("MUG")
        order = confirm_order(("MUG", 1), now=now - timedelta(days=14))
        confirm_order(("MUG", 1), now=now)

        page = staff.get(f"{ORDERS}?standing={query}")

        assert len(page.context["cl"].result_list) == found
        assert page.content.decode().count("badge-late") == (1 if found else 0)
        assert "badge-late" in staff.get(f"{ORDERS}{order.pk}/change/").content.decode()

    def test_is_found_by_the_api(self, now: datetime) -> None:
        make_product("MUG")
        order = confirm_order(("MUG", 1), now=now - timedelta(days=14))
        confirm_order(("MUG", 1), now=now)
        oms = Caller("orders")

        (late,) = oms.get("orders/?standing=late").json()["results"]

        assert late["order_id"] == order.public_id
        assert oms.get("orders/?standing=at_risk").json()["results"] == []
        assert_refused(oms.get("orders/?standing=soon"), 400, "validation_error", "standing")


class TestHoldRules:
    @pytest.mark.parametrize(
        ("answers", "words"),
        [
            ({}, "3 or more failed payments of a customer within 24 hours"),
            ({"test": "many_orders"}, "3 or more orders from one e-mail address within an hour"),
            (
                {"test": "first_order_above", "count": "", "amount": "250", "currency": "eur"},
                "A customer's first order, of €250.00 or more",
            ),
            ({"test": "ships_to", "count": "", "countries": "de, AT"}, "Ships to DE, AT"),
            ({"test": "ships_beyond", "count": "", "countries": "DE"}, "Ships to any country but DE"),
        ],
    )
    def test_are_made_and_read_in_words(self, staff: Client, answers: dict[str, str], words: str) -> None:
        staff.post(f"{RULES}add/", RULE | answers)

        rule = HoldRule.objects.get()
        assert rule.in_words == words
        assert words.replace("'", "&#x27;") in staff.get(RULES).content.decode()
        assert staff.post(f"{RULES}{rule.pk}/change/", RULE | answers).status_code == 302
        assert HoldRule.objects.get().in_words == words

    @pytest.mark.parametrize(
        ("answers", "field", "words"),
        [
            ({"count": ""}, "count", "This rule needs the number."),
            ({"count": "0"}, "count", "greater than or equal to 1"),
            ({"count": "-1"}, "count", "greater than or equal to"),
            ({"count": "three"}, "count", "Enter a whole number."),
            ({"count": "99999999999999999999"}, "count", "less than or equal to 10000"),
            ({"amount": "5"}, "amount", "This rule has no use for the amount: leave it empty."),
            ({"countries": "DE"}, "countries", "This rule has no use for the countries"),
            ({"test": ""}, "test", "This field is required."),
            ({"test": "moon_phase"}, "test", "not one of the available choices"),
            ({"kind": "vip"}, "kind", "not one of the available choices"),
            ({"name": ""}, "name", "This field is required."),
            ({"test": "first_order_above"}, "count", "This rule has no use for the number: leave it empty."),
            ({"test": "first_order_above", "count": ""}, "amount", "This rule needs the amount."),
            ({"test": "first_order_above", "count": "", "amount": "5"}, "currency", "An amount needs its currency."),
            (
                {"test": "first_order_above", "count": "", "amount": "5", "currency": "XYZ"},
                "currency",
                "not a current ISO 4217 code",
            ),
            (
                {"test": "first_order_above", "count": "", "amount": "five", "currency": "EUR"},
                "amount",
                "is not an amount such as 49.90",
            ),
            (
                {"test": "first_order_above", "count": "", "amount": "0", "currency": "EUR"},
                "amount",
                "must be more than 0",
            ),
            ({"test": "ships_to", "count": ""}, "countries", "This rule needs the countries."),
            ({"test": "ships_to", "count": "", "countries": "Germany"}, "countries", "two capital letters"),
        ],
    )
    def test_say_what_is_wrong_where_it_is(
        self, staff: Client, answers: dict[str, str], field: str, words: str
    ) -> None:
        page = staff.post(f"{RULES}add/", RULE | answers)

        errors = page.context["adminform"].form.errors
        assert any(words in error for error in errors[field]), errors
        assert not HoldRule.objects.exists()

    def test_are_taken_away_and_leave_their_holds(self, staff: Client, now: datetime) -> None:
        rule = HoldRule.objects.create(name="Abroad", test="ships_to", countries=["DE"])
        place_order(now=now)

        staff.post(f"{RULES}{rule.pk}/delete/", {"post": "yes"})

        assert (HoldRule.objects.count(), Hold.objects.open().count()) == (0, 1)

    def test_none_yet_it_says_what_they_are_for(self, staff: Client) -> None:
        assert "No rules yet" in staff.get(RULES).content.decode()
