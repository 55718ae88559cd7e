"""Products for shop windows and catalogues; stock for warehouses, tills and marketplaces."""

from typing import Any, ClassVar

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import generics, serializers
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from inventory import openings, stock
from inventory.models import MOST_DAYS, Product, StockLevel, StockMovement, Warehouse, is_country, validate_transit
from inventory.money import AmountField, CurrencyField
from inventory.serializers import ProductSerializer, StockLevelSerializer
from webhooks.bodies import Body, MomentFilter

# More than any warehouse holds, and small enough that no sum of them can leave the database's range.
MOST_UNITS = 10**9
MOST_LINES = 100


def within_reach(request: Request) -> QuerySet[Warehouse]:
    """The warehouses a token works for: its own, or all."""
    own = getattr(request.auth, "warehouse", "")
    return Warehouse.objects.filter(code=own) if own else Warehouse.objects.all()


def add(serializer: serializers.BaseSerializer[Any]) -> None:
    """Save what is new. Of two with one SKU that were checked at the same moment, the database refuses the later."""
    try:
        with transaction.atomic():
            serializer.save()
    except IntegrityError:
        # Checked again, now that the other one is there, it is refused in words.
        serializer.run_validation(serializer.initial_data)
        raise


class ProductFilter(filters.FilterSet):  # type: ignore[misc]
    updated_since = MomentFilter("updated_at", "gte")

    class Meta:
        model = Product
        fields = ("sku",)


class StockLevelFilter(filters.FilterSet):  # type: ignore[misc]
    sku = filters.CharFilter("product__sku")
    warehouse = filters.CharFilter("warehouse__code")
    updated_since = MomentFilter("updated_at", "gte")


class ProductWriteSerializer(Body, serializers.ModelSerializer[Product]):
    price_amount = AmountField(source="price_minor")
    currency = CurrencyField()

    class Meta:
        model = Product
        fields = ("sku", "name", "price_amount", "currency", "weight_grams", "is_active")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if self.instance and "currency" in attrs and "price_minor" not in attrs:
            raise serializers.ValidationError({"price_amount": "Give the price in the new currency too."})
        return attrs

    def to_representation(self, instance: Product) -> dict[str, Any]:
        return ProductSerializer(Product.objects.with_available(timezone.now()).get(pk=instance.pk)).data


@extend_schema_field({"type": "string", "pattern": r"^\d\d:\d\d(:\d\d(\.\d{1,6})?)?$", "example": "14:00:00"})
class ClockTime(serializers.TimeField):
    """Of the day; the description's own format would ask for a zone."""


class TransitField(serializers.DictField):
    """Working days on the road, the fewest and the most, by country."""

    def __init__(self, **kwargs: Any) -> None:
        days = serializers.IntegerField(min_value=0, max_value=MOST_DAYS)
        window = serializers.ListField(child=days, min_length=2, max_length=2)
        super().__init__(child=window, validators=[validate_transit], **kwargs)


class WarehouseSerializer(Body, serializers.ModelSerializer[Warehouse]):
    ships_to = serializers.ListField(
        child=serializers.CharField(validators=[is_country]), required=False, help_text="Countries. Empty: everywhere."
    )

    cutoff = ClockTime(required=False, help_text="In its own time zone. Later orders count as the next working day's.")
    transit_days = TransitField(
        required=False,
        help_text='Working days on the road at best and at worst, by country: `{"AT": [2, 4]}`. Of the others: 1 to 3 '
        "in its own country, 3 to 8 elsewhere.",
    )

    class Meta:
        model = Warehouse
        fields = (
            "code",
            "name",
            "country",
            "priority",
            "handling_days",
            "cutoff",
            "time_zone",
            "transit_days",
            "ships_to",
            "is_active",
        )


class WarehouseChangeSerializer(WarehouseSerializer):
    """The code stands in what other systems were told, and in their tokens: it stays."""

    class Meta(WarehouseSerializer.Meta):
        read_only_fields = ("code",)


class CodeField(serializers.SlugRelatedField[Any]):
    """Of a row that callers name by its code."""

    def to_internal_value(self, data: Any) -> Any:
        # PostgreSQL cannot even be asked for it.
        if "\x00" in str(data):
            self.fail("does_not_exist", slug_name=self.slug_field, value=data)
        return super().to_internal_value(data)


class ProductField(CodeField):
    default_error_messages: ClassVar = {"does_not_exist": "There is no product {value}."}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(slug_field="sku", queryset=Product.objects.all(), **kwargs)


class WarehouseField(CodeField):
    default_error_messages: ClassVar = {"does_not_exist": "There is no warehouse {value} that this token works for."}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(slug_field="code", queryset=Warehouse.objects.all(), **kwargs)

    def get_queryset(self) -> QuerySet[Warehouse]:
        return within_reach(self.context["request"])


class AdjustmentSerializer(Body):
    """Either `delta`, or what was counted: `on_hand`, and the `expected_on_hand` the counting began with."""

    sku = ProductField(source="product")
    warehouse = WarehouseField()
    delta = serializers.IntegerField(min_value=-MOST_UNITS, max_value=MOST_UNITS, required=False)
    on_hand = serializers.IntegerField(min_value=0, max_value=MOST_UNITS, required=False)
    expected_on_hand = serializers.IntegerField(min_value=0, max_value=MOST_UNITS, required=False)
    reason = serializers.ChoiceField([(reason.value, reason.label) for reason in StockMovement.ADJUSTMENTS])

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs.keys() & {"delta", "on_hand", "expected_on_hand"} not in ({"delta"}, {"on_hand", "expected_on_hand"}):
            raise serializers.ValidationError("Give either delta, or on_hand and expected_on_hand.")
        if attrs.get("delta") == 0:
            raise serializers.ValidationError({"delta": "A delta of 0 changes nothing."})
        return attrs


class SaleLineSerializer(Body):
    sku = ProductField()
    quantity = serializers.IntegerField(min_value=1, max_value=MOST_UNITS)


class SaleSerializer(Body):
    warehouse = WarehouseField()
    reference = serializers.CharField(max_length=100)
    lines = SaleLineSerializer(many=True, allow_empty=False, max_length=MOST_LINES)  # type: ignore[call-arg]


class SoldSerializer(serializers.Serializer[Any]):
    warehouse = serializers.CharField()
    reference = serializers.CharField()
    levels = StockLevelSerializer(many=True)


class ProductsView(generics.ListCreateAPIView[Product]):
    required_scopes: ClassVar = {"GET": (), "POST": ("catalogue",)}
    filterset_class = ProductFilter

    def get_queryset(self) -> QuerySet[Product]:
        return Product.objects.with_available(timezone.now()).filter(is_active=True)

    def get_serializer_class(self) -> type[serializers.BaseSerializer[Product]]:
        return ProductWriteSerializer if self.request.method == "POST" else ProductSerializer

    def perform_create(self, serializer: serializers.BaseSerializer[Product]) -> None:
        add(serializer)

    @extend_schema(request=ProductWriteSerializer, responses={201: ProductSerializer})
    def post(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().post(request, *args, **kwargs)


class ProductView(APIView):
    required_scopes: ClassVar = {"GET": (), "PATCH": ("catalogue",)}

    @extend_schema(responses=ProductSerializer)
    def get(self, request: Request, sku: str) -> Response:
        product = generics.get_object_or_404(Product.objects.with_available(timezone.now()), sku=sku, is_active=True)
        return Response(ProductSerializer(product).data)

    @extend_schema(request=ProductWriteSerializer(partial=True), responses=ProductSerializer)
    @transaction.atomic
    def patch(self, request: Request, sku: str) -> Response:
        # Locked, so that of two changes neither writes back what the other replaced.
        product = generics.get_object_or_404(Product.objects.select_for_update(), sku=sku)
        serializer = ProductWriteSerializer(product, data=request.data, partial=True)
        serializer.is_valid(raise_exception=True)
        serializer.save()
        return Response(serializer.data)


class WarehousesView(generics.ListCreateAPIView[Warehouse]):
    required_scopes = ("inventory",)
    serializer_class = WarehouseSerializer

    def get_queryset(self) -> QuerySet[Warehouse]:
        return within_reach(self.request)

    def perform_create(self, serializer: serializers.BaseSerializer[Warehouse]) -> None:
        _refuse_warehouse_token(self.request, "cannot add another")
        add(serializer)


class WarehouseView(APIView):
    required_scopes = ("inventory",)

    @extend_schema(responses=WarehouseSerializer)
    def get(self, request: Request, code: str) -> Response:
        return Response(WarehouseSerializer(generics.get_object_or_404(within_reach(request), code=code)).data)

    @extend_schema(request=WarehouseChangeSerializer(partial=True), responses=WarehouseSerializer)
    @transaction.atomic
    def patch(self, request: Request, code: str) -> Response:
        """Change what is given. A warehouse that is not active is given no orders, and what lies there is not for sale:
        each product that runs out by this, or is back, is told (`inventory.out_of_stock`, `inventory.back_in_stock`).
        """
        _refuse_warehouse_token(request, "cannot change it")
        # Locked, so that of two changes neither writes back what the other replaced.
        locked = Warehouse.objects.select_for_update(no_key=True)
        warehouse = generics.get_object_or_404(locked, code=code)
        serializer = WarehouseChangeSerializer(warehouse, data=request.data, partial=True)
        serializer.is_valid(raise_exception=True)
        is_active = serializer.validated_data.pop("is_active", warehouse.is_active)
        serializer.save()
        openings.open_or_close(warehouse, is_active=is_active, actor=str(request.user), now=timezone.now())
        return Response(WarehouseSerializer(warehouse).data)


def _refuse_warehouse_token(request: Request, words: str) -> None:
    if getattr(request.auth, "warehouse", ""):
        raise PermissionDenied(f"This token works for one warehouse and {words}.")


class StockView(generics.ListAPIView[StockLevel]):
    required_scopes = ("inventory",)
    serializer_class = StockLevelSerializer
    filterset_class = StockLevelFilter

    def get_queryset(self) -> QuerySet[StockLevel]:
        levels = StockLevel.objects.with_lapsed(timezone.now()).select_related("product", "warehouse")
        return levels.filter(warehouse__in=within_reach(self.request))


class AdjustmentsView(APIView):
    required_scopes = ("inventory",)

    @extend_schema(request=AdjustmentSerializer, responses={201: StockLevelSerializer})
    def post(self, request: Request) -> Response:
        """By a delta; or to what was counted, unless the level has moved since it was `expected_on_hand` (409)."""
        serializer = AdjustmentSerializer(data=request.data, context={"request": request})
        serializer.is_valid(raise_exception=True)
        apply = stock.adjust if "delta" in serializer.validated_data else stock.count
        movement = apply(**serializer.validated_data, actor=str(request.user), now=timezone.now())
        return Response(StockLevelSerializer(movement.level).data, status=201)


class SalesView(APIView):
    required_scopes = ("inventory",)

    @extend_schema(request=SaleSerializer, responses={201: SoldSerializer})
    def post(self, request: Request) -> Response:
        """A till or marketplace has sold these units: all of them are taken, or none. A reference is taken once.

        The safety stock is kept back from every sale but those of a token of the channel pos.
        """
        serializer = SaleSerializer(data=request.data, context={"request": request})
        serializer.is_valid(raise_exception=True)
        sale = serializer.validated_data
        movements = stock.sell(
            warehouse=sale["warehouse"],
            lines=[(line["sku"], line["quantity"]) for line in sale["lines"]],
            reference=sale["reference"],
            channel=getattr(request.auth, "channel", ""),
            actor=str(request.user),
            now=timezone.now(),
        )
        sold = sale | {"levels": [movement.level for movement in movements]}
        return Response(SoldSerializer(sold).data, status=201)
