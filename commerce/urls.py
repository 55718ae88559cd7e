"""Every address of the program."""

from django.contrib import admin
from django.urls import path, re_path
from drf_spectacular.views import SpectacularAPIView

from commerce import health, openapi, problems

urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs/", openapi.DocsView.as_view(), name="docs"),
    re_path("^api/", problems.unknown_url),
    path("healthz", health.healthz),
    path("readyz", health.readyz),
]
handler500 = problems.server_error
