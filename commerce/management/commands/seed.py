"""`manage.py seed`: the demo store."""

from typing import Any

from django.core.management.base import BaseCommand

from commerce import database, demo_store
from inventory.models import Product, Warehouse


class Command(BaseCommand):
    help = "Load the demo store: products, two warehouses with stock, customers, staff. Safe to run twice."

    def handle(self, **_: Any) -> None:
        database.require_migrated()
        demo_store.load()
        self.stdout.write(
            f"The demo store is there: {Product.objects.count()} products, {Warehouse.objects.count()} warehouses."
        )
        self.stdout.write(f"Log in to /admin/ as {demo_store.login_hint()}.")
