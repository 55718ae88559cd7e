"""The public shapes of products and stock, the same in the API and in events."""

from typing import Any

from rest_framework import serializers
from rest_framework.fields import Field

from inventory.models import StockMovement
from inventory.money import AmountField, CurrencyField
from webhooks.shapes import Shape
from webhooks.sources import Change


class ProductBlock(Shape):
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


class ProductEvent(Shape):
    """The fields of a ProductBlock, of the row that was changed."""

    def get_fields(self) -> dict[str, Field[Any, Any, Any, Any]]:
        fields = ProductBlock().get_fields()
        for name, field in fields.items():
            field.source = f"instance.{field.source or name}"
        return fields | super().get_fields()


class ProductCreatedSerializer(ProductEvent):
    created_at = serializers.DateTimeField(source="instance.created_at")


class ProductUpdatedSerializer(ProductEvent):
    changed_fields = serializers.SerializerMethodField()
    updated_at = serializers.DateTimeField(source="at")

    def get_changed_fields(self, change: Change) -> list[str]:
        """By their public names."""
        public_names = {str(field.source).removeprefix("instance."): name for name, field in self.fields.items()}
        return [public_names[name] for name in change.changed_fields]


class StockLevelSerializer(Shape):
    product_id = serializers.CharField(source="product.public_id")
    sku = serializers.CharField(source="product.sku")
    warehouse_code = serializers.CharField(source="warehouse.code")
    on_hand = serializers.IntegerField()
    reserved = serializers.IntegerField()
    safety_stock = serializers.IntegerField()
    available = serializers.IntegerField()
    version = serializers.IntegerField()
    updated_at = serializers.DateTimeField()


class MovementBlock(Shape):
    """What moved, why, and when."""

    product_id = serializers.CharField(source="level.product.public_id")
    sku = serializers.CharField(source="level.product.sku")
    warehouse_code = serializers.CharField(source="level.warehouse.code")
    reason = serializers.CharField()
    reference_id = serializers.SerializerMethodField()
    changed_at = serializers.DateTimeField(source="at")

    def get_reference_id(self, movement: StockMovement) -> str | None:
        return movement.reference or None


class LevelBlock(MovementBlock):
    """And what the level holds after it."""

    on_hand = serializers.IntegerField(source="on_hand_after")
    reserved = serializers.IntegerField(source="reserved_after")
    available = serializers.IntegerField(source="available_after")
    version = serializers.IntegerField()


class InventoryUpdatedSerializer(LevelBlock):
    """`total_available` is over all active warehouses, as `is_in_stock` is. Both count as `available` does: what an
    unpaid order holds is told of once it has been released."""

    on_hand_delta = serializers.IntegerField()
    available_delta = serializers.IntegerField()
    total_available = serializers.IntegerField(source="total_after")
    is_in_stock = serializers.SerializerMethodField()

    def get_is_in_stock(self, movement: StockMovement) -> bool:
        return movement.total_after > 0


class InventoryLowSerializer(LevelBlock):
    previous_available = serializers.IntegerField(source="available_before")
    low_stock_threshold = serializers.IntegerField(source="level.low_stock_threshold")


class ProductStockSerializer(MovementBlock):
    """Totals are over all active warehouses; the warehouse is the one where the stock moved."""

    total_available = serializers.IntegerField(source="total_after")
    previous_total_available = serializers.IntegerField(source="total_before")
