"""Making good what a system has missed: from its page, by a count, to a confirmation."""

from datetime import datetime, timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from tests.factories import place_order
from tests.webhooks.admin.conftest import log_in_with
from webhooks import replay, subscriptions
from webhooks.models import Delivery, Replay, Subscription

pytestmark = pytest.mark.django_db


@pytest.fixture
def page(subscription: Subscription) -> str:
    return f"/admin/webhooks/subscription/{subscription.pk}/recover/"


@pytest.fixture
def since(now: datetime) -> str:
    return f"{now - timedelta(minutes=5):%Y-%m-%dT%H:%M}"


@pytest.fixture(autouse=True)
def _parked(subscription: Subscription) -> None:
    place_order()
    Delivery.objects.update(state="parked", next_attempt_at=None)


def test_is_offered_on_the_subscriptions_page(staff: Client, subscription: Subscription, page: str) -> None:
    shown = staff.get(f"/admin/webhooks/subscription/{subscription.pk}/change/").content.decode()

    assert f'href="{page}"' in shown


def test_counts_before_it_starts_and_starts_nothing_by_counting(staff: Client, page: str, since: str) -> None:
    shown = staff.get(page, {"kind": "failed", "since": since}).content.decode()

    assert "<strong>1</strong> delivery will go out" in shown
    assert not Replay.objects.exists()


def test_starts_when_confirmed_and_shows_how_far_it_is(staff: Client, page: str, since: str, now: datetime) -> None:
    answer = staff.post(page, {"kind": "failed", "since": since}, follow=True)

    assert "1 on their way, behind what happens now." in answer.content.decode()
    assert "0 of 1" in answer.content.decode()
    replay.advance_one(Replay.objects.get().pk, now=now)
    assert "1 of 1" in staff.get(page).content.decode()
    assert Delivery.objects.get().resent_by == "ann"
    assert LogEntry.objects.latest("id").get_change_message().startswith("Recovered 1 since ")


def test_says_when_there_is_nothing_to_send(staff: Client, page: str, since: str) -> None:
    shown = staff.get(page, {"kind": "missing", "since": since}).content.decode()

    assert "There is nothing to send" in shown
    assert "<strong>" not in shown.partition('id="content-main"')[2]


def test_sends_nothing_of_until_or_later(staff: Client, page: str, since: str, now: datetime) -> None:
    until = f"{now - timedelta(minutes=1):%Y-%m-%dT%H:%M}"

    shown = staff.get(page, {"kind": "failed", "since": since, "until": until}).content.decode()
    staff.post(page, {"kind": "failed", "since": since, "until": until})

    assert "There is nothing to send" in shown
    assert (Replay.objects.get().total, Replay.objects.get().until is None) == (0, False)


def test_refuses_to_end_before_it_begins(staff: Client, page: str, since: str) -> None:
    answer = staff.post(page, {"kind": "failed", "since": since, "until": since})

    assert "This is not after the moment it begins with." in answer.content.decode()
    assert not Replay.objects.exists()


def test_stops_one_that_is_under_way(staff: Client, page: str, since: str, now: datetime) -> None:
    staff.post(page, {"kind": "failed", "since": since})
    stop = f"{page}{Replay.objects.get().pk}/cancel/"
    assert f'action="{stop}"' in staff.get(page).content.decode()

    answer = staff.post(stop, follow=True).content.decode()
    again = staff.post(stop, follow=True).content.decode()
    replay.advance_one(Replay.objects.get().pk, now=now)

    assert "Stopped. What is on its way already goes out." in answer
    assert "0 of 1, stopped by ann" in answer
    assert "It has ended already." in again
    assert Delivery.objects.get().state == "parked"


def test_says_what_nobody_can_tell_any_more(staff: Client, page: str, since: str, now: datetime) -> None:
    Subscription.objects.update(pruned_from=now, pruned_until=now)

    shown = staff.get(page, {"kind": "missing", "since": since}).content.decode()

    assert "UTC are left out: deliveries of that time are forgotten" in shown


@pytest.mark.parametrize("junk", ["", "yesterday", "0000-00-00T00:00"])
def test_refuses_a_moment_that_is_none(staff: Client, page: str, junk: str) -> None:
    answer = staff.post(page, {"kind": "failed", "since": junk})

    assert answer.status_code == 200
    assert "errorlist" in answer.content.decode()
    assert not Replay.objects.exists()


def test_says_why_a_disabled_one_gets_nothing(
    staff: Client, subscription: Subscription, page: str, since: str, now: datetime
) -> None:
    subscriptions.disable(subscription, by="ann", now=now, reason="x")

    answer = staff.post(page, {"kind": "failed", "since": since}, follow=True)

    assert "is disabled: resume it first." in answer.content.decode()


def test_is_not_for_those_who_may_only_look(page: str, since: str) -> None:
    viewer = log_in_with("view_subscription")

    assert viewer.get(page).status_code == 403
    assert viewer.post(page, {"kind": "failed", "since": since}).status_code == 403
    assert viewer.post(f"{page}1/cancel/").status_code == 403
    assert not Replay.objects.exists()
