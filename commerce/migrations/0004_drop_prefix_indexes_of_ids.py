from functools import partial

from django.db import migrations

from webhooks.sources import drop_prefix_indexes

TABLES = ["commerce_inboundmessage"]


class Migration(migrations.Migration):
    dependencies = [("commerce", "0003_renew_the_claim_of_a_night")]

    operations = [
        migrations.RunPython(partial(drop_prefix_indexes, tables=TABLES), migrations.RunPython.noop),
    ]
