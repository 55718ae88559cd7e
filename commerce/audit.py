"""The proof of completeness: every fact was told, to everybody it is owed to, and every counter equals its ledger.

Each check is one statement, so that it sees one moment of the database however much is going on. What retention may
have taken away, and what a subscription wanted before it was last changed, cannot be proved and is left out.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import CharField, Count, F, Model, QuerySet, Value
from django.db.models.functions import Concat

from commerce.balances import wrong_balances
from inventory.events import INVENTORY_UPDATED, PRODUCT_CREATED
from inventory.models import Product, StockLevel, StockMovement
from orders.couriers import EXCEPTIONS
from orders.events import CUSTOMER_CREATED, ORDER_TRACKING_EXCEPTION, ORDER_TRACKING_UPDATED
from orders.models import Customer, OrderLine, OrderTransition, Payment, TrackingUpdate
from orders.signals import BY_KIND, BY_RESULT
from webhooks import catalogue, conditions, retention
from webhooks.events import TEST
from webhooks.models import Delivery, Event, EventSequence, Subscription

LISTED = 20
READ_AT_ONCE = 2_000
# A transaction that was under way when a subscription changed may have read it as it was before.
SETTLING = timedelta(minutes=1)
# Between the moment a fact gives itself and the one its event was written at.
SKEW = timedelta(days=1)

FACTS = (OrderTransition, Payment, TrackingUpdate, StockMovement, Product, Customer)
COUNTED: dict[str, type[Model]] = {
    "events": Event,
    "subjects": EventSequence,
    "deliveries": Delivery,
    "stock levels": StockLevel,
    "order lines": OrderLine,
}


@dataclass(frozen=True)
class Report:
    """How many rows were proved, and the findings in words: at most LISTED of each check."""

    counts: dict[str, int]
    findings: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return ", ".join(f"{count:,} {name}" for name, count in self.counts.items())


def audit(*, now: datetime) -> Report:
    counts = {name: model._default_manager.count() for name, model in COUNTED.items()}
    report = Report({"facts": sum(model._default_manager.count() for model in FACTS), **counts})
    checks = (_untold_facts(now), _broken_sequences(), _unowed_events(now))
    for check in (*checks, _wrong_stock(), _wrong_orders(), _wrong_money(), *wrong_balances(most=LISTED + 1)):
        report.findings.extend(_bounded(check))
    return report


def _bounded(found: Iterator[str]) -> Iterator[str]:
    for place, finding in enumerate(found):
        if place == LISTED:
            yield "… and more of the same kind."
            return
        yield finding


def _rows(sql: str, values: list[Any]) -> list[tuple[Any, ...]]:
    """One more than is listed, so that it shows whether there are more."""
    with connection.cursor() as cursor:
        cursor.execute(f"{sql} LIMIT {LISTED + 1}", values)
        return list(cursor.fetchall())


# Facts


def _facts() -> Iterator[tuple[QuerySet[Any], str]]:
    """The rows each type of event is told of; what they are about is annotated as `subject`."""
    transitions = OrderTransition.objects.annotate(subject=F("order__public_id"), moment=F("at"))
    payments = Payment.objects.annotate(subject=F("order__public_id"), moment=F("at"))
    scans = TrackingUpdate.objects.filter(is_late=False)
    scans = scans.annotate(subject=F("shipment__order__public_id"), moment=F("at"))
    level = Concat("level__product__public_id", Value(":"), "level__warehouse__code", output_field=CharField())
    for kind, event_type in BY_KIND.items():
        yield transitions.filter(kind=kind), event_type.name
    for result, event_type in BY_RESULT.items():
        yield payments.filter(result=result), event_type.name
    yield scans, ORDER_TRACKING_UPDATED.name
    yield scans.filter(status__in=EXCEPTIONS), ORDER_TRACKING_EXCEPTION.name
    yield StockMovement.objects.annotate(subject=level, moment=F("at")), INVENTORY_UPDATED.name
    for model, event_type in ((Product, PRODUCT_CREATED), (Customer, CUSTOMER_CREATED)):
        yield model.objects.annotate(subject=F("public_id"), moment=F("created_at")), event_type.name


_UNTOLD = """
    SELECT owed.subject, owed.type, owed.moment, owed.n, coalesce(told.n, 0) FROM ({owed}) AS owed
    LEFT JOIN (
        SELECT subject, type, occurred_at, count(*) AS n FROM webhooks_event GROUP BY subject, type, occurred_at
    ) AS told ON told.subject = owed.subject AND told.type = owed.type AND told.occurred_at = owed.moment
    LEFT JOIN webhooks_eventsequence s ON s.subject = owed.subject
    WHERE coalesce(told.n, 0) < owed.n AND (owed.moment >= %s OR coalesce(s.pruned, 0) = 0)
    ORDER BY owed.moment, owed.subject
"""


def _untold_facts(now: datetime) -> Iterator[str]:
    """Facts of one subject, type and moment against their events; those whose event may have been pruned aside."""
    parts, values = [], []
    for rows, event_type in _facts():
        told_of = rows.annotate(type=Value(event_type, output_field=CharField())).order_by()
        grouped = told_of.values("subject", "type", "moment").annotate(n=Count("pk"))
        sql, its_values = grouped.query.sql_with_params()
        parts.append(sql)
        values += its_values
    horizon = now - retention.KEEP_EVENTS + SKEW
    for subject, event_type, moment, facts, events in _rows(
        _UNTOLD.format(owed=" UNION ALL ".join(parts)), [*values, _adapt(horizon)]
    ):
        yield f"{subject}: {facts} × {event_type} at {moment} happened, and {events} events tell of it."


# Events

_SEQUENCES = """
    SELECT * FROM (
        SELECT s.subject, s.pruned + 1 AS first, s.last, coalesce(e.n, 0) AS n, e.low, e.high
        FROM webhooks_eventsequence s LEFT JOIN ({numbered}) e ON e.subject = s.subject
        WHERE coalesce(e.n, 0) <> s.last - s.pruned
           OR (e.n > 0 AND (e.low <> s.pruned + 1 OR e.high <> s.last))
        UNION ALL
        SELECT e.subject, 1, 0, e.n, e.low, e.high FROM ({numbered}) e
        LEFT JOIN webhooks_eventsequence s ON s.subject = e.subject WHERE s.subject IS NULL
    ) broken ORDER BY subject
"""
_NUMBERED = """
    SELECT subject, count(*) AS n, min(sequence) AS low, max(sequence) AS high FROM webhooks_event GROUP BY subject
"""


def _broken_sequences() -> Iterator[str]:
    """A number is never given twice (a constraint), so count, lowest and highest prove that none is left out."""
    for subject, first, last, events, low, high in _rows(_SEQUENCES.format(numbered=_NUMBERED), []):
        found = f"{events} events, numbered {low} to {high}" if events else "none"
        yield f"{subject}: events {first} to {last} were written, and there are {found}."


_UNOWED = """
    WITH wishes (subscription_id, type, since) AS (VALUES {wishes})
    SELECT s.name, e.public_id, e.type, e.label FROM webhooks_event e
    JOIN wishes w ON w.type = e.type AND e.created_at >= w.since
    JOIN webhooks_subscription s ON s.id = w.subscription_id
    LEFT JOIN webhooks_delivery d ON d.event_id = e.id AND d.subscription_id = w.subscription_id
    WHERE d.id IS NULL ORDER BY e.id, s.id
"""
# Each event once, with all who have no delivery of it.
_UNOWED_AS_FAR_AS_TYPES_TELL = """
    WITH wishes (subscription_id, type, since) AS (VALUES {wishes})
    SELECT e.public_id, e.type, e.label, e.body, unowed.to_whom FROM (
        SELECT e.id, {listed}(CAST(w.subscription_id AS text), ',') AS to_whom FROM webhooks_event e
        JOIN wishes w ON w.type = e.type AND e.created_at >= w.since
        LEFT JOIN webhooks_delivery d ON d.event_id = e.id AND d.subscription_id = w.subscription_id
        WHERE d.id IS NULL GROUP BY e.id
    ) unowed JOIN webhooks_event e ON e.id = unowed.id ORDER BY e.id
"""
_LISTED = {"postgresql": "string_agg", "sqlite": "group_concat"}


def _unowed_events(now: datetime) -> Iterator[str]:
    """Events without a delivery to a subscription that has wanted them since before they were written."""
    # What retention takes away while we look was there a moment ago.
    oldest = now - retention.KEEP_DELIVERED + SKEW
    saved = Subscription.objects.exclude(state=Subscription.State.DRAFT)
    since = {subscription: max(subscription.wants_since + SETTLING, oldest) for subscription in saved}
    yield from _unowed_by_type({each: moment for each, moment in since.items() if not each.conditions})
    yield from _unowed_by_condition({each: moment for each, moment in since.items() if each.conditions})


def _unowed_by_type(since: Mapping[Subscription, datetime]) -> Iterator[str]:
    rows, wishes = _wishes(since)
    if wishes:
        for name, event_id, event_type, label in _rows(_UNOWED.format(wishes=rows), wishes):
            yield _unowed(event_id, event_type, label, name)


def _unowed_by_condition(since: Mapping[Subscription, datetime]) -> Iterator[str]:
    """Conditions are not the database's to check: an event is read once for all that have some."""
    rows, wishes = _wishes(since)
    if not wishes:
        return
    by_id = {subscription.pk: subscription for subscription in since}
    sql = _UNOWED_AS_FAR_AS_TYPES_TELL.format(wishes=rows, listed=_LISTED[connection.vendor])
    for event_id, event_type, label, body, to_whom in _stream(sql, wishes):
        declared, data = catalogue.get(event_type), json.loads(body)["data"]
        for subscription in (by_id[int(pk)] for pk in to_whom.split(",")):
            if conditions.hold(subscription.conditions, declared, data):
                yield _unowed(event_id, event_type, label, subscription.name)


def _wishes(since: Mapping[Subscription, datetime]) -> tuple[str, list[Any]]:
    """Who wants events of which type since when: placeholders of rows, and their values."""
    wishes: list[Any] = []
    for subscription, moment in since.items():
        for event_type in catalogue.all_types():
            if event_type is not TEST and subscription.wants(event_type.name):
                wishes += [subscription.pk, event_type.name, _adapt(moment)]
    return ", ".join(["(%s, %s, %s)"] * (len(wishes) // 3)), wishes


def _stream(sql: str, values: list[Any]) -> Iterator[tuple[Any, ...]]:
    """There may be millions: some at a time, and all as of one moment."""
    with connection.chunked_cursor() as cursor:
        cursor.execute(sql, values)
        while rows := cursor.fetchmany(READ_AT_ONCE):
            yield from rows


def _unowed(event_id: str, event_type: str, label: str, name: str) -> str:
    return f"{event_id} ({event_type}, {label}) is not owed to {name}, which wants it."


# Stock and orders

_STOCK = """
    SELECT p.sku, w.code, l.on_hand, l.reserved, l.safety_stock, l.version,
           coalesce(m.on_hand, 0), coalesce(m.reserved, 0), coalesce(m.safety_stock, 0), coalesce(m.n, 0)
    FROM inventory_stocklevel l
    JOIN inventory_product p ON p.id = l.product_id JOIN inventory_warehouse w ON w.id = l.warehouse_id
    LEFT JOIN (
        SELECT level_id, sum(on_hand_delta) AS on_hand, sum(reserved_delta) AS reserved,
               sum(safety_stock_delta) AS safety_stock, count(*) AS n
        FROM inventory_stockmovement GROUP BY level_id
    ) m ON m.level_id = l.id
    WHERE l.on_hand <> coalesce(m.on_hand, 0) OR l.reserved <> coalesce(m.reserved, 0)
       OR l.safety_stock <> coalesce(m.safety_stock, 0) OR l.version <> coalesce(m.n, 0)
    ORDER BY p.sku, w.code
"""


def _wrong_stock() -> Iterator[str]:
    for sku, code, *numbers in _rows(_STOCK, []):
        names = ("on hand", "reserved", "safety stock", "movements")
        for name, has, adds_up in zip(names, numbers[:4], numbers[4:], strict=True):
            if has != adds_up:
                yield f"{sku} in {code}: the level says {has} {name}, its movements add up to {adds_up}."


_ORDERS = """
    SELECT o.number, l.sku, l.quantity - l.cancelled, l.packed, l.packed, l.shipped, l.delivered, l.returned,
           coalesce(a.quantity, 0), coalesce(a.packed, 0),
           coalesce(s.packed, 0), coalesce(s.shipped, 0), coalesce(s.delivered, 0), coalesce(r.received, 0)
    FROM orders_orderline l JOIN orders_order o ON o.id = l.order_id
    LEFT JOIN (
        SELECT line_id, sum(quantity) AS quantity, sum(packed) AS packed FROM orders_allocation GROUP BY line_id
    ) a ON a.line_id = l.id
    LEFT JOIN (
        SELECT c.line_id, sum(c.quantity) AS packed,
               sum(CASE WHEN p.state <> 'packed' THEN c.quantity ELSE 0 END) AS shipped,
               sum(CASE WHEN p.state = 'delivered' THEN c.quantity ELSE 0 END) AS delivered
        FROM orders_shipmentline c JOIN orders_shipment p ON p.id = c.shipment_id
        WHERE p.state NOT IN ('unpacked', 'returned') GROUP BY c.line_id
    ) s ON s.line_id = l.id
    LEFT JOIN (
        SELECT line_id, sum(sellable + damaged) AS received FROM orders_returnline GROUP BY line_id
    ) r ON r.line_id = l.id
    WHERE l.quantity - l.cancelled <> coalesce(a.quantity, 0) OR l.packed <> coalesce(a.packed, 0)
       OR l.packed <> coalesce(s.packed, 0) OR l.shipped <> coalesce(s.shipped, 0)
       OR l.delivered <> coalesce(s.delivered, 0) OR l.returned <> coalesce(r.received, 0)
    ORDER BY l.id
"""
_COUNTERS = (
    ("wanted", "its allocations hold"),
    ("packed", "its allocations have packed"),
    ("packed", "its parcels hold"),
    ("shipped", "its parcels that left hold"),
    ("delivered", "its parcels that arrived hold"),
    ("returned", "its returns have received"),
)


def _wrong_orders() -> Iterator[str]:
    for number, sku, *counters in _rows(_ORDERS, []):
        for (name, whose), has, adds_up in zip(_COUNTERS, counters[:6], counters[6:], strict=True):
            if has != adds_up:
                yield f"Order {number}, {sku}: the line says {has} {name}, {whose} {adds_up}."


_MONEY = """
    SELECT o.number, o.paid_minor, o.refunded_minor, o.refund_pending_minor,
           coalesce(p.paid, 0), coalesce(r.refunded, 0), coalesce(r.pending, 0)
    FROM orders_order o
    LEFT JOIN (
        SELECT order_id, sum(amount_minor) AS paid FROM orders_payment
        WHERE result = 'success' AND kind IN ('capture', 'cod_collection') GROUP BY order_id
    ) p ON p.order_id = o.id
    LEFT JOIN (
        SELECT order_id, sum(CASE WHEN state = 'processed' THEN amount_minor ELSE 0 END) AS refunded,
               sum(CASE WHEN state = 'requested' THEN amount_minor ELSE 0 END) AS pending
        FROM orders_refund GROUP BY order_id
    ) r ON r.order_id = o.id
    WHERE o.paid_minor <> coalesce(p.paid, 0) OR o.refunded_minor <> coalesce(r.refunded, 0)
       OR o.refund_pending_minor <> coalesce(r.pending, 0)
    ORDER BY o.id
"""


def _wrong_money() -> Iterator[str]:
    for number, *sums in _rows(_MONEY, []):
        names = ("paid", "refunded", "to be refunded")
        for name, has, adds_up in zip(names, sums[:3], sums[3:], strict=True):
            if has != adds_up:
                yield f"Order {number}: it says {has} minor units {name}, its payments and refunds add up to {adds_up}."


def _adapt(moment: datetime) -> Any:
    return connection.ops.adapt_datetimefield_value(moment)
