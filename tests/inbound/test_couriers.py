"""AfterShip, EasyPost, and couriers that sign by themselves: their documented events as scans in our words."""

import base64
import hmac
from collections.abc import Callable
from copy import deepcopy
from datetime import UTC, date, datetime
from typing import Any

import pytest

from orders import trackers
from orders.models import Order, Shipment, TrackingUpdate
from orders.models.shipment import TrackingStatus
from tests.factories import NOW, make_warehouse, pack_order, ship_order
from tests.inbound.conftest import only_message, take_in
from tests.inbound.senders import SECRETS, Sender, load
from webhooks.models import Event

pytestmark = pytest.mark.django_db

Connect = Callable[..., Sender]
NUMBER = "00340434161094042557"


@pytest.fixture
def shipment() -> Shipment:
    make_warehouse("BER", time_zone="Europe/Berlin")
    shipment = ship_order()
    Shipment.objects.filter(pk=shipment.pk).update(tracking_number=NUMBER)
    return shipment


def timeline() -> list[tuple[str, str, str]]:
    return list(TrackingUpdate.objects.order_by("occurred_at").values_list("status", "message", "location"))


def told(name: str) -> int:
    return Event.objects.filter(type=name).count()


class TestAfterShip:
    def test_brings_every_checkpoint_and_the_estimate(self, shipment: Shipment, connect: Connect) -> None:
        connect("aftership").send(load("aftership_tracking_update"))
        take_in()

        shipment.refresh_from_db()
        assert timeline() == [
            ("label_created", "Label printed", "Berlin, DE, Germany"),
            ("picked_up", "Picked up by DHL", "Berlin, DE, Germany"),
            ("arrived_at_hub", "Arrived at the parcel centre", "Leipzig, DE, Germany"),
        ]
        assert shipment.tracking_status == "arrived_at_hub"
        assert shipment.estimated_delivery_at == datetime(2026, 10, 26, 18, tzinfo=UTC)
        assert told("order.tracking.updated") == 3
        assert only_message().effect == f"Arrived at hub and 2 earlier, parcel {shipment}"

    def test_adds_only_what_is_new_of_the_next_history(self, shipment: Shipment, connect: Connect) -> None:
        sender, body = connect("aftership"), load("aftership_tracking_update")
        sender.send(body)
        take_in()
        later = deepcopy(body)
        later["event_id"] = "2"
        later["msg"]["checkpoints"].append(
            {"checkpoint_time": "2026-10-25T08:00:00Z", "tag": "Delivered", "subtag": "Delivered_001"}
        )

        sender.send(later)
        take_in()

        shipment.refresh_from_db()
        assert [status for status, *_ in timeline()][-1] == shipment.tracking_status == shipment.state == "delivered"
        assert (told("order.tracking.updated"), told("order.delivered")) == (4, 1)
        assert shipment.delivered_at == datetime(2026, 10, 25, 8, tzinfo=UTC)

    def test_tells_a_revised_estimate_as_a_step_of_its_own(self, shipment: Shipment, connect: Connect) -> None:
        sender, body = connect("aftership"), load("aftership_tracking_update")
        sender.send(body)
        revised = deepcopy(body) | {"event": "edd_revise", "event_id": "2"}
        revised["msg"]["latest_estimated_delivery"]["datetime"] = "2026-10-28T12:00:00+02:00"

        sender.send(revised)
        take_in()

        shipment.refresh_from_db()
        assert shipment.estimated_delivery_at == datetime(2026, 10, 28, 10, tzinfo=UTC)
        assert shipment.tracking_status == "arrived_at_hub"

    def test_of_an_estimate_after_the_promise_moves_the_window(self, shipment: Shipment, connect: Connect) -> None:
        body = load("aftership_tracking_update")
        body["msg"]["latest_estimated_delivery"]["datetime"] = "2026-12-09T18:00:00+01:00"

        connect("aftership").send(body)
        take_in()

        shipment.order.refresh_from_db()
        assert shipment.order.promised_to == date(2026, 12, 9)
        assert told("order.delivery_window.changed") == 1

    def test_without_checkpoints_tells_its_status(self, shipment: Shipment, connect: Connect) -> None:
        body = load("aftership_tracking_update")
        body["msg"] |= {"checkpoints": [], "tag": "OutForDelivery", "subtag": "OutForDelivery_001"}

        connect("aftership").send(body)
        take_in()

        assert [status for status, *_ in timeline()] == ["out_for_delivery"]

    @pytest.mark.parametrize("subtag", ["Exception_010", "Exception_011", "Exception_013", "Exception_004"])
    def test_raises_exceptions(self, subtag: str, shipment: Shipment, connect: Connect) -> None:
        body = load("aftership_tracking_update")
        body["msg"]["checkpoints"][-1] |= {"tag": "Exception", "subtag": subtag}

        connect("aftership").send(body)
        take_in()

        assert told("order.tracking.exception") == 1

    @pytest.mark.parametrize("tag", ["Pending", "Expired", "Teleported"])
    def test_of_no_step_we_have_a_word_for_is_ignored(self, tag: str, shipment: Shipment, connect: Connect) -> None:
        body = load("aftership_tracking_update")
        body["msg"] |= {"checkpoints": [], "tag": tag, "subtag": f"{tag}_001"}

        connect("aftership").send(body)
        take_in()

        assert only_message().state == "ignored"


class TestEasyPost:
    def test_brings_every_detail_and_the_estimate(self, shipment: Shipment, connect: Connect) -> None:
        connect("easypost").send(load("easypost_tracker_updated"))
        take_in()

        shipment.refresh_from_db()
        assert timeline() == [
            ("label_created", "Shipment information received", "DE"),
            ("arrived_at_hub", "At the local facility", "Berlin, DE"),
            ("out_for_delivery", "On vehicle for delivery", "Berlin, DE"),
        ]
        assert shipment.estimated_delivery_at == datetime(2026, 10, 24, 18, tzinfo=UTC)

    @pytest.mark.parametrize(
        ("status", "detail", "word"),
        [
            ("failure", "delayed", "delayed"),
            ("failure", "lost", "lost"),
            ("failure", "refused", "attempt_failed"),
            ("in_transit", "departed_facility", "in_transit"),
            ("return_to_sender", "return", "return_to_sender"),
            ("delivered", "arrived_at_destination", "delivered"),
            ("available_for_pickup", "arrived_at_pickup_location", "ready_for_pickup"),
        ],
    )
    def test_speaks_our_words(self, status: str, detail: str, word: str, shipment: Shipment, connect: Connect) -> None:
        body = load("easypost_tracker_updated")
        body["result"]["tracking_details"] = []
        body["result"] |= {"status": status, "status_detail": detail}

        connect("easypost").send(body)
        take_in()

        assert [status for status, *_ in timeline()] == [word]

    def test_tells_a_revised_estimate(self, shipment: Shipment, connect: Connect) -> None:
        sender, body = connect("easypost"), load("easypost_tracker_updated")
        sender.send(body)
        revised = deepcopy(body) | {"id": "evt_2", "previous_attributes": {"est_delivery_date": "2026-10-24T18:00:00Z"}}
        revised["result"] |= {"est_delivery_date": "2026-10-25T18:00:00Z", "updated_at": "2026-10-24T12:30:00Z"}

        sender.send(revised)
        take_in()

        shipment.refresh_from_db()
        assert shipment.estimated_delivery_at == datetime(2026, 10, 25, 18, tzinfo=UTC)


class TestOtherCouriers:
    def test_are_read_by_the_paths_and_words_set_for_them(self, shipment: Shipment, connect: Connect) -> None:
        connect("hmac").send(load("hmac_courier_event"))
        take_in()

        shipment.refresh_from_db()
        assert timeline() == [("delivered", "Zugestellt an der Haustür", "Berlin")]
        assert shipment.delivered_at == datetime(2026, 10, 24, 12, tzinfo=UTC)
        assert (shipment.state, only_message().sender_id) == ("delivered", "7d1c")

    def test_without_paths_speak_our_words(self, shipment: Shipment, connect: Connect) -> None:
        connect("hmac", paths={}).send(load("standard_tracking_updated"))
        take_in()

        assert timeline() == [("in_transit", "Left the depot", "Berlin")]

    @pytest.mark.parametrize(("encoding", "algorithm"), [("base64", "sha256"), ("hex", "sha1"), ("hex", "sha512")])
    def test_sign_as_they_wish(self, encoding: str, algorithm: str, connect: Connect) -> None:
        sender = connect("hmac", encoding=encoding, algorithm=algorithm, prefix=f"{algorithm}=")
        digest = hmac.new(SECRETS["hmac"].encode(), b"{}", algorithm).digest()
        signature = base64.b64encode(digest).decode() if encoding == "base64" else digest.hex()

        answers = [
            sender.post(b"{}", {"X-Courier-Signature": value}).status_code
            for value in (f"{algorithm}={signature}", signature, f"{algorithm}={signature[:-4]}", f"{algorithm}=ü")
        ]

        assert answers == [202, 401, 401, 401]


class TestCashOnDelivery:
    def test_is_paid_when_the_courier_says_that_it_took_the_cash(self, connect: Connect) -> None:
        ship_order(method="cod")
        body = load("aftership_tracking_update")
        body["msg"]["tracking_number"] = "JD01"
        body["msg"]["checkpoints"][-1] |= {"tag": "Delivered", "subtag": "Delivered_004"}

        connect("aftership").send(body)
        take_in()

        order = Order.objects.get()
        assert (order.status, order.payment_status, order.state) == ("delivered", "paid", "completed")
        assert (told("payment.success"), order.payments.get().amount_minor) == (1, order.total_minor)

    def test_is_delivered_by_the_couriers_scan_with_the_cash_still_to_come(self, connect: Connect) -> None:
        shipment = ship_order(method="cod")

        connect("standard").send(
            {
                "type": "tracking.updated",
                "data": {"tracking_number": "JD01", "status": "delivered", "occurred_at": "2026-10-25T08:00:00Z"},
            }
        )
        take_in()

        order = Order.objects.get()
        assert (order.status, order.payment_status, order.state) == ("delivered", "cod_pending", "confirmed")
        assert shipment.order.transitions.get(kind="delivered").cod_minor == order.total_minor


Path = tuple[str | int, ...]


def wrong(scheme: str, name: str, *rows: tuple[Path, object]) -> list[tuple[str, str, Path, object]]:
    """A body of the scheme for each row, with that value at that place."""
    return [(scheme, name, path, value) for path, value in rows]


WRONG = [
    *wrong("aftership", "aftership_tracking_update",
        (("msg",), None), (("msg",), []), (("msg", "tracking_number"), None), (("msg", "tracking_number"), {}),
        (("msg", "tracking_number"), "x" * 81), (("msg", "checkpoints"), {"0": 1}), (("msg", "checkpoints"), "none"),
        (("msg", "checkpoints", 0), 7), (("msg", "checkpoints", 0, "checkpoint_time"), "yesterday"),
        (("msg", "checkpoints", 0, "checkpoint_time"), [1]), (("msg", "checkpoints", 0, "checkpoint_time"), 1e300),
        (("msg", "checkpoints", 0, "checkpoint_time"), "9999-12-31T23:59:59-14:00"),
        (("msg", "checkpoints", 0, "checkpoint_time"), "2199-01-01T00:00:00Z"),
        (("msg", "checkpoints", 0, "message"), {"de": "hallo"}), (("msg", "checkpoints", 0, "message"), "a\x00b"),
        (("msg", "tag"), {}), (("msg", "latest_estimated_delivery"), "soon"), (("ts",), "x"),
        (("msg", "latest_estimated_delivery", "datetime"), "9999-12-31T23:59:59Z"),
    ),
    *wrong("easypost", "easypost_tracker_updated",
        (("result",), None), (("result",), "trk_1"), (("result", "tracking_code"), None),
        (("result", "tracking_details"), {}), (("result", "tracking_details", 0), "x"),
        (("result", "tracking_details", 0, "datetime"), True), (("result", "tracking_details", 0, "status"), []),
        (("result", "tracking_details", 0, "tracking_location"), "Berlin"),
        (("result", "est_delivery_date"), {}), (("result", "est_delivery_date"), "2062-10-24T18:00:00Z"),
        (("previous_attributes",), "status"),
    ),
    *wrong("standard", "standard_tracking_updated",
        (("data",), None), (("data",), []), (("data", "status"), "teleported"), (("data", "status"), None),
        (("data", "status"), ["in_transit"]), (("data", "occurred_at"), None), (("data", "occurred_at"), -1e20),
        (("data", "tracking_number"), ""), (("data", "tracking_number"), "a\x00b"), (("data", "location"), []),
        (("data", "estimated_delivery_at"), "0000-00-00"), (("data", "estimated_delivery_at"), "2062-10-26T16:00:00Z"),
        (("data", "estimated_delivery_at"), "9999-12-31T23:59:59Z"),
    ),
    *wrong("hmac", "hmac_courier_event",
        (("notification",), None), (("notification", "parcels"), {}), (("notification", "parcels"), []),
        (("notification", "parcels", 0, "events"), []), (("notification", "parcels", 0, "events", 1, "code"), "GONE"),
        (("notification", "parcels", 0, "events", 1, "code"), {"a": 1}),
    ),
]  # fmt: skip


class TestWrongTypes:
    @pytest.mark.parametrize(("scheme", "name", "path", "value"), WRONG)
    def test_are_taken_in_and_parked_with_a_reason(
        self,
        scheme: str,
        name: str,
        path: Path,
        value: object,
        shipment: Shipment,
        connect: Connect,
    ) -> None:
        body = load(name)
        place: Any = body
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value

        assert connect(scheme).send(body).status_code == 202
        take_in()

        message = only_message()
        assert message.state == "parked", message.reason
        assert message.reason
        assert not TrackingUpdate.objects.exists()

    def test_of_long_texts_are_cut(self, shipment: Shipment, connect: Connect) -> None:
        body = load("standard_tracking_updated")
        body["data"] |= {"message": "x" * 5_000, "location": "y" * 5_000}

        connect("standard").send(body)
        take_in()

        [(_, message, location)] = timeline()
        assert (len(message), len(location)) == (500, 200)


class TestWords:
    def test_of_every_sender_are_ours(self) -> None:
        words = {*trackers.AFTERSHIP.values(), *trackers.EASYPOST.values(), *trackers.EASYPOST_DETAILS.values()}

        assert words <= set(TrackingStatus)


class TestNumber:
    def test_used_again_is_the_latest_parcels(self, connect: Connect) -> None:
        first = ship_order()
        second = pack_order(("MUG", 1))
        Shipment.objects.filter(pk=second.pk).update(
            state="shipped", tracking_number="JD01", shipped_at=datetime.now(UTC)
        )

        connect("standard").send(
            {
                "type": "tracking.updated",
                "data": {"tracking_number": "JD01", "status": "in_transit", "occurred_at": "2026-10-25T08:00:00Z"},
            }
        )
        take_in()

        assert TrackingUpdate.objects.get().shipment == second
        assert first.shipped_at == NOW
