"""What callers are answered: the blocks of the events, and what only a reader of the API asks for."""

from functools import cache
from typing import Any

from django.db.models import Prefetch, QuerySet
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from inventory.models import Warehouse
from inventory.money import AmountField
from orders.models import Allocation, Order
from orders.models.line import Units
from orders.models.order import OrderQuerySet
from orders.models.shipment import TrackingStatus
from orders.reading import parcels
from orders.serializers import (
    AddressBlock,
    CustomerBlock,
    LineBlock,
    OrderBlock,
    PaymentBlock,
    ShipmentBlock,
    TextOrNull,
)
from webhooks.shapes import Shape

# What each shape shows of an order, by the name it has there; for `reading.read`.
DETAILS = {
    "shipments": "parcels",
    "payments": "attempts",
    "holds": "stops",
    "returns": "sent_back",
    "refunds": "given_back",
}
TIMELINE = {"shipments": "parcels", "transitions": "steps", "returns": "sent_back"}


def as_placed(order: Order) -> Order:
    """Of an order that was placed a moment ago, for OrderDetail: all there can be is its holds."""
    placed: Any = order
    placed.parcels = placed.attempts = placed.sent_back = placed.given_back = []
    placed.stops = list(order.holds.order_by("pk")) if order.on_hold else []
    return order


@cache
def _shape(kind: type[serializers.Serializer[Any]]) -> serializers.Serializer[Any]:
    return kind()


def show(kind: type[serializers.Serializer[Any]], row: Any) -> Any:
    """`kind(row).data`, by one serializer for all rows: making its fields anew costs more than reading them."""
    return _shape(kind).to_representation(row)


def with_parts_of(warehouses: QuerySet[Warehouse]) -> OrderQuerySet:
    """For OrderToFulfil: what these warehouses hold and have packed. Six statements, however many orders."""
    held = Allocation.objects.filter(level__warehouse__in=warehouses).select_related("level__warehouse").order_by("pk")
    return Order.objects.with_items().prefetch_related(
        Prefetch("items__allocations", held, to_attr="held"), parcels(warehouse__in=warehouses)
    )


class ParcelLine(Shape):
    line_id = serializers.CharField(source="line.public_id")
    product_id = serializers.CharField(source="line.product.public_id")
    sku = serializers.CharField(source="line.sku")
    name = serializers.CharField(source="line.name")
    quantity = serializers.IntegerField()


class Journey(Shape):
    """Where a parcel is, for whoever waits for it."""

    state = serializers.CharField()
    carrier = TextOrNull()
    carrier_service = TextOrNull()
    tracking_number = TextOrNull()
    tracking_url = TextOrNull()
    tracking_status = TextOrNull()
    packed_at = serializers.DateTimeField()
    shipped_at = serializers.DateTimeField(allow_null=True)
    estimated_delivery_at = serializers.DateTimeField(allow_null=True)
    delivered_at = serializers.DateTimeField(allow_null=True)
    returned_at = serializers.DateTimeField(allow_null=True, help_text="When it was brought back, or given up as lost.")
    lines = ParcelLine(source="contents", many=True)


class Parcel(ShipmentBlock, Journey):
    packed_by = serializers.CharField()
    package_count = serializers.IntegerField()
    weight_grams = serializers.IntegerField(allow_null=True)
    received_by = TextOrNull()


class MovedParcel(Parcel):
    """A parcel after a verb, with what that made of its order."""

    order_id = serializers.CharField(source="order.public_id")
    order_number = serializers.CharField(source="order.number")
    order_status = serializers.CharField(source="order.status")


class PackedOrder(Shape):
    order_id = serializers.CharField(source="order.public_id")
    order_number = serializers.CharField(source="order.number")
    order_status = serializers.CharField(source="order.status")
    shipments = Parcel(many=True)


class PaymentAttempt(PaymentBlock):
    result = serializers.CharField()
    failure_code = TextOrNull()
    failure_message = TextOrNull()


class PaidOrder(PaymentAttempt):
    """An attempt, with what it made of its order."""

    order_status = serializers.CharField(source="order.status")
    payment_status = serializers.CharField(source="order.payment_status")


class SentBackLine(ParcelLine):
    reason = TextOrNull()
    sellable = serializers.IntegerField(help_text="Units that came back and are on sale again.")
    damaged = serializers.IntegerField(help_text="Units that came back and are written off.")


class SentBack(Shape):
    """A return, as the shopper may see it."""

    return_id = serializers.CharField(source="public_id")
    return_number = serializers.CharField(source="number")
    state = serializers.CharField()
    reason = serializers.CharField()
    currency = serializers.CharField(source="order.currency")
    expected_refund_amount = AmountField(source="expected_refund_minor", currency="order.currency")
    initiated_at = serializers.DateTimeField()
    received_at = serializers.DateTimeField(allow_null=True)
    lines = SentBackLine(source="contents", many=True)


class ReturnDetail(SentBack):
    order_id = serializers.CharField(source="order.public_id")
    order_number = serializers.CharField(source="order.number")
    order_status = serializers.CharField(source="order.status")
    initiated_by = serializers.CharField()
    received_by = TextOrNull()


class RefundDetail(Shape):
    refund_id = serializers.CharField(source="public_id")
    order_id = serializers.CharField(source="order.public_id")
    order_number = serializers.CharField(source="order.number")
    payment_id = serializers.CharField(source="payment.public_id")
    return_id = serializers.CharField(source="goods_return.public_id", default=None, allow_null=True)
    state = serializers.CharField()
    amount = AmountField(source="amount_minor", currency="order.currency")
    currency = serializers.CharField(source="order.currency")
    reason = serializers.CharField()
    gateway = serializers.CharField()
    gateway_reference = TextOrNull()
    failure_code = TextOrNull()
    failure_message = TextOrNull()
    requested_at = serializers.DateTimeField()
    requested_by = serializers.CharField()
    settled_at = serializers.DateTimeField(allow_null=True, help_text="When it was processed, or failed.")
    settled_by = TextOrNull()


class RefundedOrder(RefundDetail):
    """A refund, with what it made of its order."""

    order_status = serializers.CharField(source="order.status")
    payment_status = serializers.CharField(source="order.payment_status")
    refunded_amount = AmountField(source="order.refunded_minor")
    remaining_refundable_amount = AmountField(source="order.refundable_minor")


class OrderSummary(OrderBlock):
    warehouse_code = TextOrNull()
    updated_at = serializers.DateTimeField()


class Promise(Shape):
    promised_delivery_from = serializers.DateField(source="promised_from")
    promised_delivery_to = serializers.DateField(source="promised_to")


class BoughtLine(LineBlock):
    """A line with its counters: of how many units each step has been taken."""

    cancelled = serializers.IntegerField(source="line.cancelled")
    packed = serializers.IntegerField(source="line.packed")
    shipped = serializers.IntegerField(source="line.shipped")
    delivered = serializers.IntegerField(source="line.delivered")
    returned = serializers.IntegerField(source="line.returned")
    refunded = serializers.IntegerField(source="line.refunded")


class HoldShape(Shape):
    hold_id = serializers.CharField(source="public_id")
    kind = serializers.CharField()
    reason = serializers.CharField()
    placed_by = serializers.CharField()
    placed_at = serializers.DateTimeField()
    released_by = TextOrNull()
    released_at = serializers.DateTimeField(allow_null=True)


class OrderDetail(OrderSummary, Promise):
    """Of an order read with its DETAILS."""

    payment_method = serializers.CharField()
    payment_gateway = TextOrNull()
    ship_by_at = serializers.DateTimeField()
    hold_expires_at = serializers.DateTimeField(allow_null=True)
    tracking_token = serializers.CharField()
    shipping_address = AddressBlock(source="*")
    lines = serializers.SerializerMethodField()
    shipments = Parcel(source="parcels", many=True)
    payments = PaymentAttempt(source="attempts", many=True)
    returns = ReturnDetail(source="sent_back", many=True)
    refunds = RefundDetail(source="given_back", many=True)
    holds = HoldShape(source="stops", many=True)

    @extend_schema_field(BoughtLine(many=True))
    def get_lines(self, order: Order) -> Any:
        bought = [Units(line, line.quantity, line.warehouse_code) for line in order.items]
        return [show(BoughtLine, units) for units in bought]


class LineToPack(ParcelLine):
    """The units of a line that one warehouse holds for it."""

    packed = serializers.IntegerField()
    warehouse_code = serializers.CharField(source="level.warehouse.code")


class OrderToFulfil(Promise):
    """Of `with_parts_of()`: what a warehouse has to know, which may be another company's.

    Field by field, and so without the shopper's key to the whole order (`tracking_page_url`), and without what it cost.
    """

    order_id = serializers.CharField(source="public_id")
    order_number = serializers.CharField(source="number")
    status = serializers.CharField()
    state = serializers.CharField()
    fulfilment_status = serializers.CharField()
    payment_status = serializers.CharField()
    on_hold = serializers.BooleanField()
    channel = serializers.CharField()
    currency = serializers.CharField()
    cod_amount = AmountField(
        source="to_collect_minor", allow_null=True, help_text="Still to be collected at the door, of all its parcels."
    )
    item_count = serializers.IntegerField()
    customer_name = TextOrNull(source="contact_name")
    customer_email = serializers.CharField(source="contact_email", help_text="Couriers announce their parcels by it.")
    customer_phone = TextOrNull(source="contact_phone")
    placed_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()
    ship_by_at = serializers.DateTimeField()
    warehouse_code = TextOrNull()
    shipping_address = AddressBlock(source="*")
    lines = serializers.SerializerMethodField()
    shipments = Parcel(source="parcels", many=True)

    @extend_schema_field(LineToPack(many=True))
    def get_lines(self, order: Any) -> Any:
        held = [allocation for line in order.items for allocation in line.held if allocation.quantity]
        return LineToPack(held, many=True).data


class TimelineEntry(Shape):
    status = serializers.CharField(help_text="A step of the order, or a courier's word.")
    at = serializers.DateTimeField()
    shipment_index = serializers.IntegerField(allow_null=True)
    message = TextOrNull()
    location = TextOrNull()


class TrackedParcel(Journey):
    shipment_index = serializers.IntegerField(source="index")


class TrackedOrder(Promise):
    """Of an order read with its TIMELINE: what a shopper may know, and nothing of who works here."""

    order_number = serializers.CharField(source="number")
    status = serializers.CharField()
    payment_status = serializers.CharField()
    placed_at = serializers.DateTimeField()
    timeline = serializers.SerializerMethodField()
    parcels = TrackedParcel(many=True)
    returns = SentBack(source="sent_back", many=True)

    @extend_schema_field(TimelineEntry(many=True))
    def get_timeline(self, order: Any) -> Any:
        return [show(TimelineEntry, entry) for entry in timeline(order)]


def timeline(order: Any) -> list[dict[str, Any]]:
    """The steps of an order and its parcels' scans, as they happened."""
    index_of = {parcel.pk: parcel.index for parcel in order.parcels}
    steps = [
        {"status": step.kind, "at": step.at, "shipment_index": index_of.get(step.shipment_id)} for step in order.steps
    ]
    scans = [
        {
            "status": scan.status,
            "at": scan.occurred_at,
            "shipment_index": parcel.index,
            "message": scan.message,
            "location": scan.location,
        }
        for parcel in order.parcels
        for scan in parcel.tracking_updates.all()
        # The order's own step tells of it.
        if scan.status != TrackingStatus.DELIVERED
    ]
    nothing = {"message": "", "location": ""}
    return sorted((nothing | entry for entry in [*steps, *scans]), key=lambda entry: entry["at"])


class CustomerDetail(CustomerBlock):
    version = serializers.IntegerField()
    updated_at = serializers.DateTimeField()
