"""The event types of orders, parcels, payments and customers."""

from orders import examples, messages, serializers
from webhooks.catalogue import EventType, Subject, declare

ORDER = Subject(
    kind="order",
    example="ord_01jdcq9v8k3x5w2m7r4t6y8z0a",
    id=lambda fact: fact.order.public_id,
    label=lambda fact: fact.order.number,
)
CUSTOMER = Subject(
    kind="customer",
    example="cus_01jdcq9v7h2n4p6r8s0t2v4w6x",
    id=lambda change: change.instance.public_id,
    label=lambda change: change.instance.email,
)

ORDER_CREATED = EventType(
    name="order.created",
    summary="An order was placed and its stock is held: what, who, from which warehouse, how it is to be paid.",
    subject=ORDER,
    serializer=serializers.OrderCreated,
    example=examples.ORDER_CREATED,
)
ORDER_CONFIRMED = EventType(
    name="order.confirmed",
    summary="An order is paid, authorised or accepted for cash on delivery: it can be packed.",
    subject=ORDER,
    serializer=serializers.OrderConfirmed,
    example=examples.ORDER_CONFIRMED,
    wording=messages.CONFIRMED,
)
ORDER_PACKED = EventType(
    name="order.packed",
    summary="A parcel of an order is packed. Once per parcel.",
    subject=ORDER,
    serializer=serializers.OrderPacked,
    example=examples.ORDER_PACKED,
    wording=messages.PACKED,
)
ORDER_UNPACKED = EventType(
    name="order.unpacked",
    summary="A packed parcel was taken apart before it left: its units can be cancelled, or packed anew.",
    subject=ORDER,
    serializer=serializers.OrderUnpacked,
    example=examples.ORDER_UNPACKED,
)
ORDER_SHIPPED = EventType(
    name="order.shipped",
    summary="A parcel has left its warehouse, with carrier and tracking number. Once per parcel.",
    subject=ORDER,
    serializer=serializers.OrderShipped,
    example=examples.ORDER_SHIPPED,
    wording=messages.SHIPPED,
)
ORDER_DELIVERED = EventType(
    name="order.delivered",
    summary="A parcel has reached its customer. Once per parcel.",
    subject=ORDER,
    serializer=serializers.OrderDelivered,
    example=examples.ORDER_DELIVERED,
    wording=messages.DELIVERED,
)
ORDER_SHIPMENT_RETURNED = EventType(
    name="order.shipment.returned",
    summary="A parcel that was not delivered has come back or is lost: its units are cancelled, on sale again or not.",
    subject=ORDER,
    serializer=serializers.OrderShipmentReturned,
    example=examples.ORDER_SHIPMENT_RETURNED,
)
ORDER_CANCELLED = EventType(
    name="order.cancelled",
    summary="All or some units of an order were given up: by the customer, by staff, or because nobody paid in time.",
    subject=ORDER,
    serializer=serializers.OrderCancelled,
    example=examples.ORDER_CANCELLED,
)
ORDER_HELD = EventType(
    name="order.held",
    summary="Somebody or a rule has put an order on hold: it is not to be confirmed or packed before its release.",
    subject=ORDER,
    serializer=serializers.OrderHeld,
    example=examples.ORDER_HELD,
)
ORDER_RELEASED = EventType(
    name="order.released",
    summary="Holds of an order have ended; on_hold says whether another one is still open.",
    subject=ORDER,
    serializer=serializers.OrderReleased,
    example=examples.ORDER_RELEASED,
)
ORDER_RETURN_INITIATED = EventType(
    name="order.return.initiated",
    summary="The customer or staff has opened a return: delivered units are to come back.",
    subject=ORDER,
    serializer=serializers.OrderReturnInitiated,
    example=examples.ORDER_RETURN_INITIATED,
)
ORDER_RETURN_RECEIVED = EventType(
    name="order.return.received",
    summary="Units of a return are back: on sale again, or written off. Once per receipt.",
    subject=ORDER,
    serializer=serializers.OrderReturnReceived,
    example=examples.ORDER_RETURN_RECEIVED,
)
ORDER_RETURN_CLOSED = EventType(
    name="order.return.closed",
    summary="Units of a return never came, and are awaited no more: they can be sent back in another one.",
    subject=ORDER,
    serializer=serializers.OrderReturnClosed,
    example=examples.ORDER_RETURN_CLOSED,
)
ORDER_REFUND_REQUESTED = EventType(
    name="order.refund.requested",
    summary="Money is to be given back: the gateway of the payment, or somebody by hand, has to send it.",
    subject=ORDER,
    serializer=serializers.OrderRefundRequested,
    example=examples.ORDER_REFUND_REQUESTED,
)
ORDER_REFUND_PROCESSED = EventType(
    name="order.refund.processed",
    summary="The gateway has confirmed that money was given back.",
    subject=ORDER,
    serializer=serializers.OrderRefundProcessed,
    example=examples.ORDER_REFUND_PROCESSED,
)
ORDER_REFUND_FAILED = EventType(
    name="order.refund.failed",
    summary="Money could not be given back: somebody has to look at it.",
    subject=ORDER,
    serializer=serializers.OrderRefundFailed,
    example=examples.ORDER_REFUND_FAILED,
)
ORDER_DELIVERY_WINDOW_CHANGED = EventType(
    name="order.delivery_window.changed",
    summary="An order comes later than it was promised: it left late, was on hold, or its courier says so.",
    subject=ORDER,
    serializer=serializers.OrderWindowChanged,
    example=examples.ORDER_DELIVERY_WINDOW_CHANGED,
)
ORDER_TRACKING_UPDATED = EventType(
    name="order.tracking.updated",
    summary="A courier has told where a parcel is now.",
    subject=ORDER,
    serializer=serializers.OrderTracking,
    example=examples.ORDER_TRACKING_UPDATED,
    wording=messages.OUT_FOR_DELIVERY,
)
ORDER_TRACKING_EXCEPTION = EventType(
    name="order.tracking.exception",
    summary="A parcel is delayed, could not be handed over, is on its way back or is lost.",
    subject=ORDER,
    serializer=serializers.OrderTracking,
    example=examples.ORDER_TRACKING_EXCEPTION,
)
PAYMENT_SUCCESS = EventType(
    name="payment.success",
    summary="Money for an order was authorised, captured or collected in cash.",
    subject=ORDER,
    serializer=serializers.PaymentSuccess,
    example=examples.PAYMENT_SUCCESS,
)
PAYMENT_FAILED = EventType(
    name="payment.failed",
    summary="An attempt to pay was declined, timed out, or did not match its order.",
    subject=ORDER,
    serializer=serializers.PaymentFailed,
    example=examples.PAYMENT_FAILED,
)
CUSTOMER_CREATED = EventType(
    name="customer.created",
    summary="Somebody registered, or ordered as a guest for the first time.",
    subject=CUSTOMER,
    serializer=serializers.CustomerCreated,
    example=examples.CUSTOMER_CREATED,
)
CUSTOMER_UPDATED = EventType(
    name="customer.updated",
    summary="A customer's contact data, language or consent changed.",
    subject=CUSTOMER,
    serializer=serializers.CustomerUpdated,
    example=examples.CUSTOMER_UPDATED,
    is_snapshot=True,
)

declare(
    ORDER_CREATED,
    ORDER_CONFIRMED,
    ORDER_PACKED,
    ORDER_UNPACKED,
    ORDER_SHIPPED,
    ORDER_DELIVERED,
    ORDER_SHIPMENT_RETURNED,
    ORDER_CANCELLED,
    ORDER_HELD,
    ORDER_RELEASED,
    ORDER_DELIVERY_WINDOW_CHANGED,
    ORDER_RETURN_INITIATED,
    ORDER_RETURN_RECEIVED,
    ORDER_RETURN_CLOSED,
    ORDER_REFUND_REQUESTED,
    ORDER_REFUND_PROCESSED,
    ORDER_REFUND_FAILED,
    ORDER_TRACKING_UPDATED,
    ORDER_TRACKING_EXCEPTION,
    PAYMENT_SUCCESS,
    PAYMENT_FAILED,
    CUSTOMER_CREATED,
    CUSTOMER_UPDATED,
)
