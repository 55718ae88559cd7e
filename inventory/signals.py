"""Facts of the inventory become events here, and nowhere else."""

from django.db.models.signals import post_save
from django.dispatch import receiver

from inventory.events import (
    INVENTORY_BACK_IN_STOCK,
    INVENTORY_LOW,
    INVENTORY_OUT_OF_STOCK,
    INVENTORY_UPDATED,
    PRODUCT_CREATED,
    PRODUCT_UPDATED,
)
from inventory.models import Product, StockMovement
from webhooks.outbox import emit
from webhooks.sources import turn, watch

watch(Product, created=PRODUCT_CREATED, updated=PRODUCT_UPDATED)


@receiver(post_save, sender=StockMovement, dispatch_uid="inventory.emit_stock_events")
def emit_stock_events(instance: StockMovement, created: bool, raw: bool, **_: object) -> None:
    if created and not raw:
        emit(INVENTORY_UPDATED, instance)
        _emit_crossings(instance)


def _emit_crossings(movement: StockMovement) -> None:
    if movement.became_low:
        emit(INVENTORY_LOW, movement)
    if movement.ran_out:
        turn(INVENTORY_OUT_OF_STOCK, movement, back=INVENTORY_BACK_IN_STOCK)
    if movement.came_back:
        turn(INVENTORY_BACK_IN_STOCK, movement, back=INVENTORY_OUT_OF_STOCK)
