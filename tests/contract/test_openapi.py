"""Every operation of the API against its own description: no failure of ours, and only answers that it documents."""

import itertools
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import schemathesis
from django.core import signals
from django.db import close_old_connections, transaction
from drf_spectacular.generators import SchemaGenerator
from hypothesis import HealthCheck, Phase
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from commerce.wsgi import application
from tests.journeys.conftest import shop
from tests.journeys.shop import Shop
from tests.marks import only_on

pytestmark = [
    pytest.mark.django_db,
    only_on("sqlite", because="The same views answer on both databases."),
]

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
EXAMPLES = 16
# They never end, and are answered beside Django.
STREAMS = "stream$"

# What stands for a real id in a path, by the name of its parameter.
REAL = {
    "order_id": ("pending", "confirmed", "shipped_order"),
    "shipment_id": ("packed", "shipped"),
    "customer_id": ("customer",),
    "return_id": ("return",),
    "refund_id": ("refund",),
    "token": ("token", "shipped_token"),
}
__all__ = ["shop"]


def described() -> Any:
    config = schemathesis.Config.from_dict(
        {"generation": {"mode": "all", "allow-x00": True, "with-security-parameters": False}}
    )
    description = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    schema = schemathesis.openapi.from_dict(description, config=config)
    schema.app = application
    return schema.exclude(path_regex=STREAMS)


schema = described()
turns = itertools.count()


@pytest.fixture(autouse=True)
def _keep_the_connection() -> Iterator[None]:
    """As Django's own test client does: the end of a request would end the test's transaction with it."""
    signals.request_started.disconnect(close_old_connections)
    signals.request_finished.disconnect(close_old_connections)
    yield
    signals.request_started.connect(close_old_connections)
    signals.request_finished.connect(close_old_connections)


@pytest.fixture(scope="module")
def token(shop: Shop) -> str:
    return shop.token()


@schema.parametrize()  # type: ignore[untyped-decorator]
@hypothesis.settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_answers_as_it_is_described(case: Case[Any], shop: Shop, token: str) -> None:
    turn = next(turns)
    # Two of three calls are about something that is there.
    for name, ids in real_ids(case, shop).items() if turn % 3 else ():
        case.path_parameters[name] = ids[turn % len(ids)]

    with transaction.atomic():
        case.call_and_validate(headers={"Authorization": f"Bearer {token}"}, checks=CHECKS)
        transaction.set_rollback(True)


def real_ids(case: Case[Any], shop: Shop) -> dict[str, list[str]]:
    found = {name: [shop.names[each] for each in names] for name, names in REAL.items() if name in case.path_parameters}
    if "public_id" in case.path_parameters:
        found["public_id"] = [shop.names["delivery" if "deliveries" in case.path else "subscription"]]
    if "sku" in case.path_parameters:
        found["sku"] = ["MUG"]
    return found
