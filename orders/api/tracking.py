"""A shopper's order, for whoever holds its unguessable token."""

from typing import Any

from django.shortcuts import get_object_or_404
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from orders import checkout
from orders.api.bodies import Nothing
from orders.api.shapes import TrackedOrder, with_timeline


class TrackView(APIView):
    required_scopes = ()

    @extend_schema(responses=TrackedOrder)
    def get(self, request: Request, token: str) -> Response:
        return Response(_tracked(token))


class CancelByCustomerView(APIView):
    required_scopes = ()

    @extend_schema(request=None, responses=TrackedOrder)
    def post(self, request: Request, token: str) -> Response:
        """Within half an hour, while nothing is packed."""
        Nothing.read(request)
        checkout.cancel_by_customer(token, now=timezone.now())
        return Response(_tracked(token))


def _tracked(token: str) -> Any:
    return TrackedOrder(get_object_or_404(with_timeline(), tracking_token=token)).data
