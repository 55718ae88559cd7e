"""Messages to shoppers in the admin: begun, written, switched on, and their deliveries looked at."""

from datetime import datetime
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core import mail
from django.test import Client

from commerce import tokens
from orders import couriers
from tests.factories import NOW, confirm_order, ship_order
from tests.webhooks.admin.conftest import log_in_with, send_all
from tests.webhooks.admin.pages import page_of
from webhooks import subscriptions
from webhooks.models import Delivery, Subscription

pytestmark = pytest.mark.django_db

LIST = "/admin/webhooks/subscription/"


@pytest.fixture
def written(now: datetime) -> Subscription:
    subscription = subscriptions.start_messages(by="ann", now=now)
    subscriptions.resume(subscription, by="ann", now=now)
    return subscription


def form_of(subscription: Subscription, **changes: Any) -> dict[str, Any]:
    """What the page sends when nothing is touched but `changes`."""
    parts = {
        f"messages-{each['event_type']}-{part}": each[part]
        for each in subscription.messages
        for part in ("status", "subject", "text")
    }
    return {"name": subscription.name, "retry_schedule": "", "max_in_flight": 8, **parts} | changes


class TestBegin:
    def test_gives_the_five_messages_paused(self, staff: Client, ann: User) -> None:
        answer = staff.post(f"{LIST}messages/")

        begun = Subscription.objects.get()
        assert answer.headers["Location"] == page_of(begun)
        assert (begun.channel, begun.state, begun.ordering, len(begun.messages)) == ("email", "paused", "strict", 5)

    def test_is_for_who_may_add(self) -> None:
        assert log_in_with("view_subscription").post(f"{LIST}messages/").status_code == 403

        assert not Subscription.objects.exists()

    def test_is_switched_on_by_resume(self, staff: Client) -> None:
        staff.post(f"{LIST}messages/")

        staff.post(page_of(Subscription.objects.get(), "resume"))

        assert Subscription.objects.get().state == "active"


class TestThePage:
    def test_shows_each_message_with_its_placeholders_and_a_preview(self, staff: Client, written: Subscription) -> None:
        page = staff.get(page_of(written)).content.decode()

        assert "Your order is packed and ready to ship." in page
        assert "<code>{tracking_number}</code>" in page
        assert "Your order 1042 is on its way" in page
        assert "Show secret" not in page
        assert "Send test event" not in page

    def test_keeps_what_is_written(self, staff: Client, written: Subscription) -> None:
        changed = {"messages-order.packed-text": "All packed,\r\n{customer_name}!"}

        staff.post(page_of(written), form_of(written, **changed))

        written.refresh_from_db()
        assert written.messages[1]["text"] == "All packed,\n{customer_name}!"

    def test_tells_no_more_of_what_is_left_empty(self, staff: Client, written: Subscription) -> None:
        emptied = {"messages-order.tracking.updated-subject": "", "messages-order.tracking.updated-text": ""}

        staff.post(page_of(written), form_of(written, **emptied))

        written.refresh_from_db()
        assert written.event_types == ["order.confirmed", "order.packed", "order.shipped", "order.delivered"]
        assert written.conditions == []

    def test_refuses_a_placeholder_that_the_event_does_not_have(self, staff: Client, written: Subscription) -> None:
        page = staff.post(page_of(written), form_of(written, **{"messages-order.packed-text": "By {carrier}"}))

        assert "order.packed: there is no {carrier} in this event. It has channel, " in page.content.decode()
        assert "By {carrier}" in page.content.decode()
        written.refresh_from_db()
        assert "ready to ship" in written.messages[1]["text"]

    @pytest.mark.parametrize("verb", ["test", "doctor", "rotate-secret", "revoke-old-secrets"])
    def test_says_that_there_is_no_receiver(self, verb: str, staff: Client, written: Subscription) -> None:
        answer = staff.post(page_of(written, verb), follow=True)

        assert "goes out by e-mail" in answer.content.decode()

    def test_has_no_secret(self, staff: Client, written: Subscription) -> None:
        assert staff.get(page_of(written, "ready")).status_code == 404


class TestTheList:
    def test_shows_them_among_the_systems(self, staff: Client, written: Subscription) -> None:
        page = staff.get(LIST).content.decode()

        assert "Message to the shopper by e-mail" in page
        assert "out_for_delivery" not in page


class TestTheLog:
    def test_shows_a_message_without_signature_address_and_curl(self, staff: Client, written: Subscription) -> None:
        order = confirm_order()
        send_all()

        delivery = Delivery.objects.get()
        page = staff.get(f"/admin/webhooks/delivery/{delivery.pk}/change/").content.decode()

        assert len(mail.outbox) == 1
        assert f"Thank you! Your order {order.number} is confirmed" in page
        assert "Message headers" in page
        assert "curl" not in page
        assert "POST <" not in page

    def test_says_why_nothing_was_sent(self, staff: Client, written: Subscription) -> None:
        confirm_order()
        delivery = Delivery.objects.select_related("event").get()
        delivery.event.body = delivery.event.body.replace("ann@example.com", "")
        delivery.event.save()

        send_all()

        words = "There is no e-mail address to write to, so nothing was sent."
        assert words in staff.get(f"/admin/webhooks/delivery/{delivery.pk}/change/").content.decode()


class TestTheOrdersPage:
    def test_says_why_a_scan_was_not_told(self, staff: Client, written: Subscription) -> None:
        parcel = ship_order()
        couriers.track(parcel.public_id, status="in_transit", occurred_at=NOW, source="dhl", now=NOW)

        page = staff.get(f"/admin/orders/order/{parcel.order_id}/change/").content.decode()

        words = "Messages to shoppers is told only if status of order.tracking.updated is"
        assert f"{words} &quot;out_for_delivery&quot;; here it is &quot;in_transit&quot;." in page


class TestTheApi:
    def test_lists_webhooks_only(self, client: Client, written: Subscription) -> None:
        token = tokens.issue("erp", scopes=["webhooks"])

        answer = client.get("/api/v1/webhooks/subscriptions/", headers={"Authorization": f"Bearer {token}"})

        assert answer.json()["results"] == []
