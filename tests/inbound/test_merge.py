"""The merge rule, through the door: whatever order scans come in, and however often, the end is the same."""

from datetime import UTC, datetime
from typing import Any

from django.test import Client
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from orders.models import Shipment
from orders.models.shipment import TrackingStatus
from tests.factories import make_product, ship_order
from tests.inbound.conftest import make_source, take_in
from tests.inbound.senders import Sender
from webhooks.models import Event

Step = tuple[str, int, int | None]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(list(TrackingStatus)),
        st.integers(min_value=1, max_value=5),
        st.one_of(st.none(), st.integers(min_value=6, max_value=8)),
    ),
    min_size=1,
    max_size=5,
    unique_by=lambda step: step[:2],
)


def message(number: str, step: Step) -> dict[str, Any]:
    status, hour, estimate = step
    return {
        "type": "tracking.updated",
        "data": {
            "tracking_number": number,
            "status": status,
            "occurred_at": f"2026-10-24T0{hour}:00:00Z",
            "estimated_delivery_at": estimate and f"2026-10-24T0{estimate}:00:00Z",
        },
    }


def end_of(shipment: Shipment) -> dict[str, Any]:
    shipment.refresh_from_db()
    shipment.order.refresh_from_db()
    return {
        "state": shipment.state,
        "tracking_status": shipment.tracking_status,
        "estimate": shipment.estimated_delivery_at,
        "order": shipment.order.status,
        "timeline": sorted(shipment.tracking_updates.values_list("occurred_at", "status", "estimated_delivery_at")),
        "delivered": Event.objects.filter(type="order.delivered", subject=shipment.order.public_id).count(),
    }


class TestShuffle(TestCase):
    """Hypothesis needs a transaction per example, which its own TestCase gives."""

    @settings(deadline=None, max_examples=12)
    @given(steps=STEPS, data=st.data())
    def test_any_shuffle_with_copies_ends_in_the_same_state(self, steps: list[Step], data: st.DataObject) -> None:
        copies = data.draw(st.lists(st.sampled_from(steps), max_size=3))
        shuffled = data.draw(st.permutations(steps + copies))
        make_source("standard")
        make_product("MUG")
        shipment, twin = (self._ship(number) for number in ("ONE", "TWO"))

        for number, told in (("ONE", steps), ("TWO", shuffled)):
            self._send(number, told)
        take_in()

        assert end_of(shipment) == end_of(twin)

    def _ship(self, number: str) -> Shipment:
        shipment = ship_order(("MUG", 1))
        Shipment.objects.filter(pk=shipment.pk).update(tracking_number=number)
        return shipment

    def _send(self, number: str, steps: list[Step]) -> None:
        """Each as a message with an id of its own: a courier that forgot what it has said."""
        sender = Sender(Client(), "standard", int(datetime.now(UTC).timestamp()))
        for n, step in enumerate(steps):
            assert sender.send(message(number, step), message_id=f"{number}_{n}").status_code == 202
