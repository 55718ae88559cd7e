"""Counters that orders and stock keep of each other, against the rows that they count; a part of the audit.

Each check is one statement that reads every table once.
"""

from collections.abc import Iterator
from typing import Any

from django.db import connection


def wrong_balances(*, most: int) -> list[Iterator[str]]:
    """A sentence for each counter that differs, by check; at most so many of each."""
    return [_wrong_reserved(most), _wrong_authorised(most), _wrong_refunded(most)]


def _rows(sql: str, most: int) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(f"{sql} LIMIT {most}")
        return list(cursor.fetchall())


# What has left its warehouse is issued, and reserved no more.
_RESERVED = """
    SELECT p.sku, w.code, l.reserved, coalesce(a.held, 0) - coalesce(g.gone, 0)
    FROM inventory_stocklevel l
    JOIN inventory_product p ON p.id = l.product_id JOIN inventory_warehouse w ON w.id = l.warehouse_id
    LEFT JOIN (SELECT level_id, sum(quantity) AS held FROM orders_allocation GROUP BY level_id) a ON a.level_id = l.id
    LEFT JOIN (
        SELECT c.level_id, sum(c.quantity) AS gone
        FROM orders_shipmentline c JOIN orders_shipment s ON s.id = c.shipment_id
        WHERE s.state IN ('shipped', 'delivered') GROUP BY c.level_id
    ) g ON g.level_id = l.id
    WHERE l.reserved <> coalesce(a.held, 0) - coalesce(g.gone, 0)
    ORDER BY p.sku, w.code
"""


def _wrong_reserved(most: int) -> Iterator[str]:
    for sku, code, reserved, held in _rows(_RESERVED, most):
        yield f"{sku} in {code}: the level says {reserved} reserved, open allocations hold {held}."


_AUTHORISED = """
    SELECT o.number, o.authorised_minor, coalesce(p.authorised, 0)
    FROM orders_order o
    LEFT JOIN (
        SELECT order_id, sum(amount_minor) AS authorised FROM orders_payment
        WHERE result = 'success' AND kind = 'authorisation' GROUP BY order_id
    ) p ON p.order_id = o.id
    WHERE o.authorised_minor <> coalesce(p.authorised, 0)
    ORDER BY o.id
"""


def _wrong_authorised(most: int) -> Iterator[str]:
    for number, authorised, adds_up in _rows(_AUTHORISED, most):
        yield f"Order {number}: it says {authorised} minor units authorised, its authorisations add up to {adds_up}."


_REFUNDED = """
    SELECT o.number, l.sku, l.refunded, coalesce(r.refunded, 0)
    FROM orders_orderline l JOIN orders_order o ON o.id = l.order_id
    LEFT JOIN (
        SELECT u.key AS line_id, sum(CAST(u.value AS integer)) AS refunded
        FROM orders_refund f CROSS JOIN {units} AS u
        WHERE f.state = 'processed' GROUP BY u.key
    ) r ON r.line_id = l.public_id
    WHERE l.refunded <> coalesce(r.refunded, 0)
    ORDER BY l.id
"""
_UNITS = {"postgresql": "LATERAL jsonb_each_text(f.units)", "sqlite": "json_each(f.units)"}


def _wrong_refunded(most: int) -> Iterator[str]:
    for number, sku, refunded, counted in _rows(_REFUNDED.format(units=_UNITS[connection.vendor]), most):
        yield f"Order {number}, {sku}: the line says {refunded} refunded, its processed refunds are of {counted}."
