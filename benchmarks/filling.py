"""Rows by the million, made by PostgreSQL itself: stock movements, their events, deliveries and attempts."""

from datetime import UTC, datetime, timedelta

from django.db import connection

from inventory.models import Product, StockLevel, Warehouse
from webhooks import subscriptions
from webhooks.models import Subscription

# One delivery in so many did not arrive.
PARKED_EVERY = 200
PENDING_EVERY = 1_000
# But to this one all did, by its place; and to the last one nothing since this share of the time.
WELL = 2
DOWN_FOR = 0.4
LEVELS = 1_000

# Movement `n` is the n // LEVELS + 1st of its level; a second apart, so that the newest is of now.
_MOVEMENTS = """
    INSERT INTO inventory_stockmovement (at, on_hand_delta, reserved_delta, safety_stock_delta, on_hand_after,
        reserved_after, safety_stock_after, version, reason, reference, actor, level_id)
    SELECT now() - make_interval(secs => %(events)s - n), 1, 0, 0, n / %(levels)s + 1, 0, 0, n / %(levels)s + 1,
        'received', '', 'bench', l.id
    FROM generate_series(0, %(events)s - 1) n JOIN bench_level l ON l.place = n %% %(levels)s ORDER BY n
"""
_LEVELS = """
    CREATE TABLE bench_level AS SELECT l.id, row_number() OVER (ORDER BY l.id) - 1 AS place,
        p.public_id || ':' || w.code AS subject, p.sku AS label
    FROM inventory_stocklevel l JOIN inventory_product p ON p.id = l.product_id
    JOIN inventory_warehouse w ON w.id = l.warehouse_id
"""
_EVENTS = """
    INSERT INTO webhooks_event (public_id, position, type, subject, label, sequence, body, occurred_at, created_at)
    SELECT 'evt_' || lpad(m.id::text, 26, '0'), 0, 'inventory.updated', l.subject, l.label, m.version,
        '{"data":{"sku":"' || l.label || '","warehouse_code":"BER","note":"' || repeat(md5(m.id::text), 20) || '"}}',
        m.at, m.at
    FROM inventory_stockmovement m JOIN bench_level l ON l.id = m.level_id ORDER BY m.id
"""
_COUNTERS = """
    UPDATE inventory_stocklevel l SET on_hand = m.n, version = m.n
    FROM (SELECT level_id, count(*) AS n FROM inventory_stockmovement GROUP BY level_id) m WHERE m.level_id = l.id;
    INSERT INTO webhooks_eventsequence (subject, last)
    SELECT subject, max(sequence) FROM webhooks_event GROUP BY subject ON CONFLICT DO NOTHING
"""
_DELIVERIES = """
    INSERT INTO webhooks_delivery (public_id, event_id, subscription_id, event_type, subject, label, state, lane,
        attempt_count, attempts_before, next_attempt_at, lease_owner, last_status_code, last_reason, resent_by,
        created_at, delivered_at)
    SELECT 'dlv_' || lpad((e.id * %(each)s + s.place)::text, 26, '0'), e.id, s.id, e.type, e.subject, e.label,
        CASE WHEN parked THEN 'parked' WHEN pending OR untried THEN 'pending' ELSE 'delivered' END, 0,
        CASE WHEN untried THEN 0 ELSE 1 END, 0,
        CASE WHEN (pending OR untried) AND NOT parked THEN now() + interval '1 hour' END, '',
        CASE WHEN untried THEN NULL WHEN parked OR pending THEN 500 ELSE 200 END,
        CASE WHEN NOT untried AND (parked OR pending) THEN 'http_5xx' ELSE '' END,
        '', e.created_at, CASE WHEN NOT (parked OR pending OR untried) THEN e.created_at END
    FROM webhooks_event e
    CROSS JOIN (
        SELECT id, row_number() OVER (ORDER BY id) - 1 AS place FROM webhooks_subscription
    ) s
    CROSS JOIN LATERAL (
        SELECT s.place = %(each)s - 1 AND e.created_at > now() - make_interval(secs => %(down_for)s) AS untried
    ) latest
    CROSS JOIN LATERAL (
        SELECT NOT untried AND s.place <> %(well)s AND e.id %% %(parked_every)s = 0 AS parked,
            NOT untried AND s.place <> %(well)s AND e.id %% %(pending_every)s = 1 AS pending
    ) state
    WHERE e.type = 'inventory.updated' ORDER BY e.id, s.id
"""
_ATTEMPTS = """
    INSERT INTO webhooks_attempt (delivery_id, number, started_at, duration_ms, status_code, reason, detail, url,
        request_headers, response_headers, response_body, response_truncated, worker)
    SELECT id, 1, created_at, 12, last_status_code, last_reason, '', 'http://127.0.0.1:9/', '[]', '[]', 'ok', false, ''
    FROM webhooks_delivery WHERE attempt_count > 0
"""


def fill(events: int, systems: int) -> None:
    """`events` movements of LEVELS stock levels, each told to all of `systems` subscriptions."""
    _shop(systems)
    values = {
        "events": events,
        "levels": LEVELS,
        "each": systems,
        "parked_every": PARKED_EVERY,
        "pending_every": PENDING_EVERY,
        "well": WELL,
        "down_for": events * DOWN_FOR,
    }
    with connection.cursor() as cursor:
        # Lost in a crash, which ends the benchmark anyhow.
        cursor.execute("SET synchronous_commit = off")
        cursor.execute(_LEVELS)
        for statement in (_MOVEMENTS, _EVENTS, _COUNTERS, _DELIVERIES, _ATTEMPTS):
            cursor.execute(statement, values)
        cursor.execute("VACUUM ANALYZE")


def _shop(systems: int) -> None:
    warehouse = Warehouse.objects.create(code="BER", name="Berlin", country="DE")
    for n in range(LEVELS):
        product = Product.objects.create(sku=f"SKU-{n}", name=f"Product {n}", price_minor=100, currency="EUR")
        StockLevel.objects.create(product=product, warehouse=warehouse)
    now = datetime.now(UTC)
    for n in range(systems):
        subscriptions.create(
            name=f"System {n}",
            url="http://127.0.0.1:9/",
            event_types=["inventory.*"],
            headers={},
            by="bench",
            now=now,
        )
    _settle_in(now)


def wish(systems: int) -> None:
    """So many subscriptions more, with a condition that no event meets: each is read to find that out."""
    now = datetime.now(UTC)
    for n in range(systems):
        subscriptions.create(
            name=f"Warehouse {n}",
            url="http://127.0.0.1:9/",
            event_types=["inventory.updated"],
            conditions=[{"field": "warehouse_code", "operator": "eq", "value": f"HAM-{n}"}],
            headers={},
            by="bench",
            now=now,
        )
    _settle_in(now)


def _settle_in(now: datetime) -> None:
    """As if all of them had been there for long."""
    Subscription.objects.update(wants_since=now - timedelta(days=365))
