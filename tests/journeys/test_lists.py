"""Every list of the API: as many statements for many rows as for few, an index for each filter and order, and nothing
that is asked of it passed over.
"""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.urls import URLResolver, get_resolver

from commerce import tokens
from tests.factories import confirm_order, make_product, make_warehouse, pack_order
from tests.journeys.shop import Shop
from tests.marks import only_on

pytestmark = pytest.mark.django_db

SINCE = "2026-01-01T00:00:00Z"
LISTS = (
    "products/",
    f"products/?updated_since={SINCE}",
    "products/?sku=MUG",
    "inventory/",
    f"inventory/?updated_since={SINCE}",
    "inventory/?sku=MUG",
    "inventory/warehouses/",
    "orders/",
    "orders/?status=confirmed",
    "orders/?state=confirmed",
    "orders/?number=1001",
    "orders/?customer_id=$customer",
    f"orders/?placed_since={SINCE}",
    f"orders/?updated_since={SINCE}",
    "fulfilment/orders/",
    "fulfilment/orders/?warehouse=BER&status=packed",
    f"fulfilment/orders/?updated_since={SINCE}",
    "customers/",
    "customers/?email=ann@example.com",
    f"customers/?updated_since={SINCE}",
    "webhooks/subscriptions/",
    "webhooks/deliveries/",
    "webhooks/deliveries/?state=pending",
    "webhooks/deliveries/?event_type=order.created",
    "webhooks/deliveries/?subject=$pending",
    "webhooks/deliveries/?subscription=$subscription",
    f"webhooks/deliveries/?since={SINCE}",
    "events/",
    "events/?type=order.created",
    "events/?subject=$pending",
)
# Of which there are a handful at most.
SMALL = ("inventory_warehouse", "webhooks_subscription", "orders_holdrule")


Read = Callable[[str], tuple[Any, list[str]]]


@pytest.fixture(scope="module")
def read(shop: Shop) -> Read:
    """The answer of a list, and the statements that it took."""
    secret = tokens.issue("reader", scopes=list(tokens.SCOPES))

    def read(path: str) -> tuple[Any, list[str]]:
        with CaptureQueriesContext(connection) as captured:
            answer = shop.send(f"GET {path}", token=secret)
        assert answer.status_code == 200, answer.content
        return answer.json(), [query["sql"] for query in captured.captured_queries]

    return read


def grow() -> None:
    """More of everything that lists show."""
    for code in ("HAM", "MUC"):
        make_warehouse(code)
    for n in range(3):
        make_product(f"CUP-{n}", warehouse="HAM")
        confirm_order((f"CUP-{n}", 1), ("MUG", 1))
    pack_order(("CUP-0", 1), ("MUG", 2))


@pytest.fixture(scope="module")
def costs(read: Read) -> dict[str, tuple[int, int]]:
    """Of each list, how many statements it takes of a few rows and of many."""
    with transaction.atomic():
        few = [len(read(path)[1]) for path in LISTS]
        grow()
        many = [len(read(path)[1]) for path in LISTS]
        transaction.set_rollback(True)
    return dict(zip(LISTS, zip(few, many, strict=True), strict=True))


@pytest.mark.parametrize("path", LISTS)
def test_costs_the_same_statements_however_many_rows_there_are(path: str, costs: dict[str, tuple[int, int]]) -> None:
    few, many = costs[path]

    assert many == few <= 9


@only_on("sqlite", because="Its plans do not depend on how many rows there are.")
@pytest.mark.parametrize("path", LISTS)
def test_reads_no_table_from_end_to_end(path: str, read: Read) -> None:
    """A list in the order of its keys, without a filter, walks along them and stops after a page."""
    _, statements = read(path)

    for sql in statements:
        for step in plan_of(sql):
            words = step.split()
            is_scan = words[0] == "SCAN" and "USING" not in words and words[1] not in SMALL
            assert not is_scan or stops_early(sql), f"{step}: {sql}"


def plan_of(sql: str) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {sql}")
        return [row[-1] for row in cursor.fetchall()]


def stops_early(sql: str) -> bool:
    """Along the keys, and no more than a page of it."""
    return '"id" DESC LIMIT' in sql and "TEMP B-TREE" not in " ".join(plan_of(sql))


def lists() -> list[str]:
    """By the URL conf: whatever is read without an id in its address."""
    included = [each for each in get_resolver().url_patterns if isinstance(each, URLResolver)]
    patterns = [pattern for each in included if str(each.pattern) == "api/v1/" for pattern in each.url_patterns]
    paths = [str(pattern.pattern) for pattern in patterns if hasattr(pattern.callback.cls, "get")]  # type: ignore[union-attr]
    return [path for path in paths if "<" not in path]


def test_are_all_here() -> None:
    assert set(lists()) == {path.partition("?")[0] for path in LISTS} | {"events/stream", "webhooks/event-types/"}


@pytest.mark.parametrize("path", [*lists(), "webhooks/subscriptions/$subscription/recover/"])
def test_refuses_what_it_does_not_read_and_names_what_it_does(path: str, shop: Shop) -> None:
    answer = shop.send(f"GET {path}?updated_after={SINCE}&page_size=1", token=shop.token())

    assert (answer.status_code, answer.json()["code"]) == (400, "validation_error")
    refused = {error["field"]: error for error in answer.json()["errors"]}["updated_after"]
    assert refused["code"] == "unknown_parameter"
    known = [each.partition("?")[2].partition("=")[0] for each in LISTS if each.startswith(f"{path}?")]
    for name in known:
        assert name in refused["detail"]
