from django.db import migrations, models

import webhooks.sources
from webhooks.fields import new_public_id


def name(apps, schema_editor):
    for replay in apps.get_model("webhooks", "Replay").objects.filter(public_id=None):
        replay.public_id = new_public_id("rpl")
        replay.save(update_fields=["public_id"])


class Migration(migrations.Migration):
    dependencies = [
        ("webhooks", "0005_keep_notices_until_they_are_taken"),
    ]

    operations = [
        migrations.AddField(
            model_name="replay",
            name="public_id",
            field=models.CharField(max_length=32, null=True),
        ),
        migrations.RunPython(name, migrations.RunPython.noop),
        migrations.AlterField(
            model_name="replay",
            name="public_id",
            field=webhooks.sources.PublicIdField("rpl"),
        ),
        migrations.AddField(
            model_name="replay",
            name="is_exact",
            field=models.BooleanField(default=True),
        ),
        migrations.AddField(
            model_name="replay",
            name="cancelled_by",
            field=models.CharField(blank=True, max_length=150),
        ),
    ]
