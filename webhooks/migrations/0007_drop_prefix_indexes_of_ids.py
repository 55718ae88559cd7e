from functools import partial

from django.db import migrations

from webhooks.sources import drop_prefix_indexes

TABLES = ["webhooks_subscription", "webhooks_event", "webhooks_delivery", "webhooks_replay"]


class Migration(migrations.Migration):
    dependencies = [("webhooks", "0006_stop_a_replay")]

    operations = [
        migrations.RunPython(partial(drop_prefix_indexes, tables=TABLES), migrations.RunPython.noop),
    ]
