from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from inventory.models import StockLevel, StockMovement
from orders import fulfilment, refunds, returns
from orders.models import Order, OrderLine, Return, ReturnLine
from orders.returns import Receipt, Wish
from orders.transitions import InvalidTransition
from tests.factories import (
    add_stock,
    ask_refund,
    confirm_order,
    deliver_order,
    make_product,
    send_back,
    ship_order,
    take_back,
)
from tests.told import DataOf, Told
from webhooks.models import Event

pytestmark = pytest.mark.django_db


def on_hand() -> list[int]:
    return list(StockLevel.objects.order_by("pk").values_list("on_hand", flat=True))


class TestOpen:
    def test_expects_units_back_and_tells_which_and_why(self, told: Told, data_of: DataOf, now: datetime) -> None:
        order = deliver_order()

        opened = send_back(order, 1)

        assert (opened.number, opened.state) == (f"{order}-R1", "initiated")
        assert told(order.public_id)[-1] == "order.return.initiated"
        data = data_of("order.return.initiated")
        assert (data["return_id"], data["return_number"]) == (opened.public_id, opened.number)
        assert (data["initiated_by"], data["reason"]) == ("ann", "Not as pictured")
        assert (data["expected_refund_amount"], data["status"]) == ("24.95", "delivered")
        assert [(line["sku"], line["quantity"], line["reason"]) for line in data["lines"]] == [("MUG", 1, "Chipped")]

    def test_leaves_counters_stock_and_status_until_the_units_are_back(self, now: datetime) -> None:
        order = deliver_order()

        send_back(order, 2)

        order.refresh_from_db()
        assert (order.status, order.lines.get().returned, on_hand()) == ("delivered", 0, [8])

    def test_numbers_the_returns_of_an_order(self) -> None:
        order = deliver_order()

        assert [send_back(order).number for _ in range(2)] == [f"{order}-R1", f"{order}-R2"]

    def test_expects_no_refund_of_what_was_not_paid(self) -> None:
        assert send_back(deliver_order(method="cod")).expected_refund_minor == 0

    @pytest.mark.parametrize("quantity", [0, -1, 3])
    def test_refuses_units_that_were_not_delivered(self, quantity: int, told: Told) -> None:
        order = deliver_order()

        with pytest.raises(InvalidTransition, match=f"is delivered: 2 of 2 × MUG can be sent back, not {quantity}"):
            send_back(order, quantity)

        assert Return.objects.count() == 0
        assert told(order.public_id)[-1] == "order.delivered"

    def test_refuses_units_that_are_in_another_return(self) -> None:
        order = deliver_order()
        send_back(order, 2)

        with pytest.raises(InvalidTransition, match="0 of 2 × MUG can be sent back, not 1"):
            send_back(order, 1)

    def test_refuses_units_that_are_back_already(self) -> None:
        order = deliver_order()
        take_back(send_back(order, 2))

        with pytest.raises(InvalidTransition, match="is returned: 0 of 2 × MUG"):
            send_back(order, 1)

    def test_takes_the_delivered_part_of_an_order_alone(self, now: datetime) -> None:
        order = confirm_order()
        line = order.items[0]
        (parcel,) = fulfilment.pack(order.public_id, quantities={line.public_id: 1}, actor="ben", now=now)
        fulfilment.ship(parcel.public_id, carrier="DHL", tracking_number="1", actor="ben", now=now)
        fulfilment.deliver(parcel.public_id, delivered_at=now, actor="ben", now=now)

        with pytest.raises(InvalidTransition, match="1 of 2 × MUG can be sent back, not 2"):
            send_back(order, 2)
        take_back(send_back(order, 1))

        order.refresh_from_db()
        assert (order.fulfilment_status, order.status) == ("partially_delivered", "shipped")

    def test_refuses_what_is_on_its_way(self) -> None:
        with pytest.raises(InvalidTransition, match="is shipped: 0 of 2 × MUG can be sent back"):
            send_back(ship_order().order)

    def test_refuses_a_return_of_nothing_and_of_another_order_s_lines(self, now: datetime) -> None:
        order = deliver_order()

        with pytest.raises(InvalidTransition, match="say which units"):
            returns.open_return(order.public_id, wishes=[], reason="x", actor="ann", now=now)
        with pytest.raises(OrderLine.DoesNotExist):
            returns.open_return(order.public_id, wishes=[Wish("lin_other", 1)], reason="x", actor="ann", now=now)


class TestOpenByCustomer:
    def wish(self, order: Order, now: datetime) -> Return:
        wishes = [Wish(order.items[0].public_id, 1)]
        return returns.open_by_customer(order.tracking_token, wishes=wishes, reason="Too blue", now=now)

    def test_works_within_the_window(self, data_of: DataOf, now: datetime) -> None:
        self.wish(deliver_order(), now + timedelta(days=30))

        assert data_of("order.return.initiated")["initiated_by"] == "customer"

    def test_is_refused_after_it(self, now: datetime) -> None:
        order = deliver_order()

        with pytest.raises(InvalidTransition, match="could be sent back until 23 December 2026"):
            self.wish(order, now + timedelta(days=30, seconds=1))

        assert Return.objects.count() == 0

    def test_is_refused_before_anything_has_arrived(self, now: datetime) -> None:
        with pytest.raises(InvalidTransition, match="0 of 2 × MUG can be sent back"):
            self.wish(ship_order().order, now)

    def test_knows_no_such_token(self, now: datetime) -> None:
        with pytest.raises(Order.DoesNotExist):
            returns.open_by_customer("guessed", wishes=[], reason="x", now=now)


class TestReceive:
    def test_puts_sellable_units_on_sale_again(self, told: Told, data_of: DataOf) -> None:
        order = deliver_order()
        opened = send_back(order, 2)

        received = take_back(opened)

        order.refresh_from_db()
        assert (order.status, order.fulfilment_status, order.state) == ("returned", "returned", "completed")
        assert (order.lines.get().returned, on_hand()) == (2, [10])
        assert (received.state, received.received_by) == ("received", "ben")
        movement = StockMovement.objects.latest("pk")
        assert (movement.reason, movement.on_hand_delta, movement.reference) == ("returned", 2, opened.public_id)
        assert told(order.public_id)[-1] == "order.return.received"
        data = data_of("order.return.received")
        assert (data["return_number"], data["is_complete"], data["received_by"]) == (opened.number, True, "ben")
        assert [(line["quantity"], line["condition"]) for line in data["lines"]] == [(2, "sellable")]

    def test_writes_damaged_units_off(self, data_of: DataOf) -> None:
        order = deliver_order()
        before = Event.objects.filter(type="inventory.updated").count()

        take_back(send_back(order, 2), condition="damaged")

        assert (order.lines.get().returned, on_hand()) == (2, [8])
        assert ReturnLine.objects.get().damaged == 2
        assert Event.objects.filter(type="inventory.updated").count() == before
        assert data_of("order.return.received")["lines"][0]["condition"] == "damaged"

    def test_takes_what_comes_in_parts_and_in_both_conditions(self, data_of: DataOf, now: datetime) -> None:
        order = deliver_order(*[(make_product("MUG").sku, 3)])
        opened, line_id = send_back(order, 3), order.items[0].public_id

        returns.receive_return(opened.public_id, receipts=[Receipt(line_id, 1, "sellable")], actor="ben", now=now)
        opened.refresh_from_db()
        assert (opened.state, data_of("order.return.received")["is_complete"]) == ("partially_received", False)

        rest = [Receipt(line_id, 1, "sellable"), Receipt(line_id, 1, "damaged")]
        returns.receive_return(opened.public_id, receipts=rest, actor="ben", now=now)

        opened.refresh_from_db()
        line = opened.lines.get()
        assert (opened.state, line.sellable, line.damaged, on_hand()) == ("received", 2, 1, [9])

    def test_restocks_each_unit_where_it_came_from(self) -> None:
        product = make_product("MUG", on_hand=2, warehouse="BER")
        add_stock(product, on_hand=2, warehouse="MUC")
        order = deliver_order(("MUG", 3))
        left = on_hand()

        take_back(send_back(order, 3))

        assert (sum(left), on_hand()) == (1, [2, 2])

    @pytest.mark.parametrize("quantity", [0, 3])
    def test_refuses_units_that_are_not_awaited(self, quantity: int, now: datetime) -> None:
        order = deliver_order()
        opened = send_back(order, 2)
        receipts = [Receipt(order.items[0].public_id, quantity, "sellable")]

        with pytest.raises(InvalidTransition, match=f"R1 is initiated: 2 of 2 × MUG are awaited, not {quantity}"):
            returns.receive_return(opened.public_id, receipts=receipts, actor="ben", now=now)

        assert (order.lines.get().returned, on_hand()) == (0, [8])

    def test_refuses_a_second_time(self, told: Told) -> None:
        order = deliver_order()
        opened = take_back(send_back(order, 1))
        receipts = [Receipt(order.items[0].public_id, 1, "sellable")]

        with pytest.raises(InvalidTransition, match="is received: 0 of 2 × MUG are awaited, not 1"):
            returns.receive_return(opened.public_id, receipts=receipts, actor="ben", now=opened.initiated_at)

        assert told(order.public_id).count("order.return.received") == 1

    def test_refuses_a_line_that_is_not_in_it(self, now: datetime) -> None:
        make_product("MUG")
        make_product("PAN")
        order = deliver_order(("MUG", 1), ("PAN", 1))
        opened = send_back(order, 1)

        with pytest.raises(InvalidTransition, match="0 of 1 × PAN are awaited"):
            returns.receive_return(
                opened.public_id, receipts=[Receipt(order.items[1].public_id, 1, "damaged")], actor="ben", now=now
            )
        with pytest.raises(OrderLine.DoesNotExist):
            returns.receive_return(opened.public_id, receipts=[Receipt("lin_x", 1, "damaged")], actor="ben", now=now)

    def test_of_part_of_an_order_leaves_it_delivered(self) -> None:
        order = deliver_order()

        take_back(send_back(order, 1))

        order.refresh_from_db()
        assert (order.status, order.fulfilment_status) == ("delivered", "delivered")

    def test_asks_no_cash_for_what_came_back(self) -> None:
        order = deliver_order(method="cod")

        take_back(send_back(order, 1))
        order.refresh_from_db()
        assert (order.state, order.outstanding_minor) == ("confirmed", 2495)

        take_back(send_back(order, 1))
        order.refresh_from_db()
        assert (order.state, order.outstanding_minor, order.status) == ("completed", 0, "returned")

    def test_leaves_what_was_paid_to_a_refund(self) -> None:
        order = deliver_order()
        opened = take_back(send_back(order, 1))
        order.refresh_from_db()
        assert (order.payment_status, order.refundable_minor, order.overpaid_minor) == ("paid", 4990, 0)

        ask_refund(order, opened.expected_refund_minor, return_id=opened.public_id)

        order.refresh_from_db()
        assert (order.refund_pending_minor, order.outstanding_minor) == (2495, 0)


class TestClose:
    def close(self, opened: Return, now: datetime) -> Return:
        return returns.close(opened.public_id, actor="ann", now=now)

    def test_lets_what_never_came_be_sent_back_again(self, told: Told, data_of: DataOf, now: datetime) -> None:
        order = deliver_order()
        opened = send_back(order, 2)
        with pytest.raises(InvalidTransition, match="0 of 2 × MUG can be sent back"):
            send_back(order, 2)

        closed = self.close(opened, now)

        assert (closed.state, closed.is_complete, closed.expected_refund_minor) == ("closed", True, 0)
        assert told(order.public_id)[-1] == "order.return.closed"
        data = data_of("order.return.closed")
        assert (data["return_number"], data["closed_by"], data["expected_refund_amount"]) == (
            opened.number,
            "ann",
            "0.00",
        )
        assert [(line["sku"], line["quantity"]) for line in data["lines"]] == [("MUG", 2)]
        again = take_back(send_back(order, 2))
        assert (again.state, order.lines.get().returned, on_hand()) == ("received", 2, [10])

    def test_keeps_what_has_come(self, data_of: DataOf, now: datetime) -> None:
        make_product("MUG")
        order = deliver_order(("MUG", 3))
        opened = send_back(order, 3)
        came = [Receipt(order.items[0].public_id, 1, "sellable")]
        returns.receive_return(opened.public_id, receipts=came, actor="ben", now=now)

        closed = self.close(opened, now)

        assert (closed.expected_refund_minor, data_of("order.return.closed")["lines"][0]["quantity"]) == (2495, 2)
        assert list(returns.returnable(order).values()) == [2]
        refund = ask_refund(order, 2495, return_id=opened.public_id)
        assert refund.units == {order.items[0].public_id: 1}

    def test_awaits_nothing_more(self, now: datetime) -> None:
        order = deliver_order()
        opened = self.close(send_back(order, 2), now)

        with pytest.raises(InvalidTransition, match="is closed: 0 of 2 × MUG are awaited, not 1"):
            returns.receive_return(
                opened.public_id, receipts=[Receipt(order.items[0].public_id, 1, "sellable")], actor="ben", now=now
            )
        with pytest.raises(InvalidTransition, match="is closed: nothing of it is awaited"):
            self.close(opened, now)

    def test_refuses_what_has_come_as_a_whole(self, told: Told, now: datetime) -> None:
        order = deliver_order()
        opened = take_back(send_back(order, 2))

        with pytest.raises(InvalidTransition, match="is received: nothing of it is awaited"):
            self.close(opened, now)

        assert "order.return.closed" not in told(order.public_id)

    def test_waits_for_a_refund_that_is_under_way(self, now: datetime) -> None:
        order = deliver_order()
        opened = send_back(order, 1)
        refund = ask_refund(order, 2495, return_id=opened.public_id)

        with pytest.raises(InvalidTransition, match="has a refund under way"):
            self.close(opened, now)
        refunds.failed(refund.public_id, actor="stripe", now=now)
        self.close(opened, now)

        assert list(returns.returnable(order).values()) == [2]

    def test_units_that_were_paid_back_are_not_paid_back_again(self, now: datetime) -> None:
        order = deliver_order()
        opened = send_back(order, 1)
        refund = ask_refund(order, 2495, return_id=opened.public_id)
        refunds.processed(refund.public_id, gateway_reference="re_1", actor="stripe", now=now)

        closed = self.close(opened, now)

        assert (closed.expected_refund_minor, order.lines.get().refunded) == (2495, 1)
        assert list(returns.returnable(order).values()) == [1]


class TestTheDatabase:
    @pytest.mark.parametrize(
        ("model", "changes", "constraint"),
        [
            (ReturnLine, {"sellable": 2}, "return_line_received_within_quantity"),
            (ReturnLine, {"quantity": 0}, "return_line_quantity_positive"),
            (ReturnLine, {"sellable": 1, "let_go": 1}, "return_line_received_within_quantity"),
            (Return, {"state": "received"}, "return_came_when_received"),
        ],
    )
    def test_refuses_what_cannot_be(self, model: Any, changes: dict[str, Any], constraint: str) -> None:
        send_back(deliver_order(), 1)

        with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
            model.objects.update(**changes)
