"""Packing, shipping, tracking and delivering, for warehouses, 3PLs and ERPs.

A token that is bound to a warehouse sees and moves that warehouse's parts alone; the others are not there for it.
"""

from django.db.models import Exists, OuterRef, QuerySet
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema
from rest_framework import generics
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from inventory.api import within_reach
from inventory.models import Warehouse
from orders import couriers, fulfilment
from orders.api.bodies import BringBackParcel, DeliverParcel, Nothing, PackOrder, ShipParcel, TrackParcel
from orders.api.shapes import MovedParcel, OrderToFulfil, PackedOrder, with_parts_of
from orders.models import Allocation, Order, Shipment
from webhooks.bodies import MomentFilter

SCOPES = ("fulfilment",)


class OrderToFulfilFilter(filters.FilterSet):  # type: ignore[misc]
    status = filters.ChoiceFilter(choices=Order.Status.choices)
    updated_since = MomentFilter("updated_at", "gte")
    warehouse = filters.CharFilter(method="as_they_are", label="Only its parts, by its code.")

    def as_they_are(self, orders: QuerySet[Order], _: str, code: str) -> QuerySet[Order]:
        """What is shown of an order goes by its warehouse too: the view has begun with that."""
        return orders


class OrdersToFulfilView(generics.ListAPIView[Order]):
    required_scopes = SCOPES
    serializer_class = OrderToFulfil
    filterset_class = OrderToFulfilFilter

    def get_queryset(self) -> QuerySet[Order]:
        warehouses = within_reach(self.request)
        if code := self.request.query_params.get("warehouse"):
            warehouses = warehouses.filter(code=code)
        return _orders_of(warehouses)


class PackView(APIView):
    required_scopes = SCOPES

    @extend_schema(request=PackOrder, responses={201: PackedOrder})
    def post(self, request: Request, order_id: str) -> Response:
        """One parcel per warehouse."""
        wish = PackOrder.read(request)
        order = get_object_or_404(_orders_of(within_reach(request)), public_id=order_id)
        shipments = fulfilment.pack(
            order_id,
            quantities=wish.pop("lines", None),
            warehouse=getattr(request.auth, "warehouse", "") or None,
            **wish,
            actor=str(request.user),
            now=timezone.now(),
        )
        order = shipments[0].order
        return Response(PackedOrder({"order": order, "shipments": shipments}).data, status=201)


class UnpackView(APIView):
    required_scopes = SCOPES

    @extend_schema(request=None, responses=MovedParcel)
    def post(self, request: Request, shipment_id: str) -> Response:
        """A packed parcel is taken apart: what was in it can be cancelled, or packed anew."""
        Nothing.read(request)
        _find_parcel(request, shipment_id)
        unpacked = fulfilment.unpack(shipment_id, actor=str(request.user), now=timezone.now())
        return Response(MovedParcel(unpacked.shipment).data)


class ShipView(APIView):
    required_scopes = SCOPES

    @extend_schema(request=ShipParcel, responses=MovedParcel)
    def post(self, request: Request, shipment_id: str) -> Response:
        wish = ShipParcel.read(request)
        _find_parcel(request, shipment_id)
        shipped = fulfilment.ship(shipment_id, **wish, actor=str(request.user), now=timezone.now())
        return Response(MovedParcel(shipped.shipment).data)


class TrackingView(APIView):
    required_scopes = SCOPES

    @extend_schema(request=TrackParcel, responses=MovedParcel)
    def post(self, request: Request, shipment_id: str) -> Response:
        """A courier's scan, in any order; `delivered` delivers the parcel."""
        scan = TrackParcel.read(request)
        _find_parcel(request, shipment_id)
        update = couriers.track(shipment_id, **scan, source=str(request.user), now=timezone.now())
        return Response(MovedParcel(update.shipment).data)


class DeliverView(APIView):
    required_scopes = SCOPES

    @extend_schema(request=DeliverParcel, responses=MovedParcel)
    def post(self, request: Request, shipment_id: str) -> Response:
        parcel = _find_parcel(request, shipment_id)
        wish = DeliverParcel.read(request, parcel.order)
        now = timezone.now()
        delivered = fulfilment.deliver(
            shipment_id,
            delivered_at=wish.get("delivered_at", now),
            received_by=wish.get("received_by", ""),
            collected_minor=wish.get("collected_minor"),
            source=str(request.user),
            actor=str(request.user),
            now=now,
        )
        return Response(MovedParcel(delivered.shipment).data)


class BringBackView(APIView):
    required_scopes = SCOPES

    @extend_schema(request=BringBackParcel, responses=MovedParcel)
    def post(self, request: Request, shipment_id: str) -> Response:
        """A shipped parcel did not reach its customer: its units are `sellable` (on sale again), `damaged` or `lost`.

        All of it is cancelled, and what was paid for it is refunded.
        """
        receipts = BringBackParcel.read(request)["lines"]
        _find_parcel(request, shipment_id)
        back = fulfilment.bring_back(shipment_id, receipts=receipts, actor=str(request.user), now=timezone.now())
        return Response(MovedParcel(back.shipment).data)


def _orders_of(warehouses: QuerySet[Warehouse]) -> QuerySet[Order]:
    """The orders that these warehouses have a part in, also if it was cancelled since."""
    parts = Allocation.objects.filter(line__order=OuterRef("pk"), level__warehouse__in=warehouses)
    return with_parts_of(warehouses).filter(Exists(parts))


def _find_parcel(request: Request, shipment_id: str) -> Shipment:
    parcels = Shipment.objects.select_related("order").filter(warehouse__in=within_reach(request))
    return get_object_or_404(parcels, public_id=shipment_id)
