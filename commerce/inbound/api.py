"""The address that senders are given."""

from django.shortcuts import get_object_or_404
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import SimpleRateThrottle
from rest_framework.views import APIView

from commerce.inbound import inbox, schemes
from commerce.models import InboundMessage, InboundSource


class InboundThrottle(SimpleRateThrottle):
    """Per address, at the rate of a token: a courier's bursts are not a stranger's."""

    scope = "token"

    def get_cache_key(self, request: Request, view: APIView) -> str:
        return f"throttle-inbound-{self.get_ident(request)}"


class TakenIn(serializers.ModelSerializer[InboundMessage]):
    id = serializers.CharField(source="public_id")

    class Meta:
        model = InboundMessage
        fields = ("id", "state")


_SIGNATURES = [
    OpenApiParameter(name, str, OpenApiParameter.HEADER, description=f"Of a source of {sender}.")
    for name, sender in (
        ("webhook-signature", "Standard Webhooks, with webhook-id and webhook-timestamp"),
        ("aftership-hmac-sha256", "AfterShip"),
        ("x-hmac-signature", "EasyPost"),
        ("x-hmac-signature-v2", "EasyPost, with x-timestamp and x-path"),
        ("stripe-signature", "Stripe"),
    )
]


class InboundView(APIView):
    authentication_classes = ()
    required_scopes = ()
    throttle_classes = (InboundThrottle,)

    @extend_schema(
        parameters=_SIGNATURES,
        request={"application/json": OpenApiTypes.OBJECT, "*/*": OpenApiTypes.BINARY},
        responses={202: TakenIn},
        auth=[],
    )
    def post(self, request: Request, source: str) -> Response:
        """A message of a courier, gateway or 3PL: verified, kept, and processed afterwards. A copy changes nothing."""
        sender = get_object_or_404(InboundSource, name=source, is_active=True)
        came = schemes.Request(request.headers, request.body)
        return Response(TakenIn(inbox.take(sender, came, now=timezone.now())).data, status=202)
