"""A small API of its own: what the project adds around a view is tested without any domain."""

from typing import Any, ClassVar

from django.db import transaction
from django.http import HttpResponse
from django.urls import include, path, re_path
from django.utils.decorators import method_decorator
from rest_framework import serializers
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from commerce import problems
from commerce.models import ApiToken
from inventory.models import Warehouse
from webhooks.errors import DomainError


class LineSerializer(serializers.Serializer[None]):
    sku = serializers.CharField(max_length=10)
    quantity = serializers.IntegerField(min_value=1)


class BasketSerializer(serializers.Serializer[None]):
    email = serializers.EmailField()
    lines = LineSerializer(many=True, allow_empty=False)

    def validate(self, data: dict[str, object]) -> dict[str, object]:
        if data["email"] == "nobody@example.com":
            raise serializers.ValidationError("Nobody may not buy.", code="nobody")
        return data


class SoldOut(DomainError):
    code = "sold_out"


class BasketView(APIView):
    """Leaves a warehouse row behind as its effect; `?then=` says how it ends after that."""

    required_scopes: ClassVar = ()

    def post(self, request: Request) -> Response:
        basket = BasketSerializer(data=request.data)
        basket.is_valid(raise_exception=True)
        made = Warehouse.objects.create(code=f"W{Warehouse.objects.count()}", name="made", country="DE")
        match request.query_params.get("then"):
            case "sold_out":
                raise SoldOut("All gone.", errors=[{"sku": "A", "requested": 2, "available": 0}])
            case "missing":
                ApiToken.objects.get(prefix="nothing")
            case "broken":
                raise RuntimeError("the secret reason")
        return Response({"code": made.code}, status=201)


@method_decorator(transaction.non_atomic_requests, name="dispatch")
class TalkingView(APIView):
    """Speaks HTTP itself, so no transaction may be open around it."""

    required_scopes: ClassVar = ()

    def post(self, request: Request) -> Response:
        return Response({"in_transaction": transaction.get_connection().in_atomic_block})


class GuardedView(APIView):
    required_scopes: ClassVar = {"GET": ("orders", "fulfilment"), "POST": ("payments",)}

    def get(self, request: Request) -> Response:
        token: Any = request.auth
        return Response({"name": str(request.user), "channel": token.channel})

    def post(self, request: Request) -> Response:
        return Response({"name": str(request.user)}, status=201)


class WarehouseSerializer(serializers.ModelSerializer[Warehouse]):
    class Meta:
        model = Warehouse
        fields = ("code",)


class WarehousesView(ListAPIView[Warehouse]):
    required_scopes: ClassVar = ()
    serializer_class = WarehouseSerializer
    queryset = Warehouse.objects.all()
    filterset_fields = ("code",)


def broken(request: object) -> HttpResponse:
    raise RuntimeError("the secret reason")


_api = [
    path("baskets/", BasketView.as_view()),
    path("talk/", TalkingView.as_view()),
    path("guarded/", GuardedView.as_view()),
    path("warehouses/", WarehousesView.as_view()),
    path("inbound/baskets/", BasketView.as_view()),
    path("broken/", broken),
]
urlpatterns = [path("api/v1/", include(_api)), re_path("^api/", problems.unknown_url)]
handler500 = problems.server_error
