"""The shop to try it with: one page, which knows nothing but the public API, and the secret of its test gateway."""

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from commerce import demo_store
from commerce.models import InboundSource


@require_safe
def shop(request: HttpRequest) -> HttpResponse:
    if not settings.DEBUG:
        raise Http404("The demo shop is open in DEBUG only.")
    gateway = InboundSource.objects.filter(name=demo_store.GATEWAY, is_active=True).first()
    return render(request, "commerce/shop.html", {"gateway": gateway})
