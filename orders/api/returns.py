"""Returns: opened by an ERP, by staff or by the shopper, received by a warehouse."""

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from orders import returns
from orders.api.bodies import Nothing, OpenReturn, ReceiveReturn
from orders.api.shapes import ReturnDetail, SentBack
from orders.api.tracking import TokenHolderView


class OpenReturnView(APIView):
    required_scopes = ("orders",)

    @extend_schema(request=OpenReturn, responses={201: ReturnDetail})
    def post(self, request: Request, order_id: str) -> Response:
        """Of delivered units, that are in no other return."""
        wish = OpenReturn.read(request)
        opened = returns.open_return(
            order_id, wishes=wish["lines"], reason=wish["reason"], actor=str(request.user), now=timezone.now()
        )
        return Response(ReturnDetail(opened).data, status=201)


class OpenReturnByCustomerView(TokenHolderView):
    @extend_schema(request=OpenReturn, responses={201: SentBack})
    def post(self, request: Request, token: str) -> Response:
        """Of delivered units, within 30 days of the last parcel's delivery."""
        wish = OpenReturn.read(request)
        opened = returns.open_by_customer(token, wishes=wish["lines"], reason=wish["reason"], now=timezone.now())
        return Response(SentBack(opened).data, status=201)


class ReceiveView(APIView):
    required_scopes = ("orders",)

    @extend_schema(request=ReceiveReturn, responses=ReturnDetail)
    def post(self, request: Request, return_id: str) -> Response:
        """All of a return, or what of it came: `sellable` units are on sale again, `damaged` ones are written off."""
        receipts = ReceiveReturn.read(request)["lines"]
        received = returns.receive_return(return_id, receipts=receipts, actor=str(request.user), now=timezone.now())
        return Response(ReturnDetail(received).data)


class CloseView(APIView):
    required_scopes = ("orders",)

    @extend_schema(request=None, responses=ReturnDetail)
    def post(self, request: Request, return_id: str) -> Response:
        """No more of it is awaited: what never came can be sent back in another return."""
        Nothing.read(request)
        closed = returns.close(return_id, actor=str(request.user), now=timezone.now())
        return Response(ReturnDetail(closed).data)
