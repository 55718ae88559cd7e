"""The switches of a subscription: pausing, resuming, disabling and deleting it."""

import html
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from tests.factories import place_order
from tests.receiver import Receiver
from tests.webhooks.admin.conftest import log_in_with, send_all
from tests.webhooks.admin.pages import page_of
from webhooks import subscriptions
from webhooks.models import Replay, Subscription
from webhooks.signing import public_key

pytestmark = pytest.mark.django_db


class TestTheSwitches:
    def test_pause_and_resume(self, staff: Client, subscription: Subscription) -> None:
        staff.post(page_of(subscription, "pause"))
        subscription.refresh_from_db()
        assert (subscription.state, subscription.state_changed_by) == ("paused", "ann")

        staff.post(page_of(subscription, "resume"))
        subscription.refresh_from_db()
        assert subscription.state == "active"
        assert LogEntry.objects.count() == 2

    @pytest.mark.parametrize(
        ("wished", "becomes"), [({}, "each subject in order."), ({"leave_skipped": "1"}, "is not: recover it")]
    )
    def test_resume_says_what_becomes_of_what_was_skipped(
        self, staff: Client, subscription: Subscription, wished: dict[str, str], becomes: str
    ) -> None:
        page = staff.post(page_of(subscription, "disable"), {"reason": "moved away"}, follow=True)
        assert "Resume without what was skipped" in page.content.decode()
        place_order()

        page = staff.post(page_of(subscription, "resume"), wished, follow=True)

        disabled_at = Subscription.objects.get().state_changed_at
        shown = html.unescape(page.content.decode())
        assert f"was skipped while it was disabled, since {disabled_at:%Y-%m-%d %H:%M} UTC, {becomes}" in shown
        assert Replay.objects.exists() is not bool(wished)

    def test_disable_keeps_the_reason(self, staff: Client, subscription: Subscription) -> None:
        page = staff.post(page_of(subscription, "disable"), {"reason": "moved away"}, follow=True)

        subscription.refresh_from_db()
        assert (subscription.state, subscription.state_reason) == ("disabled", "moved away")
        assert "“moved away”" in page.content.decode()

    def test_a_new_secret_is_shown_and_the_old_one_lives_on(
        self, staff: Client, subscription: Subscription, now: datetime
    ) -> None:
        old = subscription.secrets[0]["secret"]

        page = staff.post(page_of(subscription, "rotate-secret"), follow=True).content.decode()

        subscription.refresh_from_db()
        new, kept = subscription.live_secrets(now=now)
        assert kept == old
        assert new in page
        assert old not in page
        assert f"{subscription} has a new secret" in page
        assert subscription.live_secrets(now=now + timedelta(hours=25)) == [new]

    def test_old_secrets_are_shown_by_age_and_end_until_they_are_revoked(
        self, staff: Client, subscription: Subscription, now: datetime
    ) -> None:
        newest = subscriptions.rotate_secret(subscription, now=now)

        before = staff.get(page_of(subscription)).content.decode()
        after = staff.post(page_of(subscription, "revoke-old-secrets"), follow=True).content.decode()

        subscription.refresh_from_db()
        assert subscription.live_secrets(now=now) == [newest]
        assert (before.count("the secret made"), after.count("the secret made")) == (2, 1)
        assert ("which ends" in before, "which ends" in after) == (True, False)
        assert ("Revoke them now" in before, "Revoke them now" in after) == (True, False)
        assert "whsec_" not in before + after

    def test_a_key_pair_takes_over_and_its_public_key_is_shown(self, staff: Client, subscription: Subscription) -> None:
        ready = staff.post(page_of(subscription, "rotate-secret"), {"signature": "v1a"}, follow=True).content.decode()
        page = staff.get(page_of(subscription)).content.decode()

        subscription.refresh_from_db()
        public = public_key(subscription.secrets[0]["secret"])
        assert f'value="{public}"' in ready
        assert "Give the receiver this public key" in ready
        assert f"<code>{public}</code>" in page
        assert '<option value="v1a" selected>' in page
        assert "whsk_" not in ready + page

    def test_the_python_shown_for_a_key_pair_verifies_a_delivery(
        self, staff: Client, receiver: Receiver, subscription: Subscription
    ) -> None:
        page = staff.post(page_of(subscription, "rotate-secret"), {"signature": "v1a"}, follow=True).content.decode()
        snippet = html.unescape(page.partition('aria-label="Verify in Python">')[2].partition("</pre>")[0])
        place_order()
        send_all()

        shown: dict[str, Any] = {}
        exec(snippet, shown)  # noqa: S102
        [received] = receiver.received
        subscription.refresh_from_db()
        public = public_key(subscription.secrets[0]["secret"])
        assert shown["is_genuine"](received.body, received.headers, public) is True
        assert shown["is_genuine"](received.body + b" ", received.headers, public) is False
        assert shown["is_genuine"](received.body, received.headers | {"webhook-timestamp": "1"}, public) is False

    def test_a_kind_of_signature_that_is_not_there_keeps_the_one_it_has(
        self, staff: Client, subscription: Subscription
    ) -> None:
        staff.post(page_of(subscription, "rotate-secret"), {"signature": "v9"})

        subscription.refresh_from_db()
        assert [kept["secret"][:6] for kept in subscription.secrets] == ["whsec_", "whsec_"]

    def test_what_does_not_fit_the_state_is_refused_in_words(self, staff: Client, subscription: Subscription) -> None:
        page = staff.post(page_of(subscription, "resume"), follow=True)

        assert "Warehouse system is active, not paused or disabled." in page.content.decode()
        assert LogEntry.objects.count() == 0

    @pytest.mark.parametrize(
        "verb", ["pause", "resume", "disable", "rotate-secret", "revoke-old-secrets", "test", "doctor"]
    )
    def test_they_are_posts_for_those_who_may_change_it(
        self, staff: Client, subscription: Subscription, verb: str
    ) -> None:
        onlooker = log_in_with("view_subscription", "add_subscription")

        assert staff.get(page_of(subscription, verb)).status_code == 405
        assert onlooker.post(page_of(subscription, verb)).status_code == 403
        subscription.refresh_from_db()
        assert (subscription.state, len(subscription.secrets)) == ("active", 1)
