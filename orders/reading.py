"""One order, with what is to be shown of it, for as few statements as there is to read."""

from collections.abc import Callable, Mapping
from typing import Any

from django.db import connection, models
from django.db.models import Prefetch, QuerySet, prefetch_related_objects

from orders.models import Hold, Order, OrderTransition, Payment, Refund, Return, Shipment


def parcels(**of: Any) -> Prefetch:  # type: ignore[type-arg]
    """But for those that were taken apart before they left: they are no parcels any more."""
    shipments = (
        Shipment.objects.filter(**of)
        .exclude(state=Shipment.State.UNPACKED)
        .select_related("warehouse")
        .order_by("index")
    )
    return Prefetch("shipments", shipments.prefetch_related("lines", "tracking_updates"), to_attr="parcels")


_READ: Mapping[str, Callable[[], QuerySet[Any]]] = {
    "payments": Payment.objects.all,
    "holds": Hold.objects.all,
    "transitions": OrderTransition.objects.all,
    "returns": lambda: Return.objects.prefetch_related("lines"),
    "refunds": lambda: Refund.objects.select_related("payment", "goods_return"),
}


def _prefetch(relation: str, name: str) -> Prefetch:  # type: ignore[type-arg]
    if relation == "shipments":
        return parcels()
    return Prefetch(relation, _READ[relation]().order_by("pk"), to_attr=name)


def read(parts: Mapping[str, str], **lookup: Any) -> Any:
    """The order that `lookup` finds, with its items, and each relation of `parts` as a list under the name given there.

    Three statements, and those of each relation that it has any rows of. Raises Order.DoesNotExist.
    """
    order = Order.objects.with_items().get(**lookup)
    for (relation, name), is_there in zip(parts.items(), _are_there(order, parts), strict=True):
        if is_there:
            prefetch_related_objects([order], _prefetch(relation, name))
        else:
            setattr(order, name, [])
    return order


def _are_there(order: Order, relations: Mapping[str, str]) -> list[bool]:
    """Whether it has any rows of each."""
    exist = (f"EXISTS(SELECT 1 FROM {_table(name)} WHERE order_id = %s)" for name in relations)  # noqa: S608 (ours)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(exist)}", [order.pk] * len(relations))
        return list(map(bool, cursor.fetchone()))


def _table(relation: str) -> str:
    model: type[models.Model] = Order._meta.get_field(relation).related_model  # type: ignore[assignment]
    return model._meta.db_table
