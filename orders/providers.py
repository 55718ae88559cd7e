"""3PLs, ERPs and couriers that speak our own words: `{"type": "shipment.shipped", "data": {…}}`.

They send fields that we have no use for, and may: unlike callers of the API they would not see the refusal.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from django.db.models import Q
from rest_framework import serializers

from inventory import stock
from inventory.models import Product, StockMovement, Warehouse
from orders import couriers, fulfilment
from orders.api.bodies import DeliverParcel, OptionalText, PackOrder, ShipParcel
from orders.models import Order, Shipment
from orders.models.shipment import TrackingStatus
from orders.trackers import CourierMoment, OptionalMoment, Said
from orders.transitions import InvalidTransition
from webhooks.bodies import Body
from webhooks.inbound import Effect, Ignored, Message, Unprocessable, adapter

MOST_UNITS = 10**9


class NamesOrder(Body):
    """By either of its names."""

    order_id = OptionalText(max_length=40)
    order_number = OptionalText(max_length=20)


class NamesParcel(NamesOrder):
    """By its id, or as the only one of its order that has come so far."""

    shipment_id = OptionalText(max_length=40)


class Scanned(Body):
    tracking_number = serializers.CharField(max_length=80)
    status = serializers.ChoiceField(TrackingStatus.choices)
    occurred_at = CourierMoment()
    message = Said(limit=500)
    location = Said(limit=200)
    estimated_delivery_at = OptionalMoment(may_come=True)


class Packed(NamesOrder, PackOrder):
    pass


class Shipped(NamesParcel, ShipParcel):
    pass


class Delivered(NamesParcel, DeliverParcel):
    tracking_number = OptionalText(max_length=80)


class Counted(Body):
    """What was counted, and the number the counting began with: a count that is out of date is not taken."""

    sku = serializers.CharField(max_length=64)
    warehouse = OptionalText(max_length=32)
    on_hand = serializers.IntegerField(min_value=0, max_value=MOST_UNITS)
    expected_on_hand = serializers.IntegerField(min_value=0, max_value=MOST_UNITS)


@adapter("standard")
def read_standard(message: Message, now: datetime) -> Effect:
    kind, data = message.body.get("type"), message.body.get("data")
    tell = _KINDS.get(kind) if isinstance(kind, str) else None
    if tell is None:
        raise Ignored(f"A message of the type {kind} asks nothing of us.")
    if not isinstance(data, dict):
        raise Unprocessable("The message has no data.")
    return tell(message, data, now)


def _track(message: Message, data: Mapping[str, Any], now: datetime) -> Effect:
    scan = _read(Scanned, data)
    parcel = _own(message, couriers.parcel_with(scan.pop("tracking_number")))
    update = couriers.track(parcel.public_id, **scan, source=message.source, now=now)
    return Effect(f"{update.get_status_display()}, parcel {update.shipment}", parcel.order.public_id)


def _pack(message: Message, data: Mapping[str, Any], now: datetime) -> Effect:
    wish = _read(Packed, data)
    order = _order(wish)
    parcels = fulfilment.pack(
        order.public_id,
        quantities=wish.get("lines"),
        warehouse=message.warehouse or None,
        package_count=wish.get("package_count", 1),
        weight_grams=wish.get("weight_grams"),
        actor=message.source,
        now=now,
    )
    return Effect(f"Packed, parcel {', '.join(str(parcel) for parcel in parcels)}", order.public_id)


def _ship(message: Message, data: Mapping[str, Any], now: datetime) -> Effect:
    wish = _read(Shipped, data)
    parcel = _parcel(message, wish, state=Shipment.State.PACKED)
    fulfilment.ship(
        parcel.public_id,
        carrier=wish["carrier"],
        carrier_service=wish.get("carrier_service", ""),
        tracking_number=wish["tracking_number"],
        tracking_url=wish.get("tracking_url", ""),
        estimated_delivery_at=wish.get("estimated_delivery_at"),
        actor=message.source,
        now=now,
    )
    return Effect(f"Shipped by {wish['carrier']}, parcel {parcel}", parcel.order.public_id)


def _deliver(message: Message, data: Mapping[str, Any], now: datetime) -> Effect:
    named = _read(NamesParcel, data)
    number = data.get("tracking_number")
    if isinstance(number, str) and number and not any(named.values()):
        parcel = _own(message, couriers.parcel_with(number))
    else:
        parcel = _parcel(message, named, state=Shipment.State.SHIPPED)
    wish = _read(Delivered, data, parcel.order)
    fulfilment.deliver(
        parcel.public_id,
        delivered_at=wish.get("delivered_at", now),
        received_by=wish.get("received_by", ""),
        collected_minor=wish.get("collected_minor"),
        source=message.source,
        actor=message.source,
        now=now,
    )
    return Effect(f"Delivered, parcel {parcel}", parcel.order.public_id)


def _count(message: Message, data: Mapping[str, Any], now: datetime) -> Effect:
    counted = _read(Counted, data)
    code = counted.get("warehouse") or message.warehouse
    if message.warehouse not in ("", code):
        raise Unprocessable(f"This source speaks for {message.warehouse}, not for {code}.")
    try:
        product = Product.objects.get(sku=counted["sku"])
        warehouse = Warehouse.objects.get(code=code)
        stock.count(
            product=product,
            warehouse=warehouse,
            on_hand=counted["on_hand"],
            expected_on_hand=counted["expected_on_hand"],
            reason=StockMovement.Reason.RECOUNTED,
            reference=message.source,
            actor=message.source,
            now=now,
        )
    except Product.DoesNotExist:
        raise Unprocessable(f"There is no product {counted['sku']}.") from None
    except Warehouse.DoesNotExist:
        raise Unprocessable(f"There is no warehouse {code}.") from None
    except stock.StaleCount as error:
        # Hours later the level could by chance be what was expected, and the count would be wrong all the same.
        raise Unprocessable(str(error)) from error
    return Effect(f"Counted {counted['on_hand']} of {product} in {warehouse}", product.public_id)


_KINDS: Mapping[str, Callable[[Message, Mapping[str, Any], datetime], Effect]] = {
    "tracking.updated": _track,
    "shipment.packed": _pack,
    "shipment.shipped": _ship,
    "shipment.delivered": _deliver,
    "stock.counted": _count,
}


def _read(shape: type[Body], data: Mapping[str, Any], instance: Any = None) -> dict[str, Any]:
    """What of `data` the shape knows, checked. Raises ValidationError."""
    known = {name: data[name] for name in shape().get_fields() if name in data}
    body = shape(instance, data=known)
    body.is_valid(raise_exception=True)
    return dict(body.validated_data)


def _order(named: Mapping[str, Any]) -> Order:
    order_id, number = named.get("order_id") or None, named.get("order_number") or None
    if order_id is None and number is None:
        raise Unprocessable("The message names no order: give its order_id or its order_number.")
    order = Order.objects.filter(Q(public_id=order_id) if order_id else Q(number=number)).first()
    if order is None:
        raise Order.DoesNotExist(f"There is no order {order_id or number}.")
    return order


def _own(message: Message, parcel: Shipment) -> Shipment:
    if message.warehouse not in ("", parcel.warehouse.code):
        raise Unprocessable(f"This source speaks for {message.warehouse}, not for parcel {parcel}.")
    return parcel


def _parcel(message: Message, named: Mapping[str, Any], *, state: Shipment.State) -> Shipment:
    """The parcel that is meant, of the source's own warehouse. Raises Shipment.DoesNotExist, InvalidTransition."""
    parcels = Shipment.objects.select_related("order")
    if message.warehouse:
        parcels = parcels.filter(warehouse__code=message.warehouse)
    if shipment_id := named.get("shipment_id"):
        found = parcels.filter(public_id=shipment_id).first()
        if found is None:
            raise Shipment.DoesNotExist(f"There is no shipment {shipment_id}.")
        return found
    order = _order(named)
    meant = list(parcels.filter(order=order, state=state)[:2])
    if not meant:
        raise InvalidTransition(f"Order {order} has no parcel that is {state}.")
    if len(meant) > 1:
        raise Unprocessable(f"Order {order} has several parcels that are {state}: name one by its shipment_id.")
    return meant[0]
