from functools import partial

from django.db import migrations

from webhooks.sources import drop_prefix_indexes

TABLES = [
    "orders_hold",
    "orders_shipment",
    "orders_return",
    "orders_orderline",
    "orders_order",
    "orders_payment",
    "orders_refund",
    "orders_customer",
]


class Migration(migrations.Migration):
    dependencies = [("orders", "0006_close_returns")]

    operations = [
        migrations.RunPython(partial(drop_prefix_indexes, tables=TABLES), migrations.RunPython.noop),
    ]
