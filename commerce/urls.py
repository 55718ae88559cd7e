"""Every address of the program."""

from django.contrib import admin
from django.urls import include, path, re_path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from commerce import health, problems, prometheus, storefront
from commerce.inbound.api import InboundView
from orders import pages

urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    # The split view's script has an address of its own, and our template nothing inline: the strict CSP holds here too.
    path("api/docs/", SpectacularSwaggerSplitView.as_view(template_name="commerce/api_docs.html"), name="docs"),
    path("api/v1/", include("inventory.urls")),
    path("api/v1/", include("orders.urls")),
    path("api/v1/", include("webhooks.urls")),
    path("api/v1/inbound/<slug:source>/", InboundView.as_view(), name="inbound"),
    re_path("^api/", problems.unknown_url),
    path("track/<slug:token>/", pages.track, name="track-page"),
    path("track/<slug:token>/cancel/", pages.cancel, name="track-page-cancel"),
    path("track/<slug:token>/return/", pages.send_back, name="track-page-return"),
    path("shop/", storefront.shop, name="shop"),
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("metrics", prometheus.metrics),
]
handler500 = problems.server_error
