"""`python -m shop.work prepare URL`: tables and one subscriber.  `… happen COUNT`: orders, each told once."""

import os
import sys

import django
from django.core.management import call_command
from django.db import transaction

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
django.setup()


def prepare(url: str) -> None:
    from django_webhook.models import Webhook, WebhookSecret, WebhookTopic, populate_topics_from_settings

    call_command("migrate", run_syncdb=True, verbosity=0)
    populate_topics_from_settings()
    webhook = Webhook.objects.create(url=url)
    webhook.topics.add(WebhookTopic.objects.get(name="shop.Order/create"))
    WebhookSecret.objects.create(webhook=webhook, token="a-secret-of-32-characters-length")


def happen(count: str) -> None:
    from shop.models import Order

    with transaction.atomic():
        for n in range(int(count)):
            Order.objects.create(number=f"#{n}", note="x" * 300)


if __name__ == "__main__":
    {"prepare": prepare, "happen": happen}[sys.argv[1]](sys.argv[2])
