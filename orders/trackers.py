"""Services that watch parcels of any courier: their events as scans in our words."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from django.utils import timezone
from rest_framework import serializers

from orders import couriers, promises
from orders.couriers import Scan
from orders.models import TrackingUpdate
from orders.models.shipment import TrackingStatus
from webhooks.inbound import Effect, Ignored, Message, adapter

# Many couriers tell the hour of the place without its zone, which is taken for UTC.
ZONE_SKEW = timedelta(days=1)

Status = TrackingStatus


class CourierMoment(serializers.DateTimeField):
    """An ISO moment, UTC where it names no zone, or seconds since 1970."""

    def to_internal_value(self, value: Any) -> datetime:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            value = self._from_seconds(value)
        moment: datetime = super().to_internal_value(value)
        ahead = moment - timezone.now()
        if ahead > ZONE_SKEW and not self.may_come:
            raise serializers.ValidationError("This moment has not come yet.", code="in_the_future")
        if ahead > promises.ESTIMATES_WITHIN:
            raise serializers.ValidationError("This moment is more than a year ahead.", code="too_far_ahead")
        return moment

    def __init__(self, *, may_come: bool = False, **kwargs: Any) -> None:
        self.may_come = may_come
        super().__init__(**kwargs)

    def _from_seconds(self, value: float) -> datetime:
        try:
            return datetime.fromtimestamp(value, UTC)
        except (ValueError, OverflowError, OSError):
            raise serializers.ValidationError("This is no moment.", code="invalid") from None


class OptionalMoment(CourierMoment):
    """May be absent, empty or null."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(required=False, allow_null=True, default=None, **kwargs)

    def run_validation(self, data: Any = serializers.empty) -> Any:
        return super().run_validation(None if data == "" else data)


class Said(serializers.CharField):
    """What a courier writes: may be absent or null, and is cut at its limit."""

    def __init__(self, *, limit: int, **kwargs: Any) -> None:
        self.limit = limit
        super().__init__(required=False, allow_blank=True, allow_null=True, default="", **kwargs)

    def run_validation(self, data: Any = serializers.empty) -> str:
        return str(super().run_validation(data) or "")[: self.limit]


def report(message: Message, tracking_number: str, scans: Iterable[Scan], *, now: datetime) -> Effect:
    """The one domain call. Raises Ignored when there is nothing to tell in our words."""
    told = list(scans)
    if not told:
        raise Ignored("It tells of no step that we have a word for.")
    parcel = couriers.parcel_with(tracking_number)
    updates = couriers.report(parcel.public_id, told, source=message.source, now=now)
    return Effect(_words(updates), parcel.order.public_id)


def _words(updates: list[TrackingUpdate]) -> str:
    latest = updates[-1]
    more = f" and {len(updates) - 1} earlier" if len(updates) > 1 else ""
    return f"{latest.get_status_display()}{more}, parcel {latest.shipment}"


# AfterShip: https://www.aftership.com/docs/tracking/webhook/webhook-specifications

# A sub-status goes before its status.
AFTERSHIP: Mapping[str, TrackingStatus] = {
    "InfoReceived": Status.LABEL_CREATED,
    "InTransit": Status.IN_TRANSIT,
    "InTransit_002": Status.PICKED_UP,
    "InTransit_003": Status.ARRIVED_AT_HUB,
    "OutForDelivery": Status.OUT_FOR_DELIVERY,
    "AttemptFail": Status.ATTEMPT_FAILED,
    "AvailableForPickup": Status.READY_FOR_PICKUP,
    "Delivered": Status.DELIVERED,
    "Exception": Status.DELAYED,
    "Exception_002": Status.ATTEMPT_FAILED,
    "Exception_003": Status.ATTEMPT_FAILED,
    "Exception_007": Status.ATTEMPT_FAILED,
    "Exception_010": Status.RETURN_TO_SENDER,
    "Exception_011": Status.RETURNED,
    "Exception_013": Status.LOST,
}
# "Delivered and received cash on delivery"
AFTERSHIP_CASH = "Delivered_004"


class _AfterShipCheckpoint(serializers.Serializer[Any]):
    checkpoint_time = OptionalMoment()
    tag = Said(limit=40)
    subtag = Said(limit=40)
    message = Said(limit=500)
    location = Said(limit=200)
    city = Said(limit=200)
    country_name = Said(limit=200)


class _AfterShipEstimate(serializers.Serializer[Any]):
    datetime = OptionalMoment(may_come=True)
    datetime_max = OptionalMoment(may_come=True)


class _AfterShipParcel(serializers.Serializer[Any]):
    tracking_number = serializers.CharField(max_length=80)
    tag = Said(limit=40)
    subtag = Said(limit=40)
    checkpoints = _AfterShipCheckpoint(many=True, required=False, allow_null=True)
    latest_estimated_delivery = _AfterShipEstimate(required=False, allow_null=True)
    expected_delivery = OptionalMoment(may_come=True)


class _AfterShipEvent(serializers.Serializer[Any]):
    ts = OptionalMoment()
    msg = _AfterShipParcel()


@adapter("aftership")
def read_aftership(message: Message, now: datetime) -> Effect:
    """`tracking_update` brings all checkpoints; `edd_revise` only another estimate."""
    kind = message.body.get("event")
    if kind not in ("tracking_update", "edd_revise"):
        raise Ignored(f"An event of the kind {kind} asks nothing of us.")
    event = _read(_AfterShipEvent, message.body)
    parcel = event["msg"]
    scans = [
        Scan(
            status,
            point["checkpoint_time"],
            point["message"],
            _place(point),
            is_cash_collected=point["subtag"] == AFTERSHIP_CASH,
        )
        for point in parcel.get("checkpoints") or []
        if point and point["checkpoint_time"] and (status := _aftership_status(point))
    ]
    status = _aftership_status(parcel)
    if status and event["ts"] and (kind == "edd_revise" or not scans):
        scans.append(Scan(status, event["ts"]))
    return report(message, parcel["tracking_number"], _estimated(scans, _aftership_estimate(parcel)), now=now)


def _aftership_status(told: Mapping[str, Any]) -> TrackingStatus | None:
    return AFTERSHIP.get(told["subtag"]) or AFTERSHIP.get(told["tag"])


def _aftership_estimate(parcel: Mapping[str, Any]) -> datetime | None:
    latest = parcel.get("latest_estimated_delivery") or {}
    estimate: datetime | None = latest.get("datetime") or latest.get("datetime_max") or parcel["expected_delivery"]
    return estimate


# EasyPost: https://docs.easypost.com/docs/trackers

EASYPOST: Mapping[str, TrackingStatus] = {
    "pre_transit": Status.LABEL_CREATED,
    "in_transit": Status.IN_TRANSIT,
    "out_for_delivery": Status.OUT_FOR_DELIVERY,
    "available_for_pickup": Status.READY_FOR_PICKUP,
    "delivered": Status.DELIVERED,
    "return_to_sender": Status.RETURN_TO_SENDER,
    "failure": Status.ATTEMPT_FAILED,
}
# What says more than these two statuses do.
_VAGUE = frozenset({"in_transit", "failure"})
EASYPOST_DETAILS: Mapping[str, TrackingStatus] = {
    "received_at_origin_facility": Status.PICKED_UP,
    "arrived_at_facility": Status.ARRIVED_AT_HUB,
    "received_at_destination_facility": Status.ARRIVED_AT_HUB,
    "delayed": Status.DELAYED,
    "weather_delay": Status.DELAYED,
    "missorted": Status.DELAYED,
    "held": Status.DELAYED,
    "transit_exception": Status.DELAYED,
    "damaged": Status.DELAYED,
    "lost": Status.LOST,
    "return": Status.RETURN_TO_SENDER,
}


class _EasyPostPlace(serializers.Serializer[Any]):
    city = Said(limit=200)
    country = Said(limit=100)


class _EasyPostDetail(serializers.Serializer[Any]):
    datetime = OptionalMoment()
    status = Said(limit=40)
    status_detail = Said(limit=60)
    message = Said(limit=500)
    tracking_location = _EasyPostPlace(required=False, allow_null=True)


class _EasyPostTracker(serializers.Serializer[Any]):
    tracking_code = serializers.CharField(max_length=80)
    status = Said(limit=40)
    status_detail = Said(limit=60)
    updated_at = OptionalMoment()
    est_delivery_date = OptionalMoment(may_come=True)
    tracking_details = _EasyPostDetail(many=True, required=False, allow_null=True)


class _EasyPostEvent(serializers.Serializer[Any]):
    result = _EasyPostTracker()
    previous_attributes = serializers.DictField(required=False, allow_null=True)


@adapter("easypost")
def read_easypost(message: Message, now: datetime) -> Effect:
    kind = message.body.get("description")
    if kind not in ("tracker.created", "tracker.updated"):
        raise Ignored(f"An event of the kind {kind} asks nothing of us.")
    event = _read(_EasyPostEvent, message.body)
    tracker = event["result"]
    scans = [
        Scan(status, detail["datetime"], detail["message"], _place(detail.get("tracking_location") or {}))
        for detail in tracker.get("tracking_details") or []
        if detail and detail["datetime"] and (status := _easypost_status(detail))
    ]
    status = _easypost_status(tracker)
    is_revised = "est_delivery_date" in (event.get("previous_attributes") or {})
    if status and tracker["updated_at"] and (is_revised or not scans):
        scans.append(Scan(status, tracker["updated_at"]))
    return report(message, tracker["tracking_code"], _estimated(scans, tracker["est_delivery_date"]), now=now)


def _easypost_status(told: Mapping[str, Any]) -> TrackingStatus | None:
    detailed = EASYPOST_DETAILS.get(told["status_detail"]) if told["status"] in _VAGUE else None
    return detailed or EASYPOST.get(told["status"])


def _read(shape: type[serializers.Serializer[Any]], body: Mapping[str, Any]) -> dict[str, Any]:
    """Raises ValidationError."""
    serializer = shape(data=body)
    serializer.is_valid(raise_exception=True)
    return dict(serializer.validated_data)


def _estimated(scans: list[Scan], estimate: datetime | None) -> list[Scan]:
    """The estimate was made when the latest step was known."""
    if not scans or estimate is None:
        return scans
    *earlier, latest = couriers.in_order(scans)
    return [*earlier, replace(latest, estimated_delivery_at=estimate)]


def _place(told: Mapping[str, Any]) -> str:
    parts = [told.get("city"), told.get("country_name") or told.get("country")]
    return (told.get("location") or ", ".join(part for part in parts if part))[:200]
