"""Real receivers, each with its own fault; what the doctor finds, and what it says to do."""

import base64
import hashlib
import hmac
import json
import socket
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests
import standardwebhooks
import trustme
from django.contrib.auth.models import User
from pytest_django.fixtures import Settings

from tests import receiver as misbehaving
from tests.receiver import Answer, Received, Receiver, Reply, redirect, running_receiver
from tests.webhooks.factories import make_subscription
from webhooks import doctor, guard, subscriptions
from webhooks.doctor import Check, Finding
from webhooks.models import Delivery, Event, Subscription

pytestmark = pytest.mark.django_db

PROBES = [Check.GOOD, Check.TAMPERED, Check.STALE, Check.REPEATED]
OF_HTTP = [Check.NAME, Check.REDIRECTS, Check.LATENCY, *PROBES]
Script = Callable[[Received], Reply]


def verifying(subscription: Subscription) -> Script:
    """A receiver as it should be, by a library that is not ours."""
    library = standardwebhooks.Webhook(subscription.secrets[0]["secret"])

    def script(received: Received) -> Reply:
        try:
            library.verify(received.body, received.headers)
        except standardwebhooks.WebhookVerificationError:
            return Answer(401)
        return Answer()

    return script


def ignoring_timestamps(subscription: Subscription) -> Script:
    key = base64.b64decode(subscription.secrets[0]["secret"].removeprefix("whsec_"))

    def script(received: Received) -> Reply:
        signed = f"{received.headers['webhook-id']}.{received.headers['webhook-timestamp']}.".encode() + received.body
        expected = "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
        return Answer(200 if expected == received.headers["webhook-signature"] else 401)

    return script


@pytest.fixture
def subscription(receiver: Receiver) -> Subscription:
    made = make_subscription(receiver.url, headers={"x-api-key": "k1"})
    receiver.script = verifying(made)
    return made


@pytest.fixture
def authority(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> trustme.CA:
    """The only one we trust."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setattr(requests.adapters, "DEFAULT_CA_BUNDLE_PATH", str(tmp_path / "authority.pem"))
    return authority


def examine(subscription: Subscription) -> list[Finding]:
    return doctor.examine(subscription, by="ann", now=datetime.now(UTC))


def failed(findings: list[Finding]) -> dict[Check, str]:
    return {finding.check: finding.words for finding in findings if not finding.ok}


class TestOfAReceiverThatVerifies:
    def test_all_is_well(self, receiver: Receiver, subscription: Subscription) -> None:
        findings = examine(subscription)

        assert [finding.check for finding in findings] == OF_HTTP
        assert failed(findings) == {}
        assert len(receiver.received) == 5
        assert findings[0].words == "It is an address by itself."

    def test_each_probe_is_what_it_says(self, receiver: Receiver, subscription: Subscription, now: datetime) -> None:
        doctor.examine(subscription, by="ann", now=now)

        _, _, stale, first, copy = receiver.received
        bodies = [json.loads(received.body) for received in receiver.received]
        assert {body["type"] for body in bodies} == {"webhook.test"}
        assert {body["data"]["requested_by"] for body in bodies} == {"ann"}
        assert [received.headers["webhook-id"] for received in receiver.received] == [body["id"] for body in bodies]
        assert len({body["id"] for body in bodies}) == 4
        assert all(received.headers["x-api-key"] == "k1" for received in receiver.received)
        assert bodies[1]["data"]["message"] == "This is not what was signed."
        assert int(stale.headers["webhook-timestamp"]) == int((now - timedelta(hours=1)).timestamp())
        assert (first.body, first.headers["webhook-id"]) == (copy.body, copy.headers["webhook-id"])
        assert (first.headers["webhook-attempt"], copy.headers["webhook-attempt"]) == ("1", "2")

    def test_nothing_is_recorded(self, subscription: Subscription) -> None:
        before = Subscription.objects.values().get()

        examine(subscription)

        assert not Event.objects.exists()
        assert not Delivery.objects.exists()
        assert Subscription.objects.values().get() == before

    def test_while_a_secret_is_replaced(self, receiver: Receiver, subscription: Subscription, now: datetime) -> None:
        subscriptions.rotate_secret(subscription, now=now)

        assert failed(examine(subscription)) == {}

    @pytest.mark.parametrize("state", ["paused", "disabled"])
    def test_while_it_is_told_nothing(self, subscription: Subscription, state: str) -> None:
        Subscription.objects.update(state=state)
        subscription.refresh_from_db()

        assert failed(examine(subscription)) == {}


class TestOfAReceiverThatDoesNot:
    def test_verify_anything(self, receiver: Receiver, subscription: Subscription) -> None:
        receiver.script = lambda _: Answer()

        findings = examine(subscription)

        assert [finding.check for finding in findings] == OF_HTTP
        assert set(failed(findings)) == {Check.TAMPERED, Check.STALE}
        assert "anybody can forge events" in failed(findings)[Check.TAMPERED]
        assert "signed an hour ago" in failed(findings)[Check.STALE]

    def test_look_at_the_timestamp(self, receiver: Receiver, subscription: Subscription) -> None:
        receiver.script = ignoring_timestamps(subscription)

        assert set(failed(examine(subscription))) == {Check.STALE}

    @pytest.mark.parametrize("status", [500, 302, 429])
    def test_refuse_but_breaks(self, receiver: Receiver, subscription: Subscription, status: int) -> None:
        verify = verifying(subscription)
        receiver.script = lambda received: Answer(status if verify(received) == Answer(401) else 200)

        wrong = failed(examine(subscription))

        assert set(wrong) == {Check.TAMPERED, Check.STALE}
        assert all("did not refuse it either" in words and "Answer 401" in words for words in wrong.values())

    def test_take_the_copy(self, receiver: Receiver, subscription: Subscription) -> None:
        verify, seen = verifying(subscription), set()

        def script(received: Received) -> Reply:
            if received.headers["webhook-id"] in seen:
                return Answer(409)
            seen.add(received.headers["webhook-id"])
            return verify(received)

        receiver.script = script

        wrong = failed(examine(subscription))

        assert set(wrong) == {Check.REPEATED}
        assert wrong[Check.REPEATED].startswith("It did not accept the copy. The receiver refused it with 409.")

    def test_have_the_secret(self, receiver: Receiver, subscription: Subscription) -> None:
        receiver.script = lambda _: Answer(401)

        findings = examine(subscription)

        assert [finding.check for finding in findings] == [Check.NAME, Check.REDIRECTS, Check.LATENCY, Check.GOOD]
        assert "verify the raw bytes" in failed(findings)[Check.GOOD]
        assert len(receiver.received) == 1

    def test_work_at_all(self, receiver: Receiver, subscription: Subscription) -> None:
        receiver.script = lambda _: Answer(500)

        wrong = failed(examine(subscription))

        assert wrong == {Check.GOOD: "The receiver failed with 500. Look into the receiver's own log."}

    def test_answer_quickly(
        self, receiver: Receiver, subscription: Subscription, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(doctor, "SLOW_MS", 100)
        receiver.answers = [Answer(delay_s=0.2)]

        findings = examine(subscription)

        assert set(failed(findings)) == {Check.LATENCY}
        assert "after 15 s we give up" in failed(findings)[Check.LATENCY]
        assert [finding.check for finding in findings] == OF_HTTP

    def test_answer_in_http(self, receiver: Receiver, subscription: Subscription) -> None:
        receiver.script = lambda _: misbehaving.NOT_HTTP

        findings = examine(subscription)

        assert [finding.check for finding in findings] == [Check.NAME, Check.GOOD]
        assert "Check what really listens" in failed(findings)[Check.GOOD]

    def test_stay_at_its_address(self, receiver: Receiver, subscription: Subscription) -> None:
        with running_receiver() as elsewhere:
            receiver.script = lambda _: redirect(elsewhere.url)

            findings = examine(subscription)

        assert [finding.check for finding in findings] == [Check.NAME, Check.REDIRECTS]
        assert elsewhere.url in failed(findings)[Check.REDIRECTS]
        assert "Put the final address into the callback URL" in failed(findings)[Check.REDIRECTS]
        assert elsewhere.received == []

    def test_listen(self, subscription: Subscription) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            subscription.url = f"http://127.0.0.1:{server.getsockname()[1]}/"

        wrong = failed(examine(subscription))

        assert set(wrong) == {Check.GOOD}
        assert "does not accept connections" in wrong[Check.GOOD]


class TestOfAnAddress:
    def test_that_no_name_leads_to(self, subscription: Subscription) -> None:
        subscription.url = "https://nowhere.invalid/webhooks"

        [finding] = examine(subscription)

        assert (finding.check, finding.ok) == (Check.NAME, False)
        assert "nowhere.invalid cannot be found" in finding.words
        assert "Check the spelling" in finding.words

    def test_that_must_not_be_called(self, receiver: Receiver, subscription: Subscription, settings: Settings) -> None:
        settings.WEBHOOK_ALLOWED_NETWORKS = []

        [finding] = examine(subscription)

        assert (finding.check, finding.ok) == (Check.NAME, False)
        assert "not a public address" in finding.words
        assert receiver.connections == 0

    def test_that_turns_forbidden_after_the_first_look(
        self, receiver: Receiver, subscription: Subscription, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        resolve = guard.resolve

        def resolve_once(*args: object, **named: object) -> object:
            found = resolve(*args, **named)  # type: ignore[arg-type]
            settings.WEBHOOK_ALLOWED_NETWORKS = []
            return found

        monkeypatch.setattr(guard, "resolve", resolve_once)

        wrong = failed(examine(subscription))

        assert set(wrong) == {Check.GOOD}
        assert "not a public address" in wrong[Check.GOOD]
        assert receiver.connections == 0

    def test_of_a_draft_is_not_called(self, receiver: Receiver) -> None:
        draft = subscriptions.start_draft(User.objects.create_user("ann"))
        draft.url = receiver.url

        with pytest.raises(subscriptions.SubscriptionConflict, match="is a draft"):
            examine(draft)

        assert receiver.connections == 0


class TestOfACertificate:
    def over_tls(self, subscription: Subscription, certificate: trustme.LeafCert) -> list[Finding]:
        """What is found of the same receiver behind this certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        with running_receiver(context) as receiver:
            receiver.script = verifying(subscription)
            subscription.url = receiver.url
            return examine(subscription)

    def test_that_is_good(self, subscription: Subscription, authority: trustme.CA, now: datetime) -> None:
        ends = now + timedelta(days=90, hours=1)

        findings = self.over_tls(subscription, authority.issue_cert("127.0.0.1", not_after=ends))

        assert [finding.check for finding in findings] == [Check.NAME, Check.TLS, *OF_HTTP[1:]]
        assert failed(findings) == {}
        assert findings[1].words == f"The certificate is valid until {ends:%Y-%m-%d}, for 90 more days."

    def test_that_ends_soon(self, subscription: Subscription, authority: trustme.CA, now: datetime) -> None:
        ends = now + timedelta(days=13, hours=1)

        findings = self.over_tls(subscription, authority.issue_cert("127.0.0.1", not_after=ends))

        assert set(failed(findings)) == {Check.TLS}
        assert "for 13 more days. Renew it now" in failed(findings)[Check.TLS]
        assert [finding.check for finding in findings[-4:]] == PROBES

    def test_that_has_expired(self, subscription: Subscription, authority: trustme.CA) -> None:
        ended = datetime(2020, 1, 1, tzinfo=UTC)

        findings = self.over_tls(subscription, authority.issue_cert("127.0.0.1", not_after=ended))

        assert [finding.check for finding in findings] == [Check.NAME, Check.TLS]
        assert "certificate has expired" in failed(findings)[Check.TLS]
        assert "Renew or complete" in failed(findings)[Check.TLS]

    @pytest.mark.usefixtures("authority")
    def test_of_an_authority_nobody_knows(self, subscription: Subscription) -> None:
        findings = self.over_tls(subscription, trustme.CA().issue_cert("127.0.0.1"))

        assert set(failed(findings)) == {Check.TLS}

    def test_for_another_name(self, subscription: Subscription, authority: trustme.CA) -> None:
        findings = self.over_tls(subscription, authority.issue_cert("shop.example"))

        assert set(failed(findings)) == {Check.TLS}

    def test_where_no_tls_is_spoken(self, receiver: Receiver, subscription: Subscription) -> None:
        subscription.url = receiver.url.replace("http:", "https:")

        wrong = failed(examine(subscription))

        assert set(wrong) == {Check.TLS}
        assert receiver.received == []
