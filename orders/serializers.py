"""The public shapes of orders, parcels, payments and customers, for the API and for events alike (spec/events.md)."""

from typing import Any, ClassVar

from rest_framework import serializers
from rest_framework.fields import Field

from inventory.money import AmountField
from webhooks.shapes import Shape

NOT_TO_BE_CAPTURED = "Of the order: authorised, and not to be captured any more. Whoever drives the gateway voids it."


class TextOrNull(serializers.CharField):
    """An empty text is told as null: nothing is there."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(allow_null=True, **kwargs)

    def to_representation(self, value: str) -> str | None:  # type: ignore[override]
        return value or None


class Flat(Shape):
    """Has the fields of its `blocks` beside its own: attribute path -> the serializer of what is found there."""

    blocks: ClassVar[dict[str, type[Shape]]] = {}

    def get_fields(self) -> dict[str, Field[Any, Any, Any, Any]]:
        fields: dict[str, Field[Any, Any, Any, Any]] = {}
        for path, block in self.blocks.items():
            for name, field in block().get_fields().items():
                field.source = f"{path}.{field.source or name}"
                fields[name] = field
        return fields | super().get_fields()


class OrderBlock(Shape):
    """On every `order.*` event."""

    order_id = serializers.CharField(source="public_id")
    order_number = serializers.CharField(source="number")
    status = serializers.CharField()
    state = serializers.CharField()
    fulfilment_status = serializers.CharField()
    payment_status = serializers.CharField()
    on_hold = serializers.BooleanField()
    channel = serializers.CharField()
    currency = serializers.CharField()
    subtotal_amount = AmountField(source="subtotal_minor")
    shipping_amount = AmountField(source="shipping_minor")
    discount_amount = AmountField(source="discount_minor")
    tax_amount = AmountField(source="tax_minor")
    total_amount = AmountField(source="total_minor")
    paid_amount = AmountField(source="paid_minor")
    refunded_amount = AmountField(source="refunded_minor")
    item_count = serializers.IntegerField()
    customer_id = serializers.CharField(source="customer.public_id")
    customer_name = TextOrNull(source="contact_name")
    customer_email = serializers.CharField(source="contact_email")
    customer_phone = TextOrNull(source="contact_phone")
    tracking_page_url = serializers.CharField()
    placed_at = serializers.DateTimeField()


class ShipmentBlock(Shape):
    """On every event of a parcel."""

    shipment_id = serializers.CharField(source="public_id")
    shipment_index = serializers.IntegerField(source="index")
    shipment_count = serializers.IntegerField(source="order.shipment_count")
    warehouse_code = serializers.CharField(source="warehouse.code")
    order_complete = serializers.BooleanField()


class LineBlock(Shape):
    """Some `Units` of a line."""

    line_id = serializers.CharField(source="line.public_id")
    product_id = serializers.CharField(source="line.product.public_id")
    sku = serializers.CharField(source="line.sku")
    name = serializers.CharField(source="line.name")
    quantity = serializers.IntegerField()
    unit_amount = AmountField(source="unit_minor")
    total_amount = AmountField(source="total_minor")
    warehouse_code = TextOrNull()


class AddressBlock(Shape):
    """The address of an order."""

    name = serializers.CharField(source="address_name")
    line1 = serializers.CharField(source="address_line1")
    line2 = TextOrNull(source="address_line2")
    city = serializers.CharField(source="address_city")
    region = TextOrNull(source="address_region")
    postal_code = TextOrNull(source="address_postal_code")
    country = serializers.CharField(source="address_country")
    phone = TextOrNull(source="address_phone")


class CustomerBlock(Shape):
    customer_id = serializers.CharField(source="public_id")
    email = serializers.CharField()
    phone = TextOrNull()
    name = TextOrNull()
    locale = serializers.CharField()
    accepts_marketing = serializers.BooleanField()
    created_at = serializers.DateTimeField()


class PaymentBlock(Shape):
    payment_id = serializers.CharField(source="public_id")
    order_id = serializers.CharField(source="order.public_id")
    order_number = serializers.CharField(source="order.number")
    customer_id = serializers.CharField(source="order.customer.public_id")
    kind = serializers.CharField()
    amount = AmountField(source="amount_minor")
    currency = serializers.CharField()
    method = serializers.CharField()
    gateway = TextOrNull()
    gateway_reference = TextOrNull()
    attempt_number = serializers.IntegerField()
    processed_at = serializers.DateTimeField(source="at")


class OrderEvent(Flat):
    """The `data` of an event that an OrderTransition emits."""

    blocks: ClassVar = {"order": OrderBlock}

    lines = LineBlock(source="units", many=True)


class PromisedOrderEvent(OrderEvent):
    shipping_address = AddressBlock(source="order")
    warehouse_code = TextOrNull(source="order.warehouse_code")
    promised_delivery_from = serializers.DateField(source="order.promised_from")
    promised_delivery_to = serializers.DateField(source="order.promised_to")


class OrderCreated(PromisedOrderEvent):
    payment_id = serializers.CharField(source="order.payment.public_id", default=None, allow_null=True)
    payment_method = serializers.CharField(source="order.payment_method")
    payment_gateway = TextOrNull(source="order.payment_gateway")
    ship_by_at = serializers.DateTimeField(source="order.ship_by_at")
    hold_expires_at = serializers.DateTimeField(source="order.hold_expires_at", allow_null=True)


class OrderConfirmed(PromisedOrderEvent):
    confirmed_at = serializers.DateTimeField(source="at")
    confirmed_by = serializers.CharField(source="actor")


class OrderCancelled(OrderEvent):
    cancelled_at = serializers.DateTimeField(source="at")
    cancelled_by = serializers.CharField(source="actor")
    cancel_reason = TextOrNull(source="reason")
    is_full = serializers.BooleanField()
    refund_expected_amount = AmountField(source="order.refund_expected_minor")
    void_expected_amount = AmountField(source="order.void_expected_minor", help_text=NOT_TO_BE_CAPTURED)


class ShipmentEvent(OrderEvent):
    blocks: ClassVar = {"order": OrderBlock, "shipment": ShipmentBlock}


class OrderPacked(ShipmentEvent):
    packed_at = serializers.DateTimeField(source="shipment.packed_at")
    packed_by = serializers.CharField(source="shipment.packed_by")
    package_count = serializers.IntegerField(source="shipment.package_count")
    weight_grams = serializers.IntegerField(source="shipment.weight_grams", allow_null=True)


class OrderUnpacked(ShipmentEvent):
    unpacked_at = serializers.DateTimeField(source="at")
    unpacked_by = serializers.CharField(source="actor")


class OrderShipped(ShipmentEvent):
    carrier = serializers.CharField(source="shipment.carrier")
    carrier_service = TextOrNull(source="shipment.carrier_service")
    tracking_number = TextOrNull(source="shipment.tracking_number")
    tracking_url = TextOrNull(source="shipment.tracking_url")
    shipped_at = serializers.DateTimeField(source="shipment.shipped_at")
    estimated_delivery_at = serializers.DateTimeField(source="shipment.estimated_delivery_at", allow_null=True)


class OrderDelivered(ShipmentEvent):
    delivered_at = serializers.DateTimeField(source="shipment.delivered_at")
    delivery_source = serializers.CharField(source="shipment.delivery_source")
    received_by = TextOrNull(source="shipment.received_by")
    tracking_number = TextOrNull(source="shipment.tracking_number")
    carrier = serializers.CharField(source="shipment.carrier")
    cod_amount = AmountField(source="cod_minor", currency="order.currency", allow_null=True)
    cod_collected_amount = AmountField(source="cod_collected_minor", currency="order.currency", allow_null=True)


class ReceivedLine(Flat):
    """Some `ReceivedUnits`."""

    blocks: ClassVar = {"units": LineBlock}

    condition = serializers.CharField()


class OrderShipmentReturned(Flat):
    """`reason` is returned_to_sender or lost; what the order's cancellation is worth is told by its own event."""

    blocks: ClassVar = {"order": OrderBlock, "shipment": ShipmentBlock}

    carrier = serializers.CharField(source="shipment.carrier")
    tracking_number = TextOrNull(source="shipment.tracking_number")
    reason = serializers.CharField()
    returned_at = serializers.DateTimeField(source="at")
    returned_by = serializers.CharField(source="actor")
    lines = ReceivedLine(source="received", many=True)


class HoldEvent(Flat):
    """The `data` of what places or ends holds."""

    blocks: ClassVar = {"order": OrderBlock}

    open_hold_kinds = serializers.ListField(child=serializers.CharField(), source="details.open_kinds")


class OrderHeld(HoldEvent):
    hold_id = serializers.CharField(source="details.hold_id")
    hold_kind = serializers.CharField(source="details.kind")
    hold_reason = serializers.CharField(source="reason")
    held_at = serializers.DateTimeField(source="at")
    held_by = serializers.CharField(source="actor")


class OrderReleased(HoldEvent):
    released_hold_kinds = serializers.ListField(child=serializers.CharField(), source="details.kinds")
    released_at = serializers.DateTimeField(source="at")
    released_by = serializers.CharField(source="actor")


class ReturnedLine(Flat):
    """Of a ReturnLine: units that are to come back."""

    blocks: ClassVar = {"units": LineBlock}

    reason = TextOrNull()


class ReturnEvent(Flat):
    """The `data` of what opens or receives a return."""

    blocks: ClassVar = {"order": OrderBlock}

    return_id = serializers.CharField(source="goods_return.public_id")
    return_number = serializers.CharField(source="goods_return.number")
    reason = serializers.CharField(source="goods_return.reason")
    expected_refund_amount = AmountField(source="goods_return.expected_refund_minor", currency="order.currency")


class OrderReturnInitiated(ReturnEvent):
    initiated_at = serializers.DateTimeField(source="at")
    initiated_by = serializers.CharField(source="actor")
    lines = ReturnedLine(source="goods_return.contents", many=True)


class OrderReturnReceived(ReturnEvent):
    void_expected_amount = AmountField(source="order.void_expected_minor", help_text=NOT_TO_BE_CAPTURED)
    received_at = serializers.DateTimeField(source="at")
    received_by = serializers.CharField(source="actor")
    is_complete = serializers.BooleanField(source="goods_return.is_complete")
    lines = ReceivedLine(source="received", many=True)


class OrderReturnClosed(ReturnEvent):
    closed_at = serializers.DateTimeField(source="at")
    closed_by = serializers.CharField(source="actor")
    lines = LineBlock(source="units", many=True)


class RefundEvent(Flat):
    """The `data` of what asks for a refund, or says what came of it."""

    blocks: ClassVar = {"order": OrderBlock}

    refund_id = serializers.CharField(source="refund.public_id")
    payment_id = serializers.CharField(source="refund.payment.public_id")
    return_id = serializers.CharField(source="refund.goods_return.public_id", default=None, allow_null=True)
    refund_amount = AmountField(source="refund.amount_minor", currency="order.currency")
    reason = serializers.CharField(source="refund.reason")
    remaining_refundable_amount = AmountField(source="order.refundable_minor")


class OrderRefundRequested(RefundEvent):
    payment_gateway = serializers.CharField(source="refund.gateway")
    payment_reference = serializers.CharField(source="refund.payment.gateway_reference")
    requested_at = serializers.DateTimeField(source="at")
    requested_by = serializers.CharField(source="actor")


class OrderRefundProcessed(RefundEvent):
    is_full = serializers.BooleanField(source="refund.is_full")
    processed_at = serializers.DateTimeField(source="at")


class OrderRefundFailed(RefundEvent):
    failure_code = TextOrNull(source="refund.failure_code")
    failure_message = TextOrNull(source="refund.failure_message")
    failed_at = serializers.DateTimeField(source="at")


class OrderWindowChanged(Flat):
    """`reason` is hold, late_shipment or courier_estimate."""

    blocks: ClassVar = {"order": OrderBlock}

    promised_delivery_from = serializers.DateField(source="order.promised_from")
    promised_delivery_to = serializers.DateField(source="order.promised_to")
    previous_delivery_from = serializers.DateField(source="details.previous_from")
    previous_delivery_to = serializers.DateField(source="details.previous_to")
    ship_by_at = serializers.DateTimeField(source="order.ship_by_at")
    reason = serializers.CharField()
    changed_at = serializers.DateTimeField(source="at")


class OrderTracking(Flat):
    """The `data` of what a TrackingUpdate emits. Here `status` is the parcel's word, not the order's."""

    blocks: ClassVar = {"order": OrderBlock, "shipment": ShipmentBlock}

    status = serializers.CharField()
    previous_status = TextOrNull()
    message = TextOrNull()
    location = TextOrNull()
    occurred_at = serializers.DateTimeField()
    estimated_delivery_at = serializers.DateTimeField(source="shipment.estimated_delivery_at", allow_null=True)


class PaymentEvent(PaymentBlock):
    """With what the attempt made of its order: a reader of the feed needs nobody else to know that."""

    order_state = serializers.CharField(source="order.state")
    payment_status = serializers.CharField(source="order.payment_status")


class PaymentSuccess(PaymentEvent):
    void_expected_amount = AmountField(source="order.void_expected_minor", help_text=NOT_TO_BE_CAPTURED)


class PaymentFailed(PaymentEvent):
    failure_code = TextOrNull()
    failure_message = TextOrNull()
    is_retryable = serializers.BooleanField()
    attempts_24h = serializers.IntegerField()
    order_on_hold = serializers.BooleanField(source="order.on_hold")
    failed_at = serializers.DateTimeField(source="at")


class CustomerCreated(Flat):
    blocks: ClassVar = {"instance": CustomerBlock}


class CustomerUpdated(CustomerCreated):
    changed_fields = serializers.ListField(child=serializers.CharField())
    version = serializers.IntegerField(source="instance.version")
    updated_at = serializers.DateTimeField(source="at")
