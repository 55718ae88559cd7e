"""The shop to try it with: one page, which knows nothing but the public API."""

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe


@require_safe
def shop(request: HttpRequest) -> HttpResponse:
    if not settings.DEBUG:
        raise Http404("The demo shop is open in DEBUG only.")
    return render(request, "commerce/shop.html")
