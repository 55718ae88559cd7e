from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [
        ("webhooks", "0002_pruned_span"),
    ]

    operations = [
        migrations.AddField(
            model_name="replay",
            name="until",
            field=models.DateTimeField(null=True),
        ),
        migrations.AlterField(
            model_name="replay",
            name="kind",
            field=models.CharField(
                choices=[
                    ("failed", "What failed, was parked or skipped"),
                    ("missing", "Events it never had a delivery of"),
                    ("skipped", "What was skipped while it was disabled"),
                ],
                max_length=10,
            ),
        ),
        migrations.AddIndex(
            model_name="delivery",
            index=models.Index("subscription", "subject", "id", name="delivery_skipped", condition=Q(state="skipped")),
        ),
    ]
