"""Facts of the inventory become events here, and nowhere else."""

from django.db.models.signals import post_save
from django.dispatch import receiver

from inventory.events import INVENTORY_UPDATED, PRODUCT_CREATED, PRODUCT_UPDATED
from inventory.models import Product, StockMovement
from webhooks.outbox import emit
from webhooks.sources import watch

watch(Product, created=PRODUCT_CREATED, updated=PRODUCT_UPDATED)


@receiver(post_save, sender=StockMovement, dispatch_uid="inventory.emit_inventory_updated")
def emit_inventory_updated(instance: StockMovement, created: bool, raw: bool, **_: object) -> None:
    if created and not raw:
        emit(INVENTORY_UPDATED, instance)
