import base64
from datetime import datetime, timedelta
from typing import Any

import pytest
import standardwebhooks
import svix
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tests.receiver import Received, Receiver
from tests.webhooks.factories import NOWHERE, crank, happen, make_subscription
from webhooks import subscriptions
from webhooks.models import Subscription
from webhooks.signing import Scheme
from webhooks.subscriptions import KeyInUse, SubscriptionConflict

pytestmark = pytest.mark.django_db


class TestRotateSecret:
    def test_puts_the_new_one_first_and_keeps_the_old_for_a_day(self, now: datetime) -> None:
        subscription = make_subscription()
        [old] = subscription.live_secrets(now=now)

        new = subscriptions.rotate_secret(subscription, now=now)

        kept = Subscription.objects.get()
        assert kept.live_secrets(now=now) == [new, old]
        assert kept.live_secrets(now=now + timedelta(hours=23, minutes=59)) == [new, old]
        assert kept.live_secrets(now=now + timedelta(hours=24)) == [new]
        assert subscription.secrets == kept.secrets

    def test_twice_does_not_lengthen_the_life_of_the_first(self, now: datetime) -> None:
        subscription = make_subscription()
        [first] = subscription.live_secrets(now=now)
        second = subscriptions.rotate_secret(subscription, now=now)

        third = subscriptions.rotate_secret(subscription, now=now + timedelta(hours=12))

        assert subscription.live_secrets(now=now + timedelta(hours=23)) == [third, second, first]
        assert subscription.live_secrets(now=now + timedelta(hours=25)) == [third, second]
        assert subscription.live_secrets(now=now + timedelta(hours=37)) == [third]

    def test_forgets_what_has_expired(self, now: datetime) -> None:
        subscription = make_subscription()
        for day in range(5):
            subscriptions.rotate_secret(subscription, now=now + timedelta(days=2 * day))

        assert len(Subscription.objects.get().secrets) == 2

    @pytest.mark.django_db(transaction=True)
    @pytest.mark.parametrize("library", [standardwebhooks.Webhook, svix.Webhook])
    def test_fails_no_delivery_whichever_secret_the_receiver_has(
        self, library: Any, receiver: Receiver, now: datetime
    ) -> None:
        subscription = make_subscription(receiver.url)
        [old] = subscription.live_secrets(now=now)
        new = subscriptions.rotate_secret(subscription, now=now)

        happen()
        crank()

        [received] = receiver.received
        library(new).verify(received.body, received.headers)
        library(old).verify(received.body, received.headers)
        assert received.headers["webhook-signature"].count("v1,") == 2

    @pytest.mark.django_db(transaction=True)
    def test_ends_the_old_one_when_its_time_is_over(self, receiver: Receiver, now: datetime) -> None:
        subscription = make_subscription(receiver.url)
        [old] = subscription.live_secrets(now=now)
        subscriptions.rotate_secret(subscription, now=now, overlap=timedelta(0))

        happen()
        crank()

        [received] = receiver.received
        with pytest.raises(standardwebhooks.WebhookVerificationError):
            standardwebhooks.Webhook(old).verify(received.body, received.headers)


class TestRevokeOldSecrets:
    def test_leaves_only_the_newest(self, now: datetime) -> None:
        subscription = make_subscription()
        subscriptions.rotate_secret(subscription, now=now)
        newest = subscriptions.rotate_secret(subscription, now=now)

        subscriptions.revoke_old_secrets(subscription, now=now)

        assert Subscription.objects.get().live_secrets(now=now) == [newest]
        assert len(Subscription.objects.get().secrets) == 1
        assert subscription.live_secrets(now=now) == [newest]

    @pytest.mark.django_db(transaction=True)
    def test_signs_no_more_with_the_old_one(self, receiver: Receiver, now: datetime) -> None:
        subscription = make_subscription(receiver.url)
        [old] = subscription.live_secrets(now=now)
        new = subscriptions.rotate_secret(subscription, now=now)
        subscriptions.revoke_old_secrets(subscription, now=now)

        happen()
        crank()

        [received] = receiver.received
        standardwebhooks.Webhook(new).verify(received.body, received.headers)
        with pytest.raises(standardwebhooks.WebhookVerificationError):
            standardwebhooks.Webhook(old).verify(received.body, received.headers)

    @pytest.mark.parametrize("rotated_before", [None, timedelta(hours=25)], ids=["never", "long ago"])
    def test_refuses_when_there_is_no_other(self, rotated_before: timedelta | None, now: datetime) -> None:
        subscription = make_subscription()
        if rotated_before:
            subscriptions.rotate_secret(subscription, now=now - rotated_before)
        before = subscription.secrets

        with pytest.raises(SubscriptionConflict, match="ERP has one secret only"):
            subscriptions.revoke_old_secrets(subscription, now=now)

        assert Subscription.objects.get().secrets == before

    def test_judges_what_is_stored_not_what_was_seen(self, now: datetime) -> None:
        seen_earlier = make_subscription()
        newest = subscriptions.rotate_secret(Subscription.objects.get(), now=now)

        subscriptions.revoke_old_secrets(seen_earlier, now=now)

        assert Subscription.objects.get().live_secrets(now=now) == [newest]


class TestKeysInUse:
    def test_tell_age_and_end_of_those_that_sign(self, now: datetime) -> None:
        subscription = subscriptions.create(name="ERP", url=NOWHERE, event_types=["*"], headers={}, by="ann", now=now)
        rotated = now + timedelta(days=3)
        subscriptions.rotate_secret(subscription, now=rotated)

        assert subscriptions.keys_in_use(subscription, now=rotated) == [
            KeyInUse(Scheme.HMAC, None, created_at=rotated, expires_at=None),
            KeyInUse(Scheme.HMAC, None, created_at=now, expires_at=rotated + timedelta(hours=24)),
        ]
        assert subscriptions.keys_in_use(subscription, now=rotated + timedelta(hours=24)) == [
            KeyInUse(Scheme.HMAC, None, created_at=rotated, expires_at=None)
        ]


@pytest.mark.django_db(transaction=True)
class TestKeyPair:
    @staticmethod
    def entries(received: Received) -> list[str]:
        return [entry.partition(",")[0] for entry in received.headers["webhook-signature"].split(" ")]

    def test_signs_from_the_first_event_where_it_was_asked_for(self, receiver: Receiver, now: datetime) -> None:
        subscription = make_subscription(receiver.url, signature=Scheme.ED25519)
        [key] = subscriptions.keys_in_use(subscription, now=now)

        happen()
        crank()

        [received] = receiver.received
        public = Ed25519PublicKey.from_public_bytes(base64.b64decode(str(key.public_key).removeprefix("whpk_")))
        signed = f"{received.headers['webhook-id']}.{received.headers['webhook-timestamp']}.".encode() + received.body
        version, _, signature = received.headers["webhook-signature"].partition(",")
        public.verify(base64.b64decode(signature), signed)
        assert version == "v1a"

    def test_signs_beside_the_shared_secret_that_it_takes_over_from(self, receiver: Receiver, now: datetime) -> None:
        subscription = make_subscription(receiver.url)
        [shared] = subscription.live_secrets(now=now)
        subscriptions.rotate_secret(subscription, now=now, signature=Scheme.ED25519)

        happen()
        crank()
        subscriptions.revoke_old_secrets(subscription, now=now)
        happen()
        crank()

        beside, alone = receiver.received
        standardwebhooks.Webhook(shared).verify(beside.body, beside.headers)
        assert self.entries(beside) == ["v1a", "v1"]
        assert self.entries(alone) == ["v1a"]

    def test_is_kept_by_a_rotation_that_asks_for_nothing_else(self, receiver: Receiver, now: datetime) -> None:
        subscription = make_subscription(receiver.url, signature=Scheme.ED25519)

        subscriptions.rotate_secret(subscription, now=now)

        kinds = [key.signature for key in subscriptions.keys_in_use(subscription, now=now)]
        assert kinds == [Scheme.ED25519, Scheme.ED25519]
        subscriptions.rotate_secret(subscription, now=now, signature=Scheme.HMAC)
        assert subscriptions.keys_in_use(subscription, now=now)[0].signature == Scheme.HMAC
