"""The admin as a whole: what stands where on its front page and in its sidebar."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

# The rest follows in the order of names.
FIRST = ["orders", "inventory", "webhooks", "commerce"]
LAST = ["auth", "django_q"]
# Nothing here schedules by django-q2, and it keeps no successful tasks.
HIDDEN = {"Schedule", "Success"}


class Site(admin.AdminSite):
    site_header = site_title = "Commerce Engine"
    index_title = "Your shop"
    site_url = None

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        apps = super().get_app_list(request, app_label)
        for app in apps:
            app["models"] = [model for model in app["models"] if model["object_name"] not in HIDDEN]
        return sorted(apps, key=_place)


def _place(app: Any) -> int:
    label = app["app_label"]
    if label in FIRST:
        return FIRST.index(label) - len(FIRST)
    return LAST.index(label) + 1 if label in LAST else 0
