"""Stopping orders, letting them go on, and the fraud desk's verdict; scope `orders`."""

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from orders import holds, verdicts
from orders.api.bodies import GiveVerdict, HoldOrder, ReleaseOrder
from orders.api.orders import detail
from orders.api.shapes import OrderDetail

SCOPES = ("orders",)


class HoldView(APIView):
    required_scopes = SCOPES

    @extend_schema(request=HoldOrder, responses=OrderDetail)
    def post(self, request: Request, order_id: str) -> Response:
        """Not confirmed and not packed until its release. One open hold of each kind: a second is a 409."""
        wish = HoldOrder.read(request)
        holds.place(order_id, **wish, actor=str(request.user), now=timezone.now())
        return Response(detail(order_id))


class ReleaseView(APIView):
    required_scopes = SCOPES

    @extend_schema(request=ReleaseOrder, responses=OrderDetail)
    def post(self, request: Request, order_id: str) -> Response:
        """Ends its holds, and confirms it if nothing else is in the way."""
        kind = ReleaseOrder.read(request).get("kind")
        holds.release(order_id, kinds=[kind] if kind else None, actor=str(request.user), now=timezone.now())
        return Response(detail(order_id))


class VerdictView(APIView):
    required_scopes = SCOPES

    @extend_schema(request=GiveVerdict, responses=OrderDetail)
    def post(self, request: Request, order_id: str) -> Response:
        """The fraud desk's word. Where there is nothing left to judge: 409."""
        verdict = GiveVerdict.read(request)["verdict"]
        verdicts.give(order_id, verdict=verdict, actor=str(request.user), now=timezone.now())
        return Response(detail(order_id))
