"""The API's list of orders, a million of them against a thousand: `python -m benchmarks.api_paging`."""

import statistics
import time
from base64 import b64encode
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from benchmarks import harness

SMALL, LARGE = 1_000, 1_000_000
REPEATS = 31
BAR = 1.5
# One of them has placed a thousandth of the orders.
CUSTOMERS = 1_000

_CUSTOMERS = """
    INSERT INTO orders_customer (public_id, email, name, phone, locale, accepts_marketing, version, created_at,
        updated_at)
    SELECT 'cus_' || lpad(n::text, 26, '0'), 'shopper' || n || '@example.com', 'Ada Lee', '', 'en', false, 1, now(),
        now()
    FROM generate_series(1, %(customers)s) n
"""
# Copies of one order, a second apart; the newest is of now, and one in ten is confirmed.
_ORDERS = """
    INSERT INTO orders_order (public_id, tracking_token, customer_id, placed_at, updated_at, state, status, {columns})
    SELECT 'ord_' || lpad(n::text, 26, '0'), md5(n::text), c.id, moment, moment, made.state, made.state, {copied}
    FROM generate_series(1, %(orders)s) n
    CROSS JOIN LATERAL (
        SELECT now() - make_interval(secs => %(orders)s - n) AS moment,
            CASE WHEN n %% 10 = 0 THEN 'confirmed' ELSE 'pending' END AS state
    ) made
    JOIN orders_customer c ON c.public_id = 'cus_' || lpad((n %% %(customers)s + 1)::text, 26, '0')
    CROSS JOIN (SELECT {columns} FROM orders_order WHERE id = %(template)s) template
    ORDER BY n
"""
_OWN = {"id", "number", "public_id", "tracking_token", "customer_id", "placed_at", "updated_at", "state", "status"}


def pages(orders: int) -> dict[str, str]:
    """What a caller asks for: the newest, far back in the list, and by a filter, at its beginning and far back."""
    deep = b64encode(urlencode({"p": orders // 2}).encode()).decode()
    return {
        "first page": "",
        "page deep inside": urlencode({"cursor": deep}),
        "first page of a status": "status=confirmed",
        "page deep inside a state": urlencode({"state": "confirmed", "cursor": deep}),
        "page of a customer": f"customer_id=cus_{7:026}",
    }


def measure(small: int, large: int) -> dict[str, list[float]]:
    """Runs inside Django. Median milliseconds of each page with so many orders, by the API's view in this process.

    Both databases are on one server, and asked in turns: what else the machine does weighs on both alike.
    """
    from django.db import connection

    databases = {"bench_small": small, str(connection.settings_dict["NAME"]): large}
    with connection.cursor() as cursor:
        cursor.execute("CREATE DATABASE bench_small")
    tokens = {name: _prepare(name, orders) for name, orders in databases.items()}
    taken: dict[str, list[list[float]]] = {page: [[] for _ in databases] for page in pages(small)}
    for _ in range(REPEATS):
        for place, (name, orders) in enumerate(databases.items()):
            _use(name)
            _milliseconds("", tokens[name])
            for page, query in pages(orders).items():
                taken[page][place].append(_milliseconds(query, tokens[name]))
    return {page: [statistics.median(of_one) for of_one in both] for page, both in taken.items()}


def _prepare(name: str, orders: int) -> str:
    """A full database, and a token to read it with."""
    from django.core.management import call_command

    from commerce import tokens
    from orders.models import Order
    from tests.factories import place_order

    _use(name)
    call_command("migrate", verbosity=0)
    template = place_order()
    columns = [field.column for field in Order._meta.local_concrete_fields if field.column not in _OWN]
    _fill(columns, {"orders": orders, "customers": CUSTOMERS, "template": template.pk})
    return tokens.issue("Bench", scopes=["orders"])


def _fill(columns: list[str], values: Mapping[str, int]) -> None:
    from django.db import connection

    orders = _ORDERS.format(columns=", ".join(columns), copied=", ".join(f"template.{name}" for name in columns))
    with connection.cursor() as cursor:
        # Lost in a crash, which ends the benchmark anyhow.
        cursor.execute("SET synchronous_commit = off")
        cursor.execute(_CUSTOMERS, values)
        cursor.execute(orders, values)
        cursor.execute("VACUUM ANALYZE")


def _use(database: str) -> None:
    from django.db import connection

    connection.close()
    connection.settings_dict["NAME"] = database


def _milliseconds(query: str, token: str) -> float:
    from django.test import Client

    client: Any = Client(SERVER_NAME="127.0.0.1", headers={"Authorization": f"Bearer {token}"})
    started = time.perf_counter()
    answer = client.get(f"/api/v1/orders/?{query}")
    taken = (time.perf_counter() - started) * 1000
    assert answer.status_code == 200, (query, answer.content)
    assert answer.json()["results"], query
    return taken


def compare() -> dict[str, list[float]]:
    """Of the few orders and of the many."""
    with harness.database("postgres") as environment:
        found: dict[str, list[float]] = harness.in_django(environment, "page_orders", SMALL, LARGE)
    return found


def slowest(found: Mapping[str, list[float]]) -> tuple[float, str]:
    """The highest ratio, and the page it is of."""
    return max((large / small, page) for page, (small, large) in found.items())


def main() -> None:
    found = compare()
    for page, (small, large) in found.items():
        print(f"{page:26} {small:8.1f} ms {large:8.1f} ms {large / small:6.2f}")
    ratio, page = slowest(found)
    print(f"slowest: {page}, ratio {ratio:.2f} (bar {BAR})")


if __name__ == "__main__":
    main()
