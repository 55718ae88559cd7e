"""Holding, releasing and judging orders through the API."""

from datetime import datetime

import pytest

from orders import holds
from orders.models import Hold, Order
from tests.caller import Caller
from tests.factories import confirm_order, make_product, pay_for, place_order
from tests.orders.api.refusals import assert_refused, everything

pytestmark = pytest.mark.django_db

HOLD = {"kind": "fraud", "reason": "Three cards in five minutes"}


@pytest.fixture
def oms() -> Caller:
    return Caller("orders", "fulfilment")


def test_a_hold_answers_with_the_order_and_stops_the_warehouse(oms: Caller, now: datetime) -> None:
    order = confirm_order(now=now)

    answer = oms.post(f"orders/{order.public_id}/hold/", HOLD)

    body = answer.json()
    assert answer.status_code == 200
    assert (body["status"], body["on_hold"]) == ("on_hold", True)
    (hold,) = body["holds"]
    assert (hold["kind"], hold["reason"], hold["placed_by"], hold["released_at"]) == (*HOLD.values(), "ERP", None)
    refused = oms.post(f"fulfilment/orders/{order.public_id}/pack/")
    assert_refused(refused, 409, "invalid_transition")
    assert refused.json()["detail"] == f"Order {order} is on hold: release it first."


def test_a_release_ends_all_holds_or_those_of_a_kind(oms: Caller, now: datetime) -> None:
    order = confirm_order(now=now)
    for kind in ("fraud", "address", "stock"):
        oms.post(f"orders/{order.public_id}/hold/", HOLD | {"kind": kind})

    one = oms.post(f"orders/{order.public_id}/release/", {"kind": "stock"}).json()
    rest = oms.post(f"orders/{order.public_id}/release/").json()

    assert [hold["released_at"] is None for hold in one["holds"]] == [True, True, False]
    assert (rest["status"], rest["on_hold"]) == ("confirmed", False)
    assert {hold["released_by"] for hold in rest["holds"]} == {"ERP"}


def test_a_verdict_accepts_or_rejects(oms: Caller, now: datetime) -> None:
    make_product("MUG")
    good, bad = place_order(("MUG", 1), now=now), place_order(("MUG", 1), now=now)
    for order in (good, bad):
        holds.place(order.public_id, **HOLD, actor="rule", now=now)
        pay_for(order, now=now)

    accepted = oms.post(f"orders/{good.public_id}/verdict/", {"verdict": "accept"}).json()
    rejected = oms.post(f"orders/{bad.public_id}/verdict/", {"verdict": "reject"}).json()

    assert (accepted["status"], rejected["status"]) == ("confirmed", "cancelled")


@pytest.mark.parametrize(
    ("verb", "body"),
    [("hold", HOLD), ("release", {"kind": "address"}), ("verdict", {"verdict": "reject"})],
)
def test_a_second_time_is_a_conflict_that_changes_nothing(
    oms: Caller, now: datetime, verb: str, body: dict[str, str]
) -> None:
    order = confirm_order(now=now)
    holds.place(order.public_id, kind="address", reason="No such street", actor="ann", now=now)
    assert oms.post(f"orders/{order.public_id}/{verb}/", body).status_code == 200
    before = everything(), Hold.objects.count()

    answer = oms.post(f"orders/{order.public_id}/{verb}/", body)

    assert_refused(answer, 409, "invalid_transition")
    assert answer.json()["detail"].startswith(f"Order {order} is {Order.objects.get().status}")
    assert (everything(), Hold.objects.count()) == before


@pytest.mark.parametrize(
    ("verb", "body", "field"),
    [
        ("hold", {}, "kind"),
        ("hold", {"kind": "fraud"}, "reason"),
        ("hold", {"kind": "vip", "reason": "x"}, "kind"),
        ("hold", {"kind": "fraud", "reason": ""}, "reason"),
        ("hold", {"kind": "fraud", "reason": "x" * 501}, "reason"),
        ("hold", HOLD | {"until": "tomorrow"}, "until"),
        ("release", {"kind": "vip"}, "kind"),
        ("release", {"kind": None}, "kind"),
        ("release", {"reason": "x"}, "reason"),
        ("verdict", {}, "verdict"),
        ("verdict", {"verdict": "maybe"}, "verdict"),
        ("verdict", {"verdict": ["accept"]}, "verdict"),
    ],
)
def test_a_body_that_makes_no_sense_is_refused(
    oms: Caller, now: datetime, verb: str, body: dict[str, object], field: str
) -> None:
    order = confirm_order(now=now)
    before = everything()

    assert_refused(oms.post(f"orders/{order.public_id}/{verb}/", body), 400, "validation_error", field)
    assert (everything(), Hold.objects.count()) == (before, 0)


@pytest.mark.parametrize(("verb", "body"), [("hold", HOLD), ("release", {}), ("verdict", {"verdict": "accept"})])
def test_an_order_that_does_not_exist_is_not_found(oms: Caller, verb: str, body: dict[str, str]) -> None:
    assert_refused(oms.post(f"orders/ord_none/{verb}/", body), 404, "not_found")


@pytest.mark.parametrize("verb", ["hold", "release", "verdict"])
def test_the_scope_is_needed(now: datetime, verb: str) -> None:
    order = confirm_order(now=now)

    assert_refused(Caller("fulfilment").post(f"orders/{order.public_id}/{verb}/", HOLD), 403, "permission_denied")
    assert_refused(Caller().post(f"orders/{order.public_id}/{verb}/", HOLD), 401, "not_authenticated")
