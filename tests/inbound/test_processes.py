"""As it runs: a real cluster takes in what was kept, whoever dies in between."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from django.db import connection
from django.test import Client

from commerce.models import InboundMessage
from orders.models import TrackingUpdate
from tests.chaos.processes import run, running_cluster, wait_until
from tests.factories import ship_order
from tests.inbound.conftest import make_source
from tests.inbound.senders import Sender, load
from tests.rings import Rings

pytestmark = [pytest.mark.processes, pytest.mark.django_db(transaction=True)]

# A web process that is killed right after the commit of the message.
POST_AND_DIE = """
import os, signal
from datetime import datetime, UTC
from django.test import Client
from commerce.inbound import inbox
from tests.inbound.senders import Sender, load
ring = inbox.broker.ring
def die_and_ring(bell):
    inbox.transaction.on_commit(lambda: os.kill(os.getpid(), signal.SIGKILL))
    ring(bell)
inbox.broker.ring = die_and_ring
Sender(Client(), "aftership", int(datetime.now(UTC).timestamp())).send(load("aftership_tracking_update"))
"""


def is_processed() -> bool:
    return InboundMessage.objects.filter(state="processed").exists()


@pytest.fixture
def arrange() -> Callable[[], None]:
    def arrange() -> None:
        shipment = ship_order()
        type(shipment).objects.update(tracking_number="00340434161094042557")
        make_source("aftership")

    return arrange


class TestCluster:
    def test_processes_what_a_web_process_kept_and_died(self, arrange: Callable[[], None], rings: Rings) -> None:
        arrange()

        returned = run(POST_AND_DIE)

        assert returned == -9
        # On PostgreSQL the wake-up is a part of the commit. Nobody is there to hear it.
        assert rings() == (["inbound"] if connection.vendor == "postgresql" else [])
        assert InboundMessage.objects.get().state == "received"
        with running_cluster():
            wait_until(is_processed, what="end of the message")
        assert TrackingUpdate.objects.count() == 3

    def test_is_woken_by_a_message(self, arrange: Callable[[], None]) -> None:
        arrange()
        with running_cluster():
            answer = Sender(Client(), "aftership", int(datetime.now(UTC).timestamp())).send(
                load("aftership_tracking_update")
            )
            wait_until(is_processed, what="end of the message")

        assert answer.status_code == 202
        assert TrackingUpdate.objects.count() == 3
