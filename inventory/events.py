"""The catalogue's part about products and stock."""

from inventory.serializers import (
    InventoryLowSerializer,
    InventoryUpdatedSerializer,
    ProductCreatedSerializer,
    ProductStockSerializer,
    ProductUpdatedSerializer,
)
from webhooks.catalogue import EventType, Subject, declare

STOCK = Subject(
    kind="stock",
    example="prd_01jdcq9v8k3x5w2m7r4t6y8z0a:BER",
    id=lambda movement: f"{movement.level.product.public_id}:{movement.level.warehouse.code}",
    label=lambda movement: movement.level.product.sku,
)
# Counted apart from the product's own events: of these the latest is what holds now.
STOCK_IN_ALL = Subject(
    kind="product_stock",
    example="prd_01jdcq9v8k3x5w2m7r4t6y8z0a:*",
    id=lambda movement: f"{movement.level.product.public_id}:*",
    label=lambda movement: movement.level.product.sku,
)
PRODUCT = Subject(
    kind="product",
    example="prd_01jdcq9v8k3x5w2m7r4t6y8z0a",
    id=lambda change: change.instance.public_id,
    label=lambda change: change.instance.sku,
)

_PRODUCT = {
    "product_id": "prd_01jdcq9v8k3x5w2m7r4t6y8z0a",
    "sku": "MUG-BLUE",
    "name": "Blue mug",
    "price_amount": "12.50",
    "currency": "EUR",
    "is_active": True,
    "weight_grams": 350,
}

INVENTORY_UPDATED = EventType(
    name="inventory.updated",
    summary="Stock in a warehouse moved: received, reserved, released, shipped, sold, counted or written off.",
    subject=STOCK,
    serializer=InventoryUpdatedSerializer,
    example={
        "product_id": _PRODUCT["product_id"],
        "sku": _PRODUCT["sku"],
        "warehouse_code": "BER",
        "on_hand": 48,
        "reserved": 3,
        "available": 45,
        "on_hand_delta": 0,
        "available_delta": -2,
        "total_available": 71,
        "is_in_stock": True,
        "reason": "reserved",
        "reference_id": "ord_01jdcqb3m6n8p1q4s7v9x2z5c8",
        "version": 12,
        "changed_at": "2026-11-23T18:04:05.123000Z",
    },
    is_snapshot=True,
)
INVENTORY_LOW = EventType(
    name="inventory.low",
    summary="What a warehouse has available of a product fell to its low-stock threshold. Once each time it falls.",
    subject=STOCK,
    serializer=InventoryLowSerializer,
    example={
        "product_id": _PRODUCT["product_id"],
        "sku": _PRODUCT["sku"],
        "warehouse_code": "BER",
        "on_hand": 8,
        "reserved": 3,
        "available": 5,
        "previous_available": 7,
        "low_stock_threshold": 5,
        "reason": "reserved",
        "reference_id": "ord_01jdcqb3m6n8p1q4s7v9x2z5c8",
        "version": 31,
        "changed_at": "2026-11-23T18:04:05.123000Z",
    },
)
INVENTORY_OUT_OF_STOCK = EventType(
    name="inventory.out_of_stock",
    summary="The last unit of a product that could be sold is gone: none is available in any active warehouse.",
    subject=STOCK_IN_ALL,
    serializer=ProductStockSerializer,
    example={
        "product_id": _PRODUCT["product_id"],
        "sku": _PRODUCT["sku"],
        "warehouse_code": "BER",
        "total_available": 0,
        "previous_total_available": 2,
        "reason": "reserved",
        "reference_id": "ord_01jdcqb3m6n8p1q4s7v9x2z5c8",
        "changed_at": "2026-11-23T18:04:05.123000Z",
    },
)
INVENTORY_BACK_IN_STOCK = EventType(
    name="inventory.back_in_stock",
    summary="A product can be sold of which none was available in any active warehouse; its first stock too.",
    subject=STOCK_IN_ALL,
    serializer=ProductStockSerializer,
    example={
        "product_id": _PRODUCT["product_id"],
        "sku": _PRODUCT["sku"],
        "warehouse_code": "BER",
        "total_available": 40,
        "previous_total_available": 0,
        "reason": "received",
        "reference_id": "DN-2206",
        "changed_at": "2026-11-25T07:30:00.000000Z",
    },
)
PRODUCT_CREATED = EventType(
    name="product.created",
    summary="A product was added to the catalogue.",
    subject=PRODUCT,
    serializer=ProductCreatedSerializer,
    example=_PRODUCT | {"version": 1, "created_at": "2026-11-23T18:04:05.123000Z"},
)
PRODUCT_UPDATED = EventType(
    name="product.updated",
    summary="A product's name, price, weight or availability for sale was changed.",
    subject=PRODUCT,
    serializer=ProductUpdatedSerializer,
    example=_PRODUCT | {"version": 2, "changed_fields": ["price_amount"], "updated_at": "2026-11-23T18:04:05.123000Z"},
    is_snapshot=True,
)

declare(
    INVENTORY_UPDATED,
    INVENTORY_LOW,
    INVENTORY_OUT_OF_STOCK,
    INVENTORY_BACK_IN_STOCK,
    PRODUCT_CREATED,
    PRODUCT_UPDATED,
)
