from django.apps import AppConfig


class WebhooksConfig(AppConfig):
    name = "webhooks"

    def ready(self) -> None:
        from webhooks import checks, cluster, events, parking

        cluster.install()
        del checks, events, parking  # Imported for what they register.
