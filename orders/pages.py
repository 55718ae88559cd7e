"""The page on which a shopper watches an order, for whoever has its address. It is the shop's face.

No cookie is read or set: the token in the address is all the authority there is, so there is nothing that a page of
somebody else could forge.
"""

from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_safe

from orders import checkout, story
from orders.models import Order
from orders.transitions import InvalidTransition
from webhooks import streams

View = Callable[..., HttpResponse]


def _private(view: View) -> View:
    """Kept in no cache, found by no search engine, and its address told to no site it links to."""

    @wraps(view)
    def private(request: HttpRequest, token: str) -> HttpResponse:
        order_id = Order.objects.filter(tracking_token=token).values_list("public_id", flat=True).first()
        if order_id is None:
            response = render(request, "orders/track/unknown.html", status=HTTPStatus.NOT_FOUND)
        else:
            response = view(request, token, order_id)
        response.headers["X-Robots-Tag"] = "noindex, nofollow"
        response.headers["Referrer-Policy"] = "no-referrer"
        return response

    return csrf_exempt(never_cache(private))


@require_safe
@_private
def track(request: HttpRequest, token: str, order_id: str) -> HttpResponse:
    return _show(request, token, order_id)


@require_http_methods(["GET", "HEAD", "POST"])
@_private
def cancel(request: HttpRequest, token: str, order_id: str) -> HttpResponse:
    """Asks, and on a POST does it. Too late: back to the page, which says so."""
    if request.method != "POST":
        return _show(request, token, order_id, template="cancel")
    try:
        checkout.cancel_by_customer(token, now=timezone.now())
    except InvalidTransition:
        notice = "It is too late to cancel this order here."
        return _show(request, token, order_id, notice=notice, status=HTTPStatus.CONFLICT)
    return redirect("track-page", token, permanent=False)


def _show(request: HttpRequest, token: str, order_id: str, *, template: str = "page", **context: Any) -> HttpResponse:
    status = context.pop("status", HTTPStatus.OK)
    # Read first, so that what is shown is never older than it says.
    version = streams.version(order_id)
    order = story.with_everything().get(public_id=order_id)
    told = story.tell(order, now=timezone.now())
    context |= {"token": token, "version": version, "story": told}
    return render(request, f"orders/track/{template}.html", context, status=status)
