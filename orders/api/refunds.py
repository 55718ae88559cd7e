"""Refunds: asked for, and what came of them."""

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from orders import refunds
from orders.api.bodies import RequestRefund, SettleRefund
from orders.api.shapes import RefundedOrder
from orders.models import Payment

SCOPES = ("payments",)


class RefundsView(APIView):
    required_scopes = SCOPES

    @extend_schema(request=RequestRefund, responses={201: RefundedOrder})
    def post(self, request: Request, order_id: str) -> Response:
        """Money of one payment. More than is left of what was paid: 409 `not_refundable`."""
        wish = RequestRefund.read(request)
        refund = refunds.request(order_id, **wish, actor=str(request.user), now=timezone.now())
        return Response(RefundedOrder(refund).data, status=201)


class ResultView(APIView):
    required_scopes = SCOPES

    @extend_schema(request=SettleRefund, responses=RefundedOrder)
    def post(self, request: Request, refund_id: str) -> Response:
        """What the gateway says came of a refund."""
        told = SettleRefund.read(request)
        if told.pop("result") == Payment.Result.FAILED:
            refund = refunds.failed(refund_id, **told, actor=str(request.user), now=timezone.now())
        else:
            reference = told["gateway_reference"]
            refund = refunds.processed(
                refund_id, gateway_reference=reference, actor=str(request.user), now=timezone.now()
            )
        return Response(RefundedOrder(refund).data)
