"""Warehouses that open and close: what lies in a closed one is not for sale."""

from datetime import datetime

from django.db.models import Exists, F, OuterRef, Q, QuerySet

from inventory import stock
from inventory.models import StockLevel, StockMovement, Warehouse
from webhooks.sources import together

Reason = StockMovement.Reason


@together()
def open_or_close(warehouse: Warehouse, *, is_active: bool, actor: str, now: datetime) -> list[StockMovement]:
    """Begin, or cease, to give a warehouse orders; nothing where it is so already.

    Each product that is thereby back in stock, or runs out, has a movement of no units there, which tells it.
    """
    if stock.lock_warehouse(warehouse).is_active == is_active:
        return []
    levels = StockLevel.objects.filter(warehouse=warehouse)
    stock.lock(levels.values("pk"))
    warehouse.is_active = is_active
    warehouse.save(update_fields=["is_active"])
    deciding = list(_deciding(levels).values_list("pk", flat=True))
    reason = Reason.WAREHOUSE_OPENED if is_active else Reason.WAREHOUSE_CLOSED
    return stock.mark(deciding, reason=reason, reference=warehouse.code, actor=actor, now=now)


def _deciding(levels: QuerySet[StockLevel]) -> QuerySet[StockLevel]:
    """Those with units, of a product of which no other active warehouse has any."""
    has_units = Q(on_hand__gt=F("reserved") + F("safety_stock"))
    elsewhere = StockLevel.objects.filter(has_units, product=OuterRef("product"), warehouse__is_active=True)
    return levels.filter(has_units).exclude(Exists(elsewhere.exclude(warehouse=OuterRef("warehouse"))))
