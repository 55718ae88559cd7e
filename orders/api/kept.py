"""Answers that are rendered once for each state of an order, and kept in Django's cache.

Every verb counts `Order.version` up in the transaction of what it changes (`transitions.store`). So a kept answer is
of the version it is asked for with, in every process: one that is out of date is never found again.
"""

from collections.abc import Mapping
from typing import Any

from django.core.cache import cache
from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from rest_framework import serializers
from rest_framework.renderers import JSONRenderer

from orders.api.shapes import show
from orders.models import Order
from orders.reading import read

KEPT_S = 3600


def answer(kind: type[serializers.Serializer[Any]], parts: Mapping[str, str], **lookup: str) -> HttpResponse:
    """The order that `lookup` finds, as `kind` has it of these `parts`. Raises Http404."""
    # Read first, so that what is kept is never older than its version says.
    order = get_object_or_404(Order.objects.only("public_id", "version"), **lookup)
    key = f"{kind.__name__}:{order.public_id}:{order.version}"
    body = cache.get(key)
    if body is None:
        body = JSONRenderer().render(show(kind, read(parts, pk=order.pk)))
        cache.set(key, body, KEPT_S)
    return HttpResponse(body, content_type="application/json")
