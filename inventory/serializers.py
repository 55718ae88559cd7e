"""The public shapes of products and stock, the same in the API and in events."""

from functools import cached_property
from typing import Any

from rest_framework import serializers

from inventory.models import Product, StockLevel, StockMovement
from inventory.money import AmountField, CurrencyField
from webhooks.sources import Change


class ProductBlock(serializers.Serializer[Any]):
    product_id = serializers.CharField(source="public_id")
    sku = serializers.CharField()
    name = serializers.CharField()
    price_amount = AmountField(source="price_minor")
    currency = CurrencyField()
    is_active = serializers.BooleanField()
    weight_grams = serializers.IntegerField(allow_null=True)
    version = serializers.IntegerField()


class ProductSerializer(ProductBlock):
    """A product of `with_available()`."""

    available = serializers.IntegerField()
    is_in_stock = serializers.SerializerMethodField()
    updated_at = serializers.DateTimeField()

    def get_is_in_stock(self, product: Any) -> bool:
        return bool(product.available)


class ProductCreatedSerializer(ProductBlock):
    created_at = serializers.DateTimeField()

    def to_representation(self, change: Change) -> dict[str, Any]:
        return super().to_representation(change.instance)


class ProductUpdatedSerializer(ProductBlock):
    changed_fields = serializers.SerializerMethodField()
    updated_at = serializers.DateTimeField()

    def to_representation(self, change: Change) -> dict[str, Any]:
        return super().to_representation(change.instance)

    def get_changed_fields(self, _: Product) -> list[str]:
        """By their public names."""
        public_names = {field.source: name for name, field in self.fields.items()}
        return [public_names[name] for name in self.instance.changed_fields]  # type: ignore[union-attr]


class StockLevelSerializer(serializers.Serializer[StockLevel]):
    product_id = serializers.CharField(source="product.public_id")
    sku = serializers.CharField(source="product.sku")
    warehouse_code = serializers.CharField(source="warehouse.code")
    on_hand = serializers.IntegerField()
    reserved = serializers.IntegerField()
    safety_stock = serializers.IntegerField()
    available = serializers.IntegerField()
    version = serializers.IntegerField()
    updated_at = serializers.DateTimeField()


class InventoryUpdatedSerializer(serializers.Serializer[StockMovement]):
    """One query, for `total_available`: over all active warehouses, as `is_in_stock` is."""

    product_id = serializers.CharField(source="level.product.public_id")
    sku = serializers.CharField(source="level.product.sku")
    warehouse_code = serializers.CharField(source="level.warehouse.code")
    on_hand = serializers.IntegerField(source="on_hand_after")
    reserved = serializers.IntegerField(source="reserved_after")
    available = serializers.IntegerField(source="available_after")
    on_hand_delta = serializers.IntegerField()
    available_delta = serializers.IntegerField()
    total_available = serializers.SerializerMethodField()
    is_in_stock = serializers.SerializerMethodField()
    reason = serializers.CharField()
    reference_id = serializers.SerializerMethodField()
    version = serializers.IntegerField()
    changed_at = serializers.DateTimeField(source="at")

    def get_total_available(self, _: StockMovement) -> int:
        return self._total_available

    def get_is_in_stock(self, _: StockMovement) -> bool:
        return self._total_available > 0

    def get_reference_id(self, movement: StockMovement) -> str | None:
        return movement.reference or None

    @cached_property
    def _total_available(self) -> int:
        movement: Any = self.instance
        product: Any = Product.objects.with_available().get(pk=movement.level.product_id)
        return int(product.available)
