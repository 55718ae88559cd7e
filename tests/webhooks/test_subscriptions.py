import json
import math
from datetime import datetime, timedelta
from typing import Any

import pytest
from pytest_django.fixtures import Settings

from tests import receiver as misbehaving
from tests.receiver import Answer, Receiver
from tests.webhooks.factories import NOWHERE, crank, happen, make_subscription
from webhooks import subscriptions, transport
from webhooks.models import Attempt, Delivery, Event, Subscription
from webhooks.subscriptions import InvalidSubscription, SubscriptionConflict

pytestmark = pytest.mark.django_db


def refuse(field: str, match: str, **wishes: Any) -> None:
    """Making it is refused, the reason names `field`, and nothing is kept."""
    with pytest.raises(InvalidSubscription, match=match) as refusal:
        make_subscription(**wishes)

    assert refusal.value.field == field
    assert refusal.value.errors == [{"field": field, "code": "invalid", "detail": str(refusal.value)}]
    assert not Subscription.objects.exists()


class TestCreate:
    def test_makes_an_active_one_with_a_secret(self, now: datetime) -> None:
        made = subscriptions.create(
            name="ERP",
            url=NOWHERE,
            event_types=["order.*"],
            headers={"x-api-key": "k1"},
            by="ann",
            now=now,
            max_in_flight=3,
        )

        kept = Subscription.objects.get()
        assert kept == made
        assert (kept.state, kept.state_changed_by, kept.state_changed_at) == ("active", "ann", now)
        assert (kept.headers, kept.max_in_flight) == ({"x-api-key": "k1"}, 3)
        [secret] = kept.live_secrets(now=now)
        assert secret.startswith("whsec_")

    def test_gives_each_its_own_secret(self) -> None:
        assert make_subscription().secrets != make_subscription().secrets

    def test_of_a_draft_changes_nothing_until_it_is_right(self, now: datetime) -> None:
        draft = Subscription.objects.create(url="http://10.0.0.1/", event_types=["*"])

        with pytest.raises(InvalidSubscription):
            subscriptions.activate(draft, by="ann", now=now)

        draft.refresh_from_db()
        assert (draft.state, draft.secrets) == ("draft", [])


class TestUrl:
    @pytest.mark.parametrize(
        "url",
        [
            "",
            "shop",
            "//127.0.0.1/",
            "127.0.0.1/webhooks",
            "ftp://127.0.0.1/",
            "file:///etc/passwd",
            "javascript:alert(1)",
            "http://",
            "http:///webhooks",
            "http://:8000/",
            "http://127.0.0.1:0/",
        ],
    )
    def test_must_be_a_full_http_address(self, url: str) -> None:
        refuse("url", "begins with https://", url=url)

    @pytest.mark.parametrize(
        "url", ["http://127.0.0.1:port/", "http://127.0.0.1:99999/", "http://[::1/", "http://[x]/"]
    )
    def test_must_be_readable(self, url: str) -> None:
        refuse("url", "cannot be read", url=url)

    @pytest.mark.parametrize("url", ["http://ann:pw@127.0.0.1/", "http://ann@127.0.0.1/", "http://:pw@127.0.0.1/"])
    def test_must_not_hold_credentials(self, url: str) -> None:
        refuse("url", "credentials in a header", url=url)

    def test_must_not_have_a_fragment(self) -> None:
        refuse("url", "after #", url="http://127.0.0.1/#top")

    @pytest.mark.parametrize(
        "url",
        [
            "http://127.0.0.1/a b",
            "http://127.0.0.1/\r\nx: 1",
            " http://127.0.0.1/",
            "http://127.0.0.1/\x00",
            "http://127.0.0.1\t/",
        ],
    )
    def test_must_not_have_spaces_or_line_breaks(self, url: str) -> None:
        refuse("url", "without spaces", url=url)

    def test_must_fit_its_column(self) -> None:
        refuse("url", "at most 2000", url="http://127.0.0.1/" + "a" * 1984)
        make_subscription("http://127.0.0.1/" + "a" * 1983)

    @pytest.mark.parametrize("url", ["http://nowhere.invalid/", "http://" + "a" * 64 + ".example/", "http://.../"])
    def test_must_resolve(self, url: str) -> None:
        refuse("url", "cannot be found", url=url)

    @pytest.mark.parametrize(
        "url",
        [
            "http://10.0.0.1/",
            "https://169.254.169.254/latest/meta-data/",
            "http://[fd00::1]/",
            "http://[::ffff:192.168.0.1]:8000/",
            "http://0x0a000001/",
            "http://167772161/",
        ],
    )
    def test_must_not_lead_to_a_network_nobody_allowed(self, url: str) -> None:
        refuse("url", "not a public address", url=url)

    def test_must_be_https_on_the_public_internet(self, settings: Settings) -> None:
        settings.DEBUG = False

        refuse("url", "use https", url="http://8.8.8.8/")
        make_subscription("https://8.8.8.8/")


class TestEventTypes:
    def test_must_be_chosen(self) -> None:
        refuse("event_types", "at least one", event_types=[])

    def test_must_exist(self) -> None:
        refuse(
            "event_types",
            r"no event called order\.lost, custmer\.\*",
            event_types=["order.*", "order.lost", "custmer.*"],
        )

    @pytest.mark.parametrize("choice", ["*", "order.*", "order.created", "webhook.test"])
    def test_may_be_names_groups_or_everything(self, choice: str) -> None:
        assert make_subscription(event_types=[choice]).event_types == [choice]


class TestHeaders:
    @pytest.mark.parametrize(
        "name",
        [
            *(
                "webhook-id",
                "Webhook-Signature",
                "webhook-anything",
                "content-type",
                "Content-Length",
                "content-encoding",
            ),
            *(
                "host",
                "Host",
                "user-agent",
                "connection",
                "transfer-encoding",
                "accept-encoding",
                "expect",
                "te",
                "upgrade",
            ),
        ],
    )
    def test_must_not_be_ours(self, name: str) -> None:
        refuse("headers", "set by the engine", headers={name: "x"})

    @pytest.mark.parametrize("name", ["", " ", "x key", "x:key", "x\r\nkey", "schlüssel", "x-key ", "(x)", "x\x00"])
    def test_must_have_token_names(self, name: str) -> None:
        refuse("headers", "is not a header name", headers={name: "x"})

    @pytest.mark.parametrize(
        "value",
        ["a\r\nb: c", "a\nb", "Käse", "\x00", "\x7f", "x" * 4097, 5, None, ["x"], " leading", "trailing ", "\ttab"],
        ids=lambda value: repr(value)[:12],
    )
    def test_must_be_one_line_of_plain_text(self, value: Any) -> None:
        refuse("headers", "one line of plain ASCII", headers={"x-key": value})

    def test_must_be_twenty_at_most(self) -> None:
        refuse("headers", "At most 20", headers={f"x-{n}": "v" for n in range(21)})

    def test_must_be_given_once(self) -> None:
        refuse("headers", "once only", headers={"X-Key": "a", "x-key": "b"})

    @pytest.mark.django_db(transaction=True)
    @pytest.mark.parametrize("value", ["", "k", "Bearer a b", "!~", "x" * 4096], ids=lambda value: value[:10])
    def test_that_are_accepted_can_be_sent(self, value: str, receiver: Receiver) -> None:
        make_subscription(receiver.url, headers={"Authorization": value})

        happen()
        crank()

        assert receiver.received[0].headers["authorization"] == value
        [shown] = [value for name, value in Attempt.objects.get().request_headers if name == "Authorization"]
        assert shown == transport.MASK


class TestRetrySchedule:
    @pytest.mark.parametrize("steps", [[], [1] * 51])
    def test_must_have_one_to_fifty_steps(self, steps: list[float]) -> None:
        refuse("retry_schedule", "between 1 and 50", retry_schedule=steps)

    @pytest.mark.parametrize("step", [0, -1, 0.5, 604_801, math.nan, math.inf, True, "5", None, [5]])
    def test_must_be_of_one_second_to_a_week(self, step: Any) -> None:
        refuse("retry_schedule", "1 to 604800 seconds", retry_schedule=[5, step])

    def test_may_be_absent_or_short(self) -> None:
        assert make_subscription(retry_schedule=None).max_attempts == 10
        assert make_subscription(retry_schedule=[1, 604_800]).max_attempts == 3


class TestStates:
    @pytest.fixture
    def subscription(self) -> Subscription:
        return make_subscription()

    def states(self, subscription: Subscription) -> tuple[str, str, str]:
        subscription.refresh_from_db()
        return subscription.state, subscription.state_reason, subscription.state_changed_by

    def test_tell_who_why_and_when(self, subscription: Subscription, now: datetime) -> None:
        later = now + timedelta(minutes=1)

        subscriptions.pause(subscription, by="ben", now=later, reason="Maintenance")
        assert self.states(subscription) == ("paused", "Maintenance", "ben")
        assert subscription.state_changed_at == later

        subscriptions.resume(subscription, by="cat", now=later)
        assert self.states(subscription) == ("active", "", "cat")

        subscriptions.disable(subscription, by="dan", now=later, reason="Sold")
        assert self.states(subscription) == ("disabled", "Sold", "dan")

        subscriptions.resume(subscription, by="eve", now=later)
        assert self.states(subscription) == ("active", "", "eve")

    def test_refuse_verbs_that_do_not_fit(self, subscription: Subscription, now: datetime) -> None:
        def disable(subscription: Subscription, *, by: str, now: datetime) -> None:
            subscriptions.disable(subscription, by=by, now=now, reason="x")

        verbs: set[Any] = {subscriptions.pause, subscriptions.resume, disable}
        fits: dict[str, set[Any]] = {
            "draft": set(),
            "active": {subscriptions.pause, disable},
            "paused": {subscriptions.resume, disable},
            "disabled": {subscriptions.resume},
        }
        for state, allowed in fits.items():
            for verb in verbs - allowed:
                Subscription.objects.update(state=state)
                subscription.refresh_from_db()
                with pytest.raises(SubscriptionConflict, match=f"ERP is {state}, not"):
                    verb(subscription, by="ben", now=now)
                assert self.states(subscription) == (state, "", "ann")

    def test_check_the_address_again_before_resuming(
        self, subscription: Subscription, now: datetime, settings: Settings
    ) -> None:
        subscriptions.pause(subscription, by="ben", now=now)
        settings.WEBHOOK_ALLOWED_NETWORKS = []

        with pytest.raises(InvalidSubscription):
            subscriptions.resume(subscription, by="ben", now=now)

        assert self.states(subscription)[0] == "paused"

    def test_keep_the_secret_when_resumed(self, subscription: Subscription, now: datetime) -> None:
        before = subscription.secrets

        subscriptions.pause(subscription, by="ben", now=now)
        subscriptions.resume(subscription, by="ben", now=now)

        assert Subscription.objects.get().secrets == before

    def test_change_without_undoing_what_somebody_else_changed(self, subscription: Subscription, now: datetime) -> None:
        seen_earlier = Subscription.objects.get()
        secret = subscriptions.rotate_secret(subscription, now=now)

        subscriptions.pause(seen_earlier, by="ben", now=now)

        assert Subscription.objects.get().live_secrets(now=now)[0] == secret


@pytest.mark.django_db(transaction=True)
class TestSendTest:
    def test_sends_at_once_to_this_one_only_and_shows_the_answer(self, receiver: Receiver, now: datetime) -> None:
        subscription = make_subscription(receiver.url, event_types=["order.*"])
        make_subscription(receiver.url, name="another")
        receiver.answers = [Answer(202, body=b"thanks")]

        delivery = subscriptions.send_test(subscription, by="ann", now=now)

        [received] = receiver.received
        body = json.loads(received.body)
        assert (body["type"], body["subject"]) == ("webhook.test", subscription.public_id)
        assert body["data"]["requested_by"] == "ann"
        assert (delivery.state, delivery.last_status_code) == ("delivered", 202)
        assert delivery.attempts.get().response_body == "thanks"
        assert Delivery.objects.count() == 1

    def test_shows_a_failure_and_goes_on_trying(self, receiver: Receiver, now: datetime) -> None:
        subscription = make_subscription(receiver.url)
        receiver.answers = [misbehaving.HANG_UP]

        delivery = subscriptions.send_test(subscription, by="ann", now=now)

        assert (delivery.state, delivery.last_reason, delivery.attempt_count) == ("pending", "bad_response", 1)
        assert delivery.next_attempt_at is not None
        assert delivery.next_attempt_at > now + timedelta(seconds=4)

    def test_refuses_one_that_is_not_active(self, receiver: Receiver, now: datetime) -> None:
        subscription = make_subscription(receiver.url)
        subscriptions.pause(subscription, by="ann", now=now)

        with pytest.raises(SubscriptionConflict):
            subscriptions.send_test(subscription, by="ann", now=now)

        assert receiver.received == []
        assert not Event.objects.exists()
