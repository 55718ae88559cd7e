"""One order, with what is to be shown of it, for as few statements as there is to read."""

from collections.abc import Callable, Mapping
from typing import Any

from django.db import connection, models
from django.db.models import Prefetch, QuerySet, prefetch_related_objects

from orders.models import Hold, Order, OrderLine, OrderTransition, Payment, Refund, Return, Shipment
from webhooks.prepared import Prepared


def parcels(**of: Any) -> Prefetch:  # type: ignore[type-arg]
    """But for those that were taken apart before they left: they are no parcels any more."""
    shipments = (
        Shipment.objects.filter(**of)
        .exclude(state=Shipment.State.UNPACKED)
        .select_related("warehouse")
        .order_by("index")
    )
    return Prefetch("shipments", shipments.prefetch_related("lines", "tracking_updates"), to_attr="parcels")


_ORDER = {
    name: Prepared(lambda value, name=name: Order.objects.select_related("customer").filter(**{name: value}))
    for name in ("pk", "public_id", "tracking_token")
}
_ITEMS = Prepared(lambda order: OrderLine.objects.select_related("product").filter(order_id=order).order_by("pk"))
# Those whose rows have rows of their own are left to the ORM: few orders have them when they are read.
_PREFETCHED: Mapping[str, Callable[[], QuerySet[Any]]] = {
    "returns": lambda: Return.objects.prefetch_related("lines"),
    "refunds": lambda: Refund.objects.select_related("payment", "goods_return"),
}
_ROWS: Mapping[str, Prepared[Any]] = {
    "payments": Prepared(lambda order: Payment.objects.filter(order_id=order).order_by("pk")),
    "holds": Prepared(lambda order: Hold.objects.filter(order_id=order).order_by("pk")),
    "transitions": Prepared(lambda order: OrderTransition.objects.filter(order_id=order).order_by("pk")),
}


def read(parts: Mapping[str, str], **lookup: Any) -> Any:
    """The order that `lookup` finds, with its items, and each relation of `parts` as a list under the name given there.

    By its `pk`, `public_id` or `tracking_token`. Three statements, and those of each relation that it has any rows of.
    Raises Order.DoesNotExist.
    """
    order = _find(**lookup)
    order.items = _of(order, _ITEMS)
    for (relation, name), is_there in zip(parts.items(), _are_there(order, parts), strict=True):
        if not is_there:
            setattr(order, name, [])
        elif rows := _ROWS.get(relation):
            setattr(order, name, _of(order, rows))
        else:
            prefetch_related_objects([order], _prefetch(relation, name))
    return order


def _find(**lookup: Any) -> Any:
    ((name, value),) = lookup.items()
    for order in _ORDER[name](value):
        return order
    raise Order.DoesNotExist


def _of(order: Order, rows: Prepared[Any]) -> list[Any]:
    found = rows(order.pk)
    for row in found:
        row.order = order
    return found


def _prefetch(relation: str, name: str) -> Prefetch:  # type: ignore[type-arg]
    if relation == "shipments":
        return parcels()
    return Prefetch(relation, _PREFETCHED[relation]().order_by("pk"), to_attr=name)


def _are_there(order: Order, relations: Mapping[str, str]) -> list[bool]:
    """Whether it has any rows of each."""
    exist = (f"EXISTS(SELECT 1 FROM {_table(name)} WHERE order_id = %s)" for name in relations)  # noqa: S608 (ours)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(exist)}", [order.pk] * len(relations))
        return list(map(bool, cursor.fetchone()))


def _table(relation: str) -> str:
    model: type[models.Model] = Order._meta.get_field(relation).related_model  # type: ignore[assignment]
    return model._meta.db_table
