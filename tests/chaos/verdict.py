"""The proof after the storm: what receivers were sent against what the log says, and the shop against its own books."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Sum
from django.utils import timezone

from commerce.audit import audit
from inventory.models import StockLevel
from orders.models import Order
from tests.chaos.receivers import Receipt, System
from tests.chaos.shoppers import Clerk, Shopper
from webhooks.models import Attempt, Delivery, Event, Subscription
from webhooks.transport import Reason

LISTED = 10


@dataclass(frozen=True)
class Try:
    """An attempt as the log has it; without a reason it succeeded."""

    reason: str
    started_at: datetime
    is_redelivery: bool = False


@dataclass(frozen=True)
class Owed:
    """An event as the log has it for one subscriber: its attempts by number."""

    event_id: str
    subject: str
    sequence: int
    state: str
    tries: dict[int, Try]
    delivery_id: str = ""
    is_resent: bool = False

    @property
    def reasons(self) -> list[str]:
        return [self.tries[number].reason for number in sorted(self.tries)]


@dataclass(frozen=True)
class Copies:
    """How many requests came, by what the log says of them; `resent` came again though one had arrived before."""

    first: int
    resent: int
    lost: int
    failed: int


def read_log(subscription: Subscription) -> list[Owed]:
    deliveries = Delivery.objects.filter(subscription=subscription).order_by("pk")
    return [
        Owed(
            delivery.event.public_id,
            delivery.subject,
            delivery.event.sequence,
            delivery.state,
            {attempt.number: _read_try(attempt) for attempt in delivery.attempts.all()},
            delivery.public_id,
            bool(delivery.resent_by),
        )
        for delivery in deliveries.select_related("event").prefetch_related("attempts")
    ]


def _read_try(attempt: Attempt) -> Try:
    is_redelivery = any(name == "webhook-redelivery" for name, _ in attempt.request_headers)
    return Try(attempt.reason, attempt.started_at, is_redelivery)


def differences(receipts: Sequence[Receipt], owed: Sequence[Owed], *, strict: bool) -> Iterator[str]:
    """What one subscriber was sent and the log does not explain, or the other way round."""
    by_id = {one.event_id: one for one in owed}
    arrived = {receipt.event_id for receipt in receipts}
    for event_id in arrived - set(by_id):
        yield f"{event_id} came and is not owed."
    for one in owed:
        if one.event_id not in arrived:
            yield f"{one.event_id} never came; it is {one.state}."
        elif one.state != "delivered" or not one.reasons or one.reasons[-1]:
            yield f"{one.event_id} came and is {one.state}, after {one.reasons}."
        yield from _needless_tries(one)
    yield from _unexplained_copies(receipts, by_id)
    yield from _out_of_order(receipts, by_id, strict=strict)


def _needless_tries(one: Owed) -> Iterator[str]:
    """What had arrived is sent again only where the log says that somebody resent it."""
    has_arrived = False
    for number, tried in sorted(one.tries.items()):
        is_marked = tried.is_redelivery or tried.reason == Reason.WORKER_LOST
        if has_arrived and not (one.is_resent and is_marked):
            yield f"{one.event_id} had arrived, and attempt {number} is no resend."
        has_arrived = has_arrived or not tried.reason


def _unexplained_copies(receipts: Sequence[Receipt], by_id: dict[str, Owed]) -> Iterator[str]:
    """Every request is one attempt of the log, and only what was resent says that it is."""
    for (event_id, number), count in Counter((one.event_id, one.attempt) for one in receipts).items():
        if event_id in by_id and number not in by_id[event_id].tries:
            yield f"{event_id} came as attempt {number}, which the log does not know."
        elif count > 1:
            yield f"{event_id} came {count} times as attempt {number}."
    for receipt in receipts:
        if receipt.is_redelivery and receipt.event_id in by_id and not by_id[receipt.event_id].is_resent:
            yield f"{receipt.event_id} came as a redelivery, and nobody resent it."


def broken_promises(
    receipts: Sequence[Receipt],
    owed: Sequence[Owed],
    *,
    asked: Mapping[str, datetime],
    promised: Mapping[str, datetime],
) -> Iterator[str]:
    """Deliveries that the log calls resent though nobody asked for it, and those that were to come again and did not.

    `asked` and `promised` tell since when, by the delivery's id.
    """
    last_copy = {receipt.event_id: receipt.at for receipt in receipts if receipt.is_redelivery}
    for one in owed:
        if one.is_resent and one.delivery_id not in asked:
            yield f"{one.event_id} is called resent, and nobody asked for it."
        since = promised.get(one.delivery_id)
        if since and not (one.event_id in last_copy and last_copy[one.event_id] >= since):
            yield f"{one.event_id} was to come again, and did not."


def _out_of_order(receipts: Sequence[Receipt], by_id: dict[str, Owed], *, strict: bool) -> Iterator[str]:
    """First copies of one subject that overtook an earlier event which had not failed before."""
    waiting: dict[str, list[Owed]] = defaultdict(list)
    for one in sorted(by_id.values(), key=lambda one: one.sequence):
        waiting[one.subject].append(one)
    for receipt in receipts:
        line = waiting[receipt.subject]
        for earlier in [one for one in line if one.sequence < receipt.sequence]:
            if strict or not _failed_before(earlier, receipt.at):
                yield f"{receipt.event_id} ({receipt.subject}, {receipt.sequence}) came before {earlier.sequence}."
        waiting[receipt.subject] = [one for one in line if one.event_id != receipt.event_id]


def _failed_before(one: Owed, moment: datetime) -> bool:
    return any(tried.reason and tried.started_at <= moment for tried in one.tries.values())


def count_copies(receipts: Sequence[Receipt], owed: Sequence[Owed]) -> Copies:
    """Those that the log does not know are left to `differences`."""
    tries = {(one.event_id, number): tried for one in owed for number, tried in one.tries.items()}
    known = [tries.get((receipt.event_id, receipt.attempt)) for receipt in receipts]
    reasons = [tried.reason for tried in known if tried]
    arrived, lost = reasons.count(""), reasons.count(Reason.WORKER_LOST)
    return Copies(len(owed), arrived - len(owed), lost, len(reasons) - lost - arrived)


# The shop


def shop_differences(shoppers: Sequence[Shopper], *, stocked: int) -> Iterator[str]:
    """Orders that were not made, or made twice, or stopped half-way; units that are not where they must be."""
    walked = [order_id for shopper in shoppers for order_id in shopper.order_ids]
    orders = dict(Order.objects.values_list("public_id", "status"))
    yield from (f"{order_id} was answered and is not there." for order_id in set(walked) - set(orders))
    yield from (f"{order_id} is there and nobody was answered it." for order_id in set(orders) - set(walked))
    yield from (f"{order_id} is {status}." for order_id, status in orders.items() if status != Order.Status.DELIVERED)
    sold: Counter[str] = sum((shopper.sold for shopper in shoppers), Counter())
    levels: Any = StockLevel.objects.values("product__sku").annotate(on_hand=Sum("on_hand"), reserved=Sum("reserved"))
    for level in levels:
        sku = level["product__sku"]
        if level["on_hand"] != stocked - sold[sku] or level["reserved"]:
            yield f"{sku}: {level['on_hand']} on hand and {level['reserved']} reserved, {sold[sku]} sold of {stocked}."


def untold(subscription: Subscription, owed: Iterable[Owed]) -> Iterator[str]:
    """Events that this subscriber asked for, and has no delivery of."""
    owed_ids = {one.event_id for one in owed}
    for event_id, event_type in Event.objects.values_list("public_id", "type"):
        if subscription.wants(event_type) and event_id not in owed_ids:
            yield f"{event_id} ({event_type}) is owed to {subscription.name}, which has no delivery of it."


def findings(systems: Sequence[System], shoppers: Sequence[Shopper], clerk: Clerk, *, stocked: int) -> list[str]:
    found = [f"The audit: {finding}" for finding in audit(now=timezone.now()).findings]
    found += shop_differences(shoppers, stocked=stocked)
    for system in systems:
        owed = read_log(system.subscription)
        strict = system.subscription.ordering == Subscription.Ordering.STRICT
        its_own = [
            *untold(system.subscription, owed),
            *differences(system.receipts, owed, strict=strict),
            *broken_promises(system.receipts, owed, asked=clerk.asked, promised=clerk.promised),
        ]
        found += [f"{system.name}: {finding}" for finding in its_own[:LISTED]]
        if len(its_own) > LISTED:
            found.append(f"{system.name}: … and {len(its_own) - LISTED} more.")
    return found
