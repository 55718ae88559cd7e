from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig


class CommerceConfig(AppConfig):
    name = "commerce"
    verbose_name = "Integrations"

    def ready(self) -> None:
        from commerce import tasks  # noqa: F401


class SiteConfig(AdminConfig):
    default_site = "commerce.site.Site"
