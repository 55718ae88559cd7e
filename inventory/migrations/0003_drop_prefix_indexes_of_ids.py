from functools import partial

from django.db import migrations

from webhooks.sources import drop_prefix_indexes

TABLES = ["inventory_product"]


class Migration(migrations.Migration):
    dependencies = [("inventory", "0002_add_the_reasons_of_warehouses")]

    operations = [
        migrations.RunPython(partial(drop_prefix_indexes, tables=TABLES), migrations.RunPython.noop),
    ]
