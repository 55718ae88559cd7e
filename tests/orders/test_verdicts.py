from datetime import datetime

import pytest

from orders import fulfilment, holds, verdicts
from orders.models import Order
from orders.transitions import InvalidTransition
from tests.factories import confirm_order, pay_for, place_order
from tests.told import DataOf, Told

pytestmark = pytest.mark.django_db


def suspect(order: Order, now: datetime, *kinds: str) -> Order:
    for kind in kinds or ("fraud",):
        holds.place(order.public_id, kind=kind, reason="Odd", actor="rule", now=now)
    return order


def judge(order: Order, verdict: str, now: datetime) -> None:
    verdicts.give(order.public_id, verdict=verdict, actor="desk", now=now)


class TestAccept:
    def test_releases_and_confirms(self, told: Told, now: datetime) -> None:
        order = suspect(place_order(), now, "fraud", "verification")
        pay_for(order)

        judge(order, "accept", now)

        order.refresh_from_db()
        assert (order.status, order.on_hold) == ("confirmed", False)
        assert told(order.public_id)[-3:] == ["payment.success", "order.released", "order.confirmed"]

    def test_leaves_holds_that_the_desk_does_not_judge(self, now: datetime) -> None:
        order = suspect(confirm_order(), now, "fraud", "address")

        judge(order, "accept", now)

        assert holds.open_kinds(order) == ["address"]
        with pytest.raises(InvalidTransition, match="is on hold"):
            fulfilment.pack(order.public_id, actor="ben", now=now)

    def test_is_refused_where_nothing_is_to_be_judged(self, told: Told, now: datetime) -> None:
        order = suspect(confirm_order(), now)
        judge(order, "accept", now)

        with pytest.raises(InvalidTransition, match="is confirmed: it has no open fraud or verification hold"):
            judge(order, "accept", now)

        assert told(order.public_id).count("order.released") == 1


class TestReject:
    def test_cancels_as_fraud_and_expects_the_refund(self, data_of: DataOf, now: datetime) -> None:
        order = suspect(confirm_order(), now)

        judge(order, "reject", now)

        data = data_of("order.cancelled")
        assert (data["cancel_reason"], data["cancelled_by"], data["is_full"]) == ("fraud", "desk", True)
        assert (data["status"], data["on_hold"], data["refund_expected_amount"]) == ("cancelled", False, "49.90")

    @pytest.mark.parametrize("second", ["reject", "accept"])
    def test_is_final(self, told: Told, now: datetime, second: str) -> None:
        order = suspect(confirm_order(), now)
        judge(order, "reject", now)

        with pytest.raises(InvalidTransition, match="is cancelled"):
            judge(order, second, now)

        assert told(order.public_id).count("order.cancelled") == 1

    def test_is_refused_of_what_is_packed(self, now: datetime) -> None:
        order = confirm_order()
        fulfilment.pack(order.public_id, actor="ben", now=now)

        with pytest.raises(InvalidTransition, match="is packed"):
            judge(order, "reject", now)
