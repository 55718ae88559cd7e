from django.apps import AppConfig


class WebhooksConfig(AppConfig):
    name = "webhooks"

    def ready(self) -> None:
        from webhooks import checks, cluster, events, parking, tallies

        cluster.install()
        del checks, events, parking, tallies  # Imported for what they register.
