from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("webhooks", "0004_index_filters_of_the_log_together")]

    operations = [
        migrations.CreateModel(
            name="Notice",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("address", models.EmailField(max_length=254)),
                ("title", models.CharField(max_length=200)),
                ("text", models.TextField()),
                ("made_at", models.DateTimeField()),
                ("next_attempt_at", models.DateTimeField()),
            ],
        ),
    ]
