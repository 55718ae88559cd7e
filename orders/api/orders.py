"""Placing, reading, confirming and cancelling orders, and what their payments came to."""

from typing import Any, ClassVar

from django.db.models import QuerySet
from django.http import HttpResponse
from django.utils import timezone
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema
from rest_framework import generics
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from orders import checkout, payments, promises
from orders.api import kept
from orders.api.bodies import CancelOrder, Nothing, PlaceOrder, RecordPayment
from orders.api.shapes import DETAILS, OrderDetail, OrderSummary, PaidOrder, as_placed, show
from orders.checkout import Address, Cart, Contact, PaymentChoice
from orders.models import Order
from orders.reading import read
from webhooks.bodies import MomentFilter

STOREFRONT = "storefront"


class OrderFilter(filters.FilterSet):  # type: ignore[misc]
    """`…_since` is included, `…_until` is not."""

    status = filters.ChoiceFilter(choices=Order.Status.choices)
    state = filters.ChoiceFilter(choices=Order.State.choices)
    number = filters.CharFilter()
    customer_id = filters.CharFilter("customer__public_id")
    placed_since = MomentFilter("placed_at", "gte")
    placed_until = MomentFilter("placed_at", "lt")
    updated_since = MomentFilter("updated_at", "gte")
    standing = filters.ChoiceFilter(
        choices=promises.Standing.choices, method="filter_standing", label="Late, or at risk of it, by its promise."
    )

    def filter_standing(self, orders: QuerySet[Order], _: str, standing: str) -> QuerySet[Order]:
        return orders.filter(promises.are(standing, now=timezone.now()))


class OrdersView(generics.ListAPIView[Order]):
    required_scopes: ClassVar = {"GET": ("orders",), "POST": ()}
    serializer_class = OrderSummary
    filterset_class = OrderFilter

    def get_queryset(self) -> QuerySet[Order]:
        return Order.objects.select_related("customer")

    @extend_schema(request=PlaceOrder, responses={201: OrderDetail})
    def post(self, request: Request) -> HttpResponse:
        """With stock held for every line. Out of stock: 409 `insufficient_stock`, with what is available."""
        cart = _cart(PlaceOrder.read(request), own_channel=getattr(request.auth, "channel", ""))
        actor = str(request.user) if request.auth else STOREFRONT
        order = checkout.place(cart, actor=actor, now=timezone.now())
        return kept.keep(OrderDetail, as_placed(order), status=201)


class OrderView(APIView):
    required_scopes = ("orders",)

    @extend_schema(responses=OrderDetail)
    def get(self, request: Request, order_id: str) -> HttpResponse:
        return kept.answer(OrderDetail, DETAILS, public_id=order_id)


class ConfirmView(APIView):
    required_scopes = ("orders",)

    @extend_schema(request=None, responses=OrderDetail)
    def post(self, request: Request, order_id: str) -> Response:
        Nothing.read(request)
        checkout.confirm(order_id, actor=str(request.user), now=timezone.now())
        return Response(detail(order_id))


class CancelView(APIView):
    required_scopes = ("orders",)

    @extend_schema(request=CancelOrder, responses=OrderDetail)
    def post(self, request: Request, order_id: str) -> Response:
        """All of an order, or some units of it: those that are not packed yet."""
        wish = CancelOrder.read(request)
        checkout.cancel(
            order_id,
            reason=wish["reason"],
            quantities=wish.get("lines"),
            actor=str(request.user),
            now=timezone.now(),
        )
        return Response(detail(order_id))


class PaymentsView(APIView):
    required_scopes = ("payments",)

    @extend_schema(request=RecordPayment, responses={201: PaidOrder})
    def post(self, request: Request, order_id: str) -> Response:
        """An attempt to pay, as the gateway tells it. One that covers the order confirms it."""
        payment = payments.record(order_id, **RecordPayment.read(request), actor=str(request.user), now=timezone.now())
        return Response(PaidOrder(payment).data, status=201)


def detail(order_id: str) -> Any:
    return show(OrderDetail, read(DETAILS, public_id=order_id))


def _cart(body: dict[str, Any], *, own_channel: str) -> Cart:
    return Cart(
        customer=Contact(**body["customer"]),
        lines=[(line["sku"], line["quantity"]) for line in body["lines"]],
        shipping_address=Address(**body["shipping_address"]),
        payment=PaymentChoice(**body["payment"]),
        channel=own_channel or body.get("channel") or Order.Channel.WEB,
    )
