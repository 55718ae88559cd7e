"""Sending a delivery again by hand, one or many."""

from datetime import datetime
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from tests.receiver import Receiver
from tests.webhooks.admin.conftest import log_in_with, make_deliveries, send_all
from tests.webhooks.admin.pages import page_of
from webhooks import subscriptions
from webhooks.models import Delivery, Subscription

pytestmark = pytest.mark.django_db

LOG = "/admin/webhooks/delivery/"


class TestResend:
    def test_sends_the_same_bytes_again_and_says_who_asked(
        self, staff: Client, receiver: Receiver, failed: Delivery
    ) -> None:
        page = staff.post(page_of(failed, "resend"), follow=True)
        send_all()

        failed.refresh_from_db()
        first, again = receiver.received
        assert "On its way again" in page.content.decode()
        assert (failed.state, failed.resent_by) == ("delivered", "ann")
        assert again.body == first.body
        assert again.headers["webhook-id"] == first.headers["webhook-id"]
        assert LogEntry.objects.get().object_id == str(failed.pk)

    def test_a_refusal_is_told(self, staff: Client, failed: Delivery, now: datetime) -> None:
        subscriptions.disable(failed.subscription, by="ann", now=now, reason="")

        page = staff.post(page_of(failed, "resend"), follow=True).content.decode()

        assert "Warehouse system is disabled: resume it first." in page
        assert LogEntry.objects.count() == 0

    def test_needs_a_permission_of_its_own(self, failed: Delivery) -> None:
        onlooker = log_in_with("view_delivery", "change_delivery")
        support = log_in_with("view_delivery", "resend_delivery", username="eve")

        assert "Resend</button>" not in onlooker.get(page_of(failed)).content.decode()
        assert "resend_selected" not in onlooker.get(LOG).content.decode()
        assert onlooker.post(page_of(failed, "resend")).status_code == 403
        assert support.post(page_of(failed, "resend")).status_code == 302
        failed.refresh_from_db()
        assert failed.resent_by == "eve"

    def test_is_a_post(self, staff: Client, failed: Delivery) -> None:
        assert staff.get(page_of(failed, "resend")).status_code == 405

    def action(self, **more: Any) -> dict[str, Any]:
        return {
            "action": "resend_selected",
            "_selected_action": list(Delivery.objects.values_list("pk", flat=True)),
        } | more

    def test_of_many_asks_first_with_their_real_number(self, staff: Client, subscription: Subscription) -> None:
        make_deliveries(subscription, 3)

        asked = staff.post(LOG, self.action()).content.decode()

        assert "3 deliveries are sent again" in asked
        assert not Delivery.objects.exclude(resent_by="").exists()

        staff.post(LOG, self.action(confirmed="yes"))

        assert Delivery.objects.filter(resent_by="ann").count() == 3

    def test_of_many_tells_what_was_refused(self, staff: Client, failed: Delivery) -> None:
        Delivery.objects.update(state="sending", next_attempt_at=None)

        page = staff.post(LOG, self.action(confirmed="yes"), follow=True).content.decode()

        assert f"Not resent: {failed}. It is being sent at this very moment." in page

    def test_a_forged_selection_of_everything_is_bounded(self, staff: Client, subscription: Subscription) -> None:
        make_deliveries(subscription, 501)

        page = staff.post(LOG, self.action(select_across="1", _selected_action=["1"], confirmed="yes"), follow=True)

        assert "At most 500 deliveries" in page.content.decode()
        assert not Delivery.objects.exclude(resent_by="").exists()
