from django.db import migrations, models
from django.db.models import F


def renew(apps, schema_editor):
    runs = apps.get_model("commerce", "AuditRun").objects
    runs.update(renewed_at=F("started_at"))


class Migration(migrations.Migration):
    dependencies = [("commerce", "0002_keep_keys_by_address")]

    operations = [
        migrations.AddField("auditrun", "renewed_at", models.DateTimeField(null=True)),
        migrations.RunPython(renew, migrations.RunPython.noop, elidable=True),
        migrations.AlterField("auditrun", "renewed_at", models.DateTimeField()),
        migrations.AlterField(
            "alarm",
            "kind",
            models.CharField(
                choices=[
                    ("silence", "No queue cluster"),
                    ("overdue", "Deliveries overdue"),
                    ("backlog", "Long backlog"),
                    ("failing", "Failing for long"),
                    ("failures", "Many failures"),
                    ("slow", "Slow delivery"),
                    ("audit", "Audit not ended"),
                ],
                max_length=10,
            ),
        ),
    ]
