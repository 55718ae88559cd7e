"""The proof after the storm: what receivers were sent against what the log says, and the shop against its own books."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Sum
from django.utils import timezone

from commerce.audit import audit
from inventory.models import StockLevel
from orders.models import Order
from tests.chaos.receivers import Receipt, System
from tests.chaos.shoppers import Shopper
from webhooks.models import Delivery, Event, Subscription
from webhooks.transport import Reason

LISTED = 10


@dataclass(frozen=True)
class Try:
    """An attempt as the log has it; without a reason it succeeded."""

    reason: str
    started_at: datetime


@dataclass(frozen=True)
class Owed:
    """An event as the log has it for one subscriber: its attempts by number."""

    event_id: str
    subject: str
    sequence: int
    state: str
    tries: dict[int, Try]


@dataclass(frozen=True)
class Copies:
    """How many requests came more than once, and what the log says of those that had to be followed by another."""

    first: int
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
            {attempt.number: Try(attempt.reason, attempt.started_at) for attempt in delivery.attempts.all()},
        )
        for delivery in deliveries.select_related("event").prefetch_related("attempts")
    ]


def differences(receipts: Sequence[Receipt], owed: Sequence[Owed], *, strict: bool) -> Iterator[str]:
    """What one subscriber was sent and the log does not explain, or the other way round."""
    by_id = {one.event_id: one for one in owed}
    arrived = {receipt.event_id for receipt in receipts}
    for event_id in arrived - set(by_id):
        yield f"{event_id} came and is not owed."
    for one in owed:
        if one.event_id not in arrived:
            yield f"{one.event_id} never came; it is {one.state}."
        elif one.state != "delivered" or list(_reasons(one)).count("") != 1:
            yield f"{one.event_id} came and is {one.state}, after {list(_reasons(one))}."
    yield from _unexplained_copies(receipts, by_id)
    yield from _out_of_order(receipts, by_id, strict=strict)


def _reasons(one: Owed) -> Iterator[str]:
    return (tried.reason for _, tried in sorted(one.tries.items()))


def _unexplained_copies(receipts: Sequence[Receipt], by_id: dict[str, Owed]) -> Iterator[str]:
    """Every request is one attempt of the log. Of those of an event all but the last had failed, or were lost."""
    for (event_id, number), count in Counter((one.event_id, one.attempt) for one in receipts).items():
        if event_id in by_id and number not in by_id[event_id].tries:
            yield f"{event_id} came as attempt {number}, which the log does not know."
        elif count > 1:
            yield f"{event_id} came {count} times as attempt {number}."


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
    by_id = {one.event_id: one for one in owed}
    reasons = [by_id[one.event_id].tries[one.attempt].reason for one in receipts]
    lost = reasons.count(Reason.WORKER_LOST)
    return Copies(reasons.count(""), lost, len(reasons) - lost - reasons.count(""))


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


def untold(system: System, owed: Iterable[Owed]) -> Iterator[str]:
    """Events that this subscriber asked for, and has no delivery of."""
    owed_ids = {one.event_id for one in owed}
    for event_id, event_type in Event.objects.values_list("public_id", "type"):
        if system.subscription.wants(event_type) and event_id not in owed_ids:
            yield f"{event_id} ({event_type}) is owed to {system.name}, which has no delivery of it."


def findings(systems: Sequence[System], shoppers: Sequence[Shopper], *, stocked: int) -> list[str]:
    found = [f"The audit: {finding}" for finding in audit(now=timezone.now()).findings]
    found += shop_differences(shoppers, stocked=stocked)
    for system in systems:
        owed = read_log(system.subscription)
        strict = system.subscription.ordering == Subscription.Ordering.STRICT
        its_own = [*untold(system, owed), *differences(system.receipts, owed, strict=strict)]
        found += [f"{system.name}: {finding}" for finding in its_own[:LISTED]]
        if len(its_own) > LISTED:
            found.append(f"{system.name}: … and {len(its_own) - LISTED} more.")
    return found
