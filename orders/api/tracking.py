"""A shopper's order, for whoever holds its unguessable token."""

from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from orders import checkout
from orders.api import kept
from orders.api.bodies import Nothing
from orders.api.shapes import TIMELINE, TrackedOrder, show
from orders.models import Order
from orders.reading import read
from webhooks import streams


class TokenHolderView(APIView):
    """The token is all the authority there is, and no cookie: a storefront of any origin may show what it gets."""

    required_scopes = ()

    @property
    def default_response_headers(self) -> dict[str, str]:
        return super().default_response_headers | {"Access-Control-Allow-Origin": "*"}

    def options(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Response:
        """Before a page of another origin may POST JSON, its browser asks."""
        headers = {
            "Access-Control-Allow-Methods": ", ".join(self.allowed_methods),
            "Access-Control-Allow-Headers": "Content-Type, Idempotency-Key",
            "Access-Control-Max-Age": "86400",
        }
        return Response(status=204, headers=headers)


class TrackView(TokenHolderView):
    @extend_schema(responses=TrackedOrder)
    def get(self, request: Request, token: str) -> HttpResponse:
        response = kept.answer(TrackedOrder, TIMELINE, tracking_token=token)
        response.headers["Cache-Control"] = "no-store"
        return response


class TrackStreamView(TokenHolderView):
    renderer_classes = (streams.EventStreamRenderer, JSONRenderer)

    @extend_schema(responses={(200, streams.CONTENT_TYPE): str})
    def get(self, request: Request, token: str) -> HttpResponseBase:
        """Server-sent events: what `track/{token}/` answers, now and whenever it changes; `Last-Event-ID` resumes."""
        order = get_object_or_404(Order.objects.only("public_id"), tracking_token=token)
        return streams.Opened(streams.Snapshots(order.public_id, describe), streams.resumed_at(request))


class CancelByCustomerView(TokenHolderView):
    @extend_schema(request=None, responses=TrackedOrder)
    def post(self, request: Request, token: str) -> Response:
        """Within half an hour, while nothing is packed."""
        Nothing.read(request)
        checkout.cancel_by_customer(token, now=timezone.now())
        return Response(_tracked(token))


def describe(order_id: str) -> Any:
    return show(TrackedOrder, read(TIMELINE, public_id=order_id))


def _tracked(token: str) -> Any:
    return show(TrackedOrder, read(TIMELINE, tracking_token=token))
