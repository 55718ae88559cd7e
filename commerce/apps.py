from django.apps import AppConfig


class CommerceConfig(AppConfig):
    name = "commerce"
    verbose_name = "Integrations"

    def ready(self) -> None:
        from commerce import tasks  # noqa: F401
