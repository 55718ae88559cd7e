"""Two verbs that want the same order at the same moment, and what may come of it: for the tests and the benchmark."""

import re
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import Any

from django.db import connections

from commerce.problems import DomainProblem
from orders import checkout, fulfilment, refunds, returns
from orders.models import Order
from orders.returns import Receipt, Wish
from tests.factories import NOW, confirm_order, make_product, pack_order, pay_for, place_order, ship_order
from webhooks.sources import DomainError

DONE = "done"
LINE = ("MUG", 2)
TOO_LATE = NOW + timedelta(minutes=15)

Verb = Callable[[Order], object]
Ends = tuple[str, str]


@dataclass(frozen=True)
class Race:
    """`endings`: of what became of the two verbs, in the words of their refusals, what the order is then."""

    begin: Callable[[], Order]
    first: Verb
    second: Verb
    endings: Mapping[Ends, dict[str, Any]]


def stock_up() -> None:
    make_product("MUG", on_hand=1_000_000)


def run(race: Race, rounds: int) -> Counter[Ends]:
    """How often it ended how. Raises AssertionError at the first ending that must not be."""
    with ThreadPoolExecutor(2) as pool:
        try:
            return Counter(_race_once(race, pool) for _ in range(rounds))
        finally:
            _hang_up(pool)


def _race_once(race: Race, pool: ThreadPoolExecutor) -> Ends:
    order = race.begin()
    together = threading.Barrier(2)
    first, second = (pool.submit(_take, verb, order, together) for verb in (race.first, race.second))
    ends = (first.result(), second.result())
    assert ends in race.endings, ends
    order = Order.objects.get(pk=order.pk)
    expected = race.endings[ends]
    found = {name: getattr(order, name) for name in expected}
    assert found == expected, (ends, found)
    return ends


def _hang_up(pool: ThreadPoolExecutor) -> None:
    """Close the database connection of each of the pool's two threads."""
    together = threading.Barrier(2)

    def close() -> None:
        together.wait()
        connections.close_all()

    for closed in [pool.submit(close) for _ in range(2)]:
        closed.result()


def _take(verb: Verb, order: Order, together: threading.Barrier) -> str:
    together.wait()
    try:
        verb(order)
    except DomainError as refusal:
        return _answer(refusal)
    return DONE


def _answer(refusal: DomainError) -> str:
    """What the loser is told, by a 409."""
    assert DomainProblem(refusal).status_code == HTTPStatus.CONFLICT
    return re.sub(r"Order \d+", "The order", str(refusal))


def _cancel(order: Order) -> None:
    checkout.cancel(order.public_id, reason="changed her mind", actor="ann", now=NOW)


def _pack_and_ship(order: Order) -> None:
    (shipment,) = fulfilment.pack(order.public_id, actor="ben", now=NOW)
    fulfilment.ship(shipment.public_id, carrier="DHL", tracking_number="JD01", actor="ben", now=NOW)


def _ship(order: Order) -> None:
    shipment = order.shipments.get()
    fulfilment.ship(shipment.public_id, carrier="DHL", tracking_number="JD01", actor="ben", now=NOW)


def _expire(order: Order) -> None:
    checkout.expire(order.public_id, now=TOO_LATE)


def _pay(order: Order) -> None:
    pay_for(order, now=TOO_LATE)


def _open_return(order: Order) -> None:
    wishes = [Wish(line.public_id, line.quantity) for line in order.lines.all()]
    returns.open_return(order.public_id, wishes=wishes, reason="Too blue", actor="customer", now=NOW)


def _refund(order: Order) -> None:
    refunds.request(order.public_id, amount_minor=4990, currency="EUR", reason="Goodwill", actor="ann", now=NOW)


def _refund_return(order: Order) -> None:
    refunds.request(
        order.public_id,
        amount_minor=4990,
        currency="EUR",
        reason="Too blue",
        return_id=order.returns.get().public_id,
        actor="erp",
        now=NOW,
    )


def _packed() -> Order:
    return pack_order(LINE).order


def _delivered() -> Order:
    shipment = ship_order(LINE)
    fulfilment.deliver(shipment.public_id, delivered_at=NOW, actor="ben", now=NOW)
    return shipment.order


def _returned() -> Order:
    order = _delivered()
    _open_return(order)
    receipts = [Receipt(line.public_id, line.quantity, "sellable") for line in order.lines.all()]
    returns.receive_return(order.returns.get().public_id, receipts=receipts, actor="ben", now=NOW)
    return order


_PACKED = "The order is packed: only lines not packed yet can be cancelled."
_SHIPPED = "The order is shipped: only lines not packed yet can be cancelled."
_GIVEN_BACK = "The order is paid: €0.00 can be refunded, not €49.90."
_SENT_BACK = "The order is delivered: 0 of 2 × MUG can be sent back, not 2."

RACES: Mapping[str, Race] = {
    "cancel against pack and ship": Race(
        lambda: confirm_order(LINE),
        _cancel,
        _pack_and_ship,
        {
            (DONE, "The order is cancelled, not confirmed."): {"status": "cancelled", "shipment_count": 0},
            (_PACKED, DONE): {"status": "shipped", "shipment_count": 1},
            (_SHIPPED, DONE): {"status": "shipped", "shipment_count": 1},
        },
    ),
    "cancel against ship": Race(
        _packed, _cancel, _ship, {(_PACKED, DONE): {"status": "shipped"}, (_SHIPPED, DONE): {"status": "shipped"}}
    ),
    "expire against pay": Race(
        lambda: place_order(LINE),
        _expire,
        _pay,
        {
            # A late payment is refunded, not refused.
            (DONE, DONE): {"status": "cancelled", "paid_minor": 4990, "refund_pending_minor": 4990},
            ("The order is confirmed and not past its time to pay.", DONE): {
                "status": "confirmed",
                "paid_minor": 4990,
                "refund_pending_minor": 0,
            },
        },
    ),
    "a callback twice": Race(
        lambda: place_order(LINE), _pay, _pay, {(DONE, DONE): {"status": "confirmed", "paid_minor": 4990}}
    ),
    "the refund of a return against that of the order": Race(
        _returned,
        _refund_return,
        _refund,
        {(DONE, _GIVEN_BACK): {"refund_pending_minor": 4990}, (_GIVEN_BACK, DONE): {"refund_pending_minor": 4990}},
    ),
    "a return twice": Race(
        _delivered,
        _open_return,
        _open_return,
        {(DONE, _SENT_BACK): {"status": "delivered"}, (_SENT_BACK, DONE): {"status": "delivered"}},
    ),
}
