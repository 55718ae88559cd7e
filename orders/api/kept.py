"""Answers that are rendered once for each state of an order, and kept in Django's cache.

Every verb counts `Order.version` up in the transaction of what it changes (`transitions.store`). So a kept answer is
of the version it is asked for with, in every process: one that is out of date is never found again.
"""

from collections.abc import Mapping
from typing import Any

from django.core.cache import cache
from django.http import Http404, HttpResponse
from rest_framework import serializers
from rest_framework.renderers import JSONRenderer

from orders.api.shapes import show
from orders.models import Order
from orders.reading import read
from webhooks.prepared import Prepared

KEPT_S = 3600


_BY = {
    name: Prepared(lambda value, name=name: Order.objects.only("public_id", "version").filter(**{name: value}))
    for name in ("public_id", "tracking_token")
}


def answer(kind: type[serializers.Serializer[Any]], parts: Mapping[str, str], **lookup: str) -> HttpResponse:
    """The order that `lookup` finds, as `kind` has it of these `parts`. Raises Http404."""
    order = _find(**lookup)
    body = cache.get(_key(kind, order))
    return _answer(body) if body else keep(kind, read(parts, pk=order.pk))


def keep(kind: type[serializers.Serializer[Any]], order: Order, status: int = 200) -> HttpResponse:
    """The answer that shows `order` as `kind`, also to whoever asks for it next.

    Its row was read before its parts, so what is kept is never older than its version says.
    """
    body = JSONRenderer().render(show(kind, order))
    cache.set(_key(kind, order), body, KEPT_S)
    return _answer(body, status)


def _find(**lookup: str) -> Order:
    """By one of _BY. Raises Http404."""
    ((name, value),) = lookup.items()
    for order in _BY[name](value):
        return order
    raise Http404


def _key(kind: type[serializers.Serializer[Any]], order: Order) -> str:
    return f"{kind.__name__}:{order.public_id}:{order.version}"


def _answer(body: bytes, status: int = 200) -> HttpResponse:
    return HttpResponse(body, content_type="application/json", status=status)
