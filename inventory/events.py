"""The catalogue's part about products and stock."""

from inventory.serializers import InventoryUpdatedSerializer, ProductCreatedSerializer, ProductUpdatedSerializer
from webhooks.catalogue import EventType, Subject, declare

STOCK = Subject(
    kind="stock",
    example="prd_01jdcq9v8k3x5w2m7r4t6y8z0a:BER",
    id=lambda movement: f"{movement.level.product.public_id}:{movement.level.warehouse.code}",
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

declare(INVENTORY_UPDATED, PRODUCT_CREATED, PRODUCT_UPDATED)
