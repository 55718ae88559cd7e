"""What is seen of a call that was refused: a problem document, and that nothing was written."""

from typing import Any

from inventory.models import StockLevel
from orders.models import Customer, Order, OrderTransition, Payment, Shipment
from webhooks.models import Event


def everything() -> tuple[int, ...]:
    """How much has been written, in rows, versions and units."""
    models = (Order, OrderTransition, Payment, Shipment, Customer, Event)
    held = sum(StockLevel.objects.values_list("reserved", flat=True))
    return (*(model.objects.count() for model in models), held, sum(Order.objects.values_list("version", flat=True)))


def assert_refused(answer: Any, status: int, code: str, field: str | None = None) -> None:
    problem = answer.json()
    assert answer["Content-Type"] == "application/problem+json"
    assert (answer.status_code, problem["code"]) == (status, code), problem
    if field is not None:
        assert field in [error["field"] for error in problem["errors"]]
