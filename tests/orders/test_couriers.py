from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from orders import couriers, fulfilment
from orders.models import Order, Shipment, TrackingUpdate
from orders.models.shipment import TrackingStatus
from orders.transitions import InvalidTransition
from tests.factories import NOW, confirm_order, make_product, pack_order, ship_order
from tests.told import DataOf, Told
from webhooks.models import Event

WORDS = st.sampled_from(list(TrackingStatus))
HOURS = st.integers(min_value=1, max_value=6)
# Of the same day, of the last day that was promised, and of days beyond it.
ESTIMATES = st.sampled_from([None, None, 7, 9, 3 * 24, 5 * 24, 6 * 24, 9 * 24])
# Of either parcel of an order.
SCANS = st.lists(st.tuples(st.booleans(), WORDS, HOURS, ESTIMATES), max_size=7, unique_by=lambda scan: scan[:3])


def at(hour: int) -> datetime:
    return datetime(2026, 11, 24, tzinfo=UTC) + timedelta(hours=hour)


def scan(shipment: Shipment, status: str, hour: int, estimate: int | None = None, **fields: Any) -> TrackingUpdate:
    return couriers.track(
        shipment.public_id,
        status=status,
        occurred_at=at(hour),
        estimated_delivery_at=at(estimate) if estimate else None,
        source="dhl",
        now=NOW,
        **fields,
    )


@pytest.mark.django_db
class TestTrack:
    def test_moves_the_parcel_and_tells(self, told: Told, data_of: DataOf) -> None:
        shipment = ship_order()

        scan(shipment, "in_transit", 1)
        scan(shipment, "out_for_delivery", 2, estimate=9, message="With the driver", location="Berlin, DE")

        shipment.refresh_from_db()
        assert (shipment.tracking_status, shipment.estimated_delivery_at) == ("out_for_delivery", at(9))
        assert told(shipment.order.public_id)[-2:] == ["order.tracking.updated", "order.tracking.updated"]
        data = data_of("order.tracking.updated")
        assert (data["status"], data["previous_status"]) == ("out_for_delivery", "in_transit")
        assert (data["message"], data["location"]) == ("With the driver", "Berlin, DE")
        assert (data["shipment_id"], data["order_id"]) == (shipment.public_id, shipment.order.public_id)

    def test_keeps_a_late_scan_in_the_timeline_and_tells_nobody(self, told: Told) -> None:
        shipment = ship_order()
        scan(shipment, "out_for_delivery", 2)

        late = scan(shipment, "in_transit", 1)

        shipment.refresh_from_db()
        assert (shipment.tracking_status, late.is_late) == ("out_for_delivery", True)
        assert shipment.tracking_updates.count() == 2
        assert told(shipment.order.public_id).count("order.tracking.updated") == 1

    def test_takes_the_same_scan_once(self, told: Told) -> None:
        shipment = ship_order()
        first = scan(shipment, "in_transit", 1)

        assert scan(shipment, "in_transit", 1) == first

        assert told(shipment.order.public_id).count("order.tracking.updated") == 1

    @pytest.mark.parametrize("status", sorted(couriers.EXCEPTIONS))
    def test_also_raises_what_needs_somebody_to_act(self, status: str, told: Told) -> None:
        shipment = ship_order()

        scan(shipment, status, 1)

        assert told(shipment.order.public_id)[-2:] == ["order.tracking.updated", "order.tracking.exception"]

    def test_of_delivered_delivers(self, told: Told, data_of: DataOf) -> None:
        shipment = ship_order()

        scan(shipment, "delivered", 5)

        shipment.refresh_from_db()
        assert (shipment.state, shipment.delivered_at, shipment.delivery_source) == ("delivered", at(5), "dhl")
        assert Order.objects.get().status == "delivered"
        assert told(shipment.order.public_id)[-2:] == ["order.tracking.updated", "order.delivered"]
        assert data_of("order.delivered")["delivered_at"] == "2026-11-24T05:00:00.000000Z"

    def test_never_delivers_twice(self, now: datetime) -> None:
        shipment = ship_order()
        fulfilment.deliver(shipment.public_id, delivered_at=now, actor="ben", now=now)

        scan(shipment, "delivered", 5)

        shipment.refresh_from_db()
        assert (shipment.delivered_at, shipment.tracking_status) == (now, "delivered")
        assert Event.objects.filter(type="order.delivered").count() == 1

    def test_of_two_that_say_delivered_takes_the_earlier_whichever_came_first(self, told: Told) -> None:
        shipment = ship_order()

        scan(shipment, "delivered", 5)
        late = scan(shipment, "delivered", 4)

        shipment.refresh_from_db()
        assert (shipment.delivered_at, late.is_late) == (at(4), True)
        assert told(shipment.order.public_id).count("order.delivered") == 1

    def test_leaves_standing_when_staff_said_it_was_delivered(self, now: datetime) -> None:
        shipment = ship_order()
        fulfilment.deliver(shipment.public_id, delivered_at=at(5), actor="ben", now=now)

        scan(shipment, "delivered", 4)

        shipment.refresh_from_db()
        assert (shipment.delivered_at, shipment.delivery_source) == (at(5), "staff")

    def test_leaves_delivered_standing_but_for_a_return(self, now: datetime) -> None:
        shipment = ship_order()
        fulfilment.deliver(shipment.public_id, delivered_at=now, actor="ben", now=now)

        assert scan(shipment, "in_transit", 1).is_late
        assert not scan(shipment, "return_to_sender", 2).is_late

        shipment.refresh_from_db()
        assert (shipment.tracking_status, shipment.state) == ("return_to_sender", "delivered")

    def test_refuses_a_parcel_that_has_not_left(self) -> None:
        shipment = pack_order()

        with pytest.raises(InvalidTransition, match="is packed, not shipped"):
            scan(shipment, "in_transit", 1)

        assert TrackingUpdate.objects.count() == 0


class TestShuffle(TestCase):
    """Hypothesis needs a transaction per example, which its own TestCase gives."""

    parcels: list[Shipment]
    twins: list[Shipment]

    @classmethod
    def setUpTestData(cls) -> None:
        make_product("MUG", on_hand=20)
        make_product("CUP", warehouse="HAM")
        cls.parcels, cls.twins = two_parcels(), two_parcels()

    @settings(deadline=None, max_examples=50)
    @given(scans=SCANS, data=st.data())
    def test_any_shuffle_of_a_history_ends_in_the_same_state(
        self, scans: list[tuple[bool, str, int, int | None]], data: st.DataObject
    ) -> None:
        shuffled = data.draw(st.permutations(scans))

        for one, other in zip(scans, shuffled, strict=True):
            scan(self.parcels[one[0]], *one[1:])
            scan(self.twins[other[0]], *other[1:])

        assert shown(self.parcels) == shown(self.twins)


def two_parcels() -> list[Shipment]:
    """Of one order, on their way."""
    order = confirm_order(("MUG", 1), ("CUP", 1))
    parcels = fulfilment.pack(order.public_id, actor="ben", now=NOW)
    for parcel in parcels:
        fulfilment.ship(parcel.public_id, carrier="DHL", tracking_number="1", actor="ben", now=NOW)
    return parcels


def shown(parcels: list[Shipment]) -> list[Any]:
    order = Order.objects.get(pk=parcels[0].order_id)
    # The window of an order that has arrived is what the customer was told while waiting: what was heard by then.
    window = (order.promised_from, order.promised_to) if order.status != "delivered" else None
    for parcel in parcels:
        parcel.refresh_from_db()
    said = [
        (each.state, each.tracking_status, each.estimated_delivery_at, each.delivered_at, each.delivery_source)
        for each in parcels
    ]
    return [order.state, order.status, order.fulfilment_status, window, *said]


class TestCurrent:
    def test_is_the_latest_and_of_one_moment_the_higher_rank(self) -> None:
        scans = [
            TrackingUpdate(status="picked_up", occurred_at=at(2)),
            TrackingUpdate(status="in_transit", occurred_at=at(2)),
            TrackingUpdate(status="label_created", occurred_at=at(1)),
        ]

        assert couriers.current(scans) is scans[1]

    def test_knows_a_rank_for_every_word(self) -> None:
        assert set(couriers.STATUSES) == set(TrackingStatus)
