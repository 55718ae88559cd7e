"""From a kept message to its one effect, whatever happens on the way."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import DatabaseError

from commerce.inbound import processing
from commerce.models import InboundMessage
from orders import couriers, fulfilment
from orders.models import TrackingUpdate
from tests.factories import NOW, pack_order, ship_order
from tests.inbound.conftest import make_due, only_message, take_in
from tests.inbound.senders import Sender, load

pytestmark = pytest.mark.django_db

Connect = Callable[..., Sender]
State = InboundMessage.State
NUMBER = "00340434161094042557"


def scan(number: str = "JD01", **fields: Any) -> dict[str, Any]:
    data = {"tracking_number": number, "status": "in_transit", "occurred_at": "2026-10-24T11:45:00Z"}
    return {"type": "tracking.updated", "data": data | fields}


class TestProcessed:
    def test_says_what_it_did_and_to_which_order(self, connect: Connect) -> None:
        shipment = ship_order()

        connect("standard").send(scan())
        take_in()

        message = only_message()
        assert (message.state, message.attempt_count, message.next_attempt_at) == ("processed", 1, None)
        assert message.effect == f"In transit, parcel {shipment}"
        assert message.subject == shipment.order.public_id
        assert TrackingUpdate.objects.get().source == "standard"

    def test_once_however_often_it_comes(self, connect: Connect) -> None:
        ship_order()
        sender = connect("standard")

        for _ in range(3):
            sender.send(scan(), message_id="msg_same")
            take_in()

        assert TrackingUpdate.objects.count() == 1
        assert (only_message().copies, only_message().attempt_count) == (2, 1)

    def test_cannot_be_reprocessed(self, connect: Connect) -> None:
        ship_order()
        connect("standard").send(scan())
        take_in()

        with pytest.raises(processing.AlreadyProcessed, match="processed already"):
            processing.reprocess(only_message(), by="ann", now=datetime.now(UTC))

        assert only_message().state == "processed"

    def test_in_one_transaction_with_its_effect(self, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
        """What a worker that dies between the two leaves behind: neither, and a message that is still due."""
        ship_order()
        connect("standard").send(scan())

        def die(*_: object, **__: object) -> None:
            assert TrackingUpdate.objects.exists()
            raise SystemExit

        with monkeypatch.context() as patch:
            patch.setattr(processing, "_settle", die)
            with pytest.raises(SystemExit):
                take_in()

        assert not TrackingUpdate.objects.exists()
        assert (only_message().state, only_message().attempt_count) == ("received", 0)
        take_in()
        assert TrackingUpdate.objects.count() == 1


class TestIgnored:
    @pytest.mark.parametrize(
        ("scheme", "body"),
        [
            ("standard", {"type": "invoice.paid", "data": {}}),
            ("standard", {"type": ["a"]}),
            ("standard", {"type": "a\0b"}),
            ("standard", {}),
            ("aftership", {"event": "tracking_pending_time", "event_id": "1"}),
            ("aftership", {"event": {}, "event_id": "1"}),
            ("easypost", {"description": "batch.updated", "id": "evt_1", "result": {}}),
            ("stripe", {"type": "customer.created", "id": "evt_1", "data": {"object": {}}}),
            ("stripe", {"type": 7, "id": "evt_1"}),
        ],
    )
    def test_is_a_kind_that_asks_nothing_of_us(self, scheme: str, body: dict[str, Any], connect: Connect) -> None:
        assert connect(scheme).send(body).status_code == 202
        take_in()

        message = only_message()
        assert (message.state, message.next_attempt_at) == ("ignored", None)
        assert "asks nothing of us" in message.reason


class TestParked:
    @pytest.mark.parametrize(
        ("body", "reason"),
        [
            (b"", "not JSON"),
            (b"not json", "not JSON"),
            (b"\xff\xfe", "not JSON"),
            (b"[1]", "not an object"),
            (b'"text"', "not an object"),
            (b"[" * 100_000, "nested too deeply"),
            (b'{"a": "\\ud800"}', "not JSON"),
            (b'{"a": ' + b"9" * 5_000 + b"}", "not JSON"),
        ],
    )
    def test_is_what_is_no_json_object(self, body: bytes, reason: str, connect: Connect) -> None:
        assert connect("standard").send(body).status_code == 202
        take_in()

        message = only_message()
        assert (message.state, message.attempt_count) == ("parked", 1)
        assert reason in message.reason

    def test_after_the_ladder_with_the_domains_own_words(self, connect: Connect) -> None:
        shipment = pack_order()
        connect("standard").send(
            {"type": "shipment.delivered", "data": {"shipment_id": shipment.public_id, "received_by": "Ann"}}
        )
        gaps = []

        for _ in processing.LADDER:
            make_due()
            take_in()
            message = only_message()
            assert message.state == "received"
            assert message.next_attempt_at is not None
            gaps.append(round((message.next_attempt_at - datetime.now(UTC)).total_seconds(), -1))
        make_due()
        take_in()

        message = only_message()
        assert (message.state, message.attempt_count) == ("parked", 7)
        assert message.reason == f"Shipment {shipment} is packed, not shipped."
        assert gaps == sorted(gaps)
        assert gaps[-1] == 6 * 3600

    def test_can_be_reprocessed_twice_with_one_effect(self, connect: Connect) -> None:
        shipment = pack_order()
        connect("standard").send({"type": "shipment.delivered", "data": {"shipment_id": shipment.public_id}})
        for _ in range(7):
            make_due()
            take_in()
        fulfilment.ship(shipment.public_id, carrier="DHL", tracking_number="JD01", actor="ben", now=NOW)

        for _ in range(2):
            processing.reprocess(only_message(), by="ann", now=datetime.now(UTC))
        take_in()

        shipment.refresh_from_db()
        message = only_message()
        assert (shipment.state, message.state, message.reprocessed_by) == ("delivered", "processed", "ann")
        assert (message.attempt_count, message.reason) == (8, "")
        assert shipment.order.transitions.filter(kind="delivered").count() == 1

    def test_reprocessed_has_the_whole_ladder_again(self, connect: Connect) -> None:
        shipment = pack_order()
        connect("standard").send({"type": "shipment.delivered", "data": {"shipment_id": shipment.public_id}})
        for _ in range(7):
            make_due()
            take_in()

        processing.reprocess(only_message(), by="ann", now=datetime.now(UTC))
        take_in()

        assert only_message().state == "received"


class TestFailure:
    def test_of_our_own_is_tried_again_and_told_without_its_details(
        self, connect: Connect, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ship_order()
        sender = connect("standard")
        sender.send(scan())

        def break_down(*_: object, **__: object) -> None:
            raise DatabaseError("password=hunter2")

        with monkeypatch.context() as patch:
            patch.setattr(couriers, "track", break_down)
            take_in()
        message = only_message()
        assert (message.state, message.attempt_count) == ("received", 1)
        assert message.reason == "Something went wrong on our side (DatabaseError). It is logged."

        make_due()
        take_in()
        assert only_message().state == "processed"

    def test_that_cannot_even_be_written_down_holds_up_no_other(
        self, connect: Connect, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ship_order()
        sender = connect("standard")
        sender.send(b"junk")
        sender.send(scan())
        settle = processing._settle

        def refuse(message: InboundMessage, state: Any, **rest: Any) -> None:
            if state == "parked":
                raise DatabaseError
            settle(message, state, **rest)

        monkeypatch.setattr(processing, "_settle", refuse)
        take_in()

        states = InboundMessage.objects.order_by("pk").values_list("state", flat=True)
        assert list(states) == ["received", "processed"]

    def test_of_one_message_holds_up_no_other(self, connect: Connect) -> None:
        ship_order()
        sender = connect("standard")

        for body in (b"junk", {"type": "shipment.packed", "data": {"order_number": "1"}}, scan()):
            sender.send(body)
        take_in()

        states = InboundMessage.objects.order_by("pk").values_list("state", flat=True)
        assert list(states) == ["parked", "received", "processed"]


class TestWaiting:
    def test_is_for_a_number_that_is_not_attached_yet(self, connect: Connect) -> None:
        shipment = pack_order()
        connect("aftership").send(load("aftership_tracking_update"))
        take_in()
        message = only_message()
        assert (message.state, message.awaits) == ("waiting", f"tracking_number:{NUMBER}")
        assert message.reason == f"No parcel has the tracking number {NUMBER} yet."

        fulfilment.ship(shipment.public_id, carrier="DHL", tracking_number=NUMBER, actor="ben", now=NOW)
        take_in()

        shipment.refresh_from_db()
        message = only_message()
        assert (message.state, message.awaits, message.attempt_count) == ("processed", "", 2)
        assert (shipment.tracking_status, shipment.tracking_updates.count()) == ("arrived_at_hub", 3)

    def test_is_not_ended_by_another_parcels_number(self, connect: Connect) -> None:
        shipment = pack_order()
        connect("aftership").send(load("aftership_tracking_update"))
        take_in()

        fulfilment.ship(shipment.public_id, carrier="DHL", tracking_number="JD99", actor="ben", now=NOW)
        take_in()

        assert only_message().state == "waiting"

    def test_goes_on_at_a_slow_pace_for_thirty_days(self, connect: Connect) -> None:
        connect("standard").send(scan("UNKNOWN"))
        for _ in range(12):
            make_due()
            take_in()
        assert only_message().state == "waiting"

        InboundMessage.objects.update(created_at=datetime.now(UTC) - timedelta(days=31))
        make_due()
        take_in()

        message = only_message()
        assert (message.state, message.awaits) == ("parked", "tracking_number:UNKNOWN")


class TestForget:
    def test_takes_what_ended_long_ago_and_nothing_that_is_open(self, connect: Connect) -> None:
        sender = connect("standard")
        for n, state in enumerate(State):
            sender.send({"n": n})
            InboundMessage.objects.filter(sender_id=f"msg_{n + 1}").update(
                state=state,
                next_attempt_at=NOW if state in ("received", "waiting") else None,
                created_at=datetime.now(UTC) - timedelta(days=60),
            )

        processing.forget(now=datetime.now(UTC))

        assert set(InboundMessage.objects.values_list("state", flat=True)) == {"received", "waiting", "parked"}
        processing.forget(now=datetime.now(UTC) + timedelta(days=31))
        assert set(InboundMessage.objects.values_list("state", flat=True)) == {"received", "waiting"}
