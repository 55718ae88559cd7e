"""What the shopper of an order is written, from confirmed to delivered."""

from collections import defaultdict
from datetime import timedelta

import pytest
from django.core import mail
from django.utils import timezone

from orders import couriers, fulfilment
from orders.models import Order
from tests.chaos.processes import Cluster, Running, wait_until
from tests.factories import NOW, confirm_order, make_product
from tests.mailserver import running_mail_server
from tests.webhooks.factories import crank
from webhooks import subscriptions
from webhooks.models import Attempt, Delivery, Subscription

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def written() -> Subscription:
    subscription = subscriptions.start_messages(by="ann", now=timezone.now())
    subscriptions.resume(subscription, by="ann", now=timezone.now())
    return subscription


def walk(*lines: tuple[str, int]) -> Order:
    """From placed to delivered, by a courier that tells of every stop, one of them twice."""
    order = confirm_order(*lines)
    [parcel] = fulfilment.pack(order.public_id, actor="ben", now=NOW)
    fulfilment.ship(parcel.public_id, carrier="DHL", tracking_number="JD01", actor="ben", now=NOW)
    for hour, status in enumerate(["in_transit", "out_for_delivery", "out_for_delivery", "delivered"]):
        at = NOW + timedelta(hours=hour)
        couriers.track(parcel.public_id, status=status, occurred_at=at, source="dhl", now=at)
    return order


def subjects_of(order: Order) -> list[str]:
    return [
        f"Thank you! Your order {order.number} is confirmed",
        f"Your order {order.number} is packed",
        f"Your order {order.number} is on its way",
        f"Your order {order.number} comes today",
        f"Your order {order.number} has arrived",
    ]


class MailingCluster(Cluster):
    """A cluster whose mail server is the one at `port`."""

    MAIL = """
from django.conf import settings
from django.core.management import call_command
settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", {port}
import django
django.setup()
call_command("qcluster")
"""

    def __init__(self, port: int) -> None:
        Running.__init__(self, "-c", self.MAIL.format(port=port))


class TestTheFiveMessages:
    def test_come_once_each_and_in_order(self, written: Subscription) -> None:
        order = walk()

        crank()

        assert [sent.subject for sent in mail.outbox] == subjects_of(order)
        assert {address for sent in mail.outbox for address in sent.to} == {"ann@example.com"}
        assert all(sent.body.startswith("Hello Ann Lee,") for sent in mail.outbox)
        assert all(order.tracking_page_url in sent.body for sent in mail.outbox)
        assert set(Delivery.objects.values_list("state", "attempt_count")) == {("delivered", 1)}

    def test_say_what_has_happened(self, written: Subscription) -> None:
        walk()

        crank()

        confirmed, packed, shipped, out, delivered = (sent.body for sent in mail.outbox)
        assert "2 item(s) for 49.90 EUR" in confirmed
        assert "Your order is packed and ready to ship." in packed
        assert "with DHL. Its tracking number: JD01." in shipped
        assert "out for delivery" in out
        assert "was delivered" in delivered

    def test_are_not_sent_while_paused_and_all_come_after(self, written: Subscription) -> None:
        subscriptions.pause(written, by="ann", now=timezone.now())
        walk()
        crank()
        assert mail.outbox == []

        subscriptions.resume(written, by="ann", now=timezone.now())
        crank()

        assert len(mail.outbox) == 5

    @pytest.mark.processes
    def test_come_once_each_and_in_order_from_two_clusters_and_a_server_that_refuses_at_first(
        self, written: Subscription
    ) -> None:
        Subscription.objects.update(retry_schedule=[1, 1])
        with running_mail_server() as server:
            server.answers = {"RCPT": "451 try again later"}
            make_product("CUP", on_hand=100)
            orders = [walk(("CUP", 1)) for _ in range(4)]
            clusters = [MailingCluster(server.port) for _ in range(2)]
            try:
                wait_until(Attempt.objects.filter(reason="mail_refused").exists, what="refusal", timeout_s=60)
                server.answers = {}
                pending = Delivery.objects.exclude(state="delivered")
                wait_until(lambda: not pending.exists(), what="end of the messages", timeout_s=60)
            finally:
                for cluster in clusters:
                    cluster.kill()

        received: dict[str, list[str]] = defaultdict(list)
        for message in server.received:
            [number] = [order.number for order in orders if f"order {order.number} " in message["Subject"]]
            received[number].append(message["Subject"])
        assert received == {order.number: subjects_of(order) for order in orders}
