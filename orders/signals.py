"""Facts of orders, payments and parcels become events here, and nowhere else."""

from collections.abc import Mapping

from django.db.models.signals import post_save
from django.dispatch import receiver

from orders import couriers, events
from orders.models import Customer, OrderTransition, Payment, TrackingUpdate
from webhooks import inbound
from webhooks.catalogue import EventType
from webhooks.outbox import emit
from webhooks.sources import watch

BY_KIND: Mapping[str, EventType] = {
    OrderTransition.Kind.CREATED: events.ORDER_CREATED,
    OrderTransition.Kind.CONFIRMED: events.ORDER_CONFIRMED,
    OrderTransition.Kind.PACKED: events.ORDER_PACKED,
    OrderTransition.Kind.UNPACKED: events.ORDER_UNPACKED,
    OrderTransition.Kind.SHIPPED: events.ORDER_SHIPPED,
    OrderTransition.Kind.DELIVERED: events.ORDER_DELIVERED,
    OrderTransition.Kind.SHIPMENT_RETURNED: events.ORDER_SHIPMENT_RETURNED,
    OrderTransition.Kind.CANCELLED: events.ORDER_CANCELLED,
    OrderTransition.Kind.RETURN_INITIATED: events.ORDER_RETURN_INITIATED,
    OrderTransition.Kind.RETURN_RECEIVED: events.ORDER_RETURN_RECEIVED,
    OrderTransition.Kind.RETURN_CLOSED: events.ORDER_RETURN_CLOSED,
    OrderTransition.Kind.REFUND_REQUESTED: events.ORDER_REFUND_REQUESTED,
    OrderTransition.Kind.REFUND_PROCESSED: events.ORDER_REFUND_PROCESSED,
    OrderTransition.Kind.REFUND_FAILED: events.ORDER_REFUND_FAILED,
    OrderTransition.Kind.HELD: events.ORDER_HELD,
    OrderTransition.Kind.RELEASED: events.ORDER_RELEASED,
    OrderTransition.Kind.WINDOW_CHANGED: events.ORDER_DELIVERY_WINDOW_CHANGED,
}
BY_RESULT: Mapping[str, EventType] = {
    Payment.Result.SUCCESS: events.PAYMENT_SUCCESS,
    Payment.Result.FAILED: events.PAYMENT_FAILED,
    Payment.Result.REFUSED: events.PAYMENT_FAILED,
}

watch(Customer, created=events.CUSTOMER_CREATED, updated=events.CUSTOMER_UPDATED)


@receiver(post_save, sender=OrderTransition, dispatch_uid="orders.emit_order_events")
def emit_order_events(instance: OrderTransition, created: bool, raw: bool, **_: object) -> None:
    if created and not raw:
        emit(BY_KIND[instance.kind], instance)


@receiver(post_save, sender=OrderTransition, dispatch_uid="orders.match_waiting_scans")
def match_waiting_scans(instance: OrderTransition, created: bool, raw: bool, **_: object) -> None:
    """A courier may know of a number before it is attached to its parcel."""
    if created and not raw and instance.kind == OrderTransition.Kind.SHIPPED and instance.shipment is not None:
        inbound.arrived(couriers.number_key(instance.shipment.tracking_number))


@receiver(post_save, sender=Payment, dispatch_uid="orders.emit_payment_events")
def emit_payment_events(instance: Payment, created: bool, raw: bool, **_: object) -> None:
    if created and not raw:
        emit(BY_RESULT[instance.result], instance)


@receiver(post_save, sender=TrackingUpdate, dispatch_uid="orders.emit_tracking_events")
def emit_tracking_events(instance: TrackingUpdate, created: bool, raw: bool, **_: object) -> None:
    if not created or raw or instance.is_late:
        return
    emit(events.ORDER_TRACKING_UPDATED, instance)
    if instance.status in couriers.EXCEPTIONS:
        emit(events.ORDER_TRACKING_EXCEPTION, instance)
