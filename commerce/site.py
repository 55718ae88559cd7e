"""The admin as a whole: what stands where on its front page and in its sidebar."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import path
from django.utils import timezone

# The rest follows in the order of names.
FIRST = ["orders", "inventory", "webhooks", "commerce"]
LAST = ["auth", "django_q"]
# Nothing here schedules by django-q2, and it keeps no successful tasks.
HIDDEN = {"Schedule", "Success"}


class Site(admin.AdminSite):
    site_header = site_title = "Commerce Engine"
    index_title = "Your shop"
    site_url = None

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        # Its modules are not there yet when Django makes this site.
        from commerce import dashboard

        found = dashboard.describe(request.user, now=timezone.now())
        return super().index(request, (extra_context or {}) | found)

    def get_urls(self) -> list[Any]:
        return [path("stream", self.admin_view(self.stream), name="stream"), *super().get_urls()]

    def stream(self, request: HttpRequest) -> HttpResponseBase:
        """Says that something has happened, to the order of `?about=` or to anything; the pages then look for what."""
        from webhooks import streams
        from webhooks.hub import EVERYTHING

        subject = request.GET.get("about", EVERYTHING)[:100]
        return streams.Opened(streams.Snapshots(subject, _nothing), streams.resumed_at(request))

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        apps = super().get_app_list(request, app_label)
        for app in apps:
            app["models"] = [model for model in app["models"] if model["object_name"] not in HIDDEN]
        return sorted(apps, key=_place)


def _nothing(subject: str) -> dict[str, Any]:
    return {}


def _place(app: Any) -> int:
    label = app["app_label"]
    if label in FIRST:
        return FIRST.index(label) - len(FIRST)
    return LAST.index(label) + 1 if label in LAST else 0
