"""The list of events, and the page of one."""

from datetime import datetime, timedelta

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from tests.factories import place_order
from tests.receiver import Receiver
from tests.webhooks.admin.conftest import log_in_with, make_deliveries, make_subscription
from tests.webhooks.admin.pages import page_of
from webhooks.models import Delivery, Event, Subscription

pytestmark = pytest.mark.django_db

EVENTS = "/admin/webhooks/event/"


class TestEvents:
    def test_show_what_happened_and_whom_it_was_owed_to(self, staff: Client, failed: Delivery) -> None:
        page = staff.get(f"{EVENTS}?type=order.created").content.decode()
        detail = staff.get(f"{EVENTS}{failed.event_id}/change/").content.decode()

        assert f'<a href="{page_of(failed)}">' in page
        assert "Warehouse system" in detail
        assert f"&quot;order_number&quot;: &quot;{failed.label}&quot;" in detail

    def test_tell_why_nothing_was_sent(self, staff: Client) -> None:
        place_order()
        event = Event.objects.get(type="order.created")

        assert "nobody asked for it" in staff.get(EVENTS).content.decode()
        assert "no subscription asked for <code>order.created</code>" in (
            staff.get(f"{EVENTS}{event.pk}/change/").content.decode()
        )

    def test_name_the_condition_that_kept_one_back(self, staff: Client, receiver: Receiver, now: datetime) -> None:
        tills = [{"field": "channel", "operator": "eq", "value": "pos"}]
        make_subscription(receiver.url, now=now, name="Tills", conditions=tills)
        make_subscription(receiver.url, now=now, name="Stock", event_types=["inventory.*"])
        order = place_order()
        event = Event.objects.get(type="order.created")
        words = "Tills is told only if channel is &quot;pos&quot;; here it is &quot;web&quot;."

        for page in (f"{EVENTS}{event.pk}/change/", f"/admin/orders/order/{order.pk}/change/"):
            assert words in staff.get(page).content.decode()
            assert "no subscription asked for" not in staff.get(page).content.decode()

        # What it asked for then is not known any more.
        Subscription.objects.update(wants_since=now + timedelta(minutes=1))
        assert words not in staff.get(f"{EVENTS}{event.pk}/change/").content.decode()

    def test_cost_the_same_with_many(
        self, staff: Client, subscription: Subscription, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        make_deliveries(subscription, 60)

        staff.get(EVENTS)
        with django_assert_num_queries(4):
            staff.get(EVENTS)

    def test_are_found_exactly(self, staff: Client, failed: Delivery) -> None:
        for term in (failed.label, failed.event.public_id):
            assert failed.event in staff.get(EVENTS, {"q": term}).context["cl"].result_list

    def test_are_read_only(self, staff: Client, failed: Delivery) -> None:
        assert staff.get(f"{EVENTS}add/").status_code == 403
        assert staff.get(f"{EVENTS}{failed.event_id}/delete/").status_code == 403
        assert staff.get(f"{EVENTS}999999/change/").status_code == 404
        assert log_in_with("view_delivery").get(f"{EVENTS}{failed.event_id}/change/").status_code == 403
