from django.apps import AppConfig


class WebhooksConfig(AppConfig):
    name = "webhooks"

    def ready(self) -> None:
        from webhooks import checks, cluster, events

        cluster.install()
        del checks, events  # Imported for what they register.
