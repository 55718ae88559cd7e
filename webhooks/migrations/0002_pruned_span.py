from datetime import timedelta

from django.db import migrations, models
from django.db.models import F
from django.utils import timezone


def suppose(apps, schema_editor):
    """What retention had taken away before it kept a span: of the time since each was made, all that may be."""
    latest = timezone.now() - timedelta(days=30)
    subscriptions = apps.get_model("webhooks", "Subscription").objects.filter(created_at__lt=latest)
    subscriptions.update(pruned_from=F("created_at"), pruned_until=latest)


class Migration(migrations.Migration):
    dependencies = [
        ("webhooks", "0001_initial"),
    ]

    operations = [
        migrations.AddField(
            model_name="replay",
            name="left_out_from",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="replay",
            name="left_out_until",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="subscription",
            name="pruned_from",
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name="subscription",
            name="pruned_until",
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.RunPython(suppose, migrations.RunPython.noop),
    ]
