"""What stands at the address: who is let in, what is kept, and what is answered."""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from django.test import Client

from commerce.inbound import sources
from commerce.models import IdempotencyRecord, InboundMessage, InboundSource
from tests.inbound.conftest import make_source
from tests.inbound.senders import SECRETS, Sender, load, sign, sign_by_easypost_v2
from tests.rings import Rings
from webhooks.transport import MASK

pytestmark = pytest.mark.django_db

Connect = Callable[..., Sender]
# A body of each scheme, and the id its sender gives it.
BODY = {
    "standard": ("standard_tracking_updated", "msg_1"),
    "aftership": ("aftership_tracking_update", "3f645f5e-530b-4062-8695-db6a64420af8"),
    "easypost": ("easypost_tracker_updated", "evt_dd98161ae46711edaa3c130acadc8cfc"),
    "stripe": ("stripe_payment_intent_succeeded", "evt_stripe_payment_intent_succeeded"),
    "hmac": ("hmac_courier_event", "7d1c"),
}
SCHEMES = sorted(BODY)
DATED = ("standard", "stripe")


def refused(answer: Any, status: int, code: str) -> bool:
    problem = answer.json()
    return (answer.status_code, problem["code"]) == (status, code) and not InboundMessage.objects.exists()


@pytest.mark.parametrize("scheme", SCHEMES)
class TestEachScheme:
    def test_is_taken_in_by_its_own_signature_and_known_by_its_own_id(self, scheme: str, connect: Connect) -> None:
        name, sender_id = BODY[scheme]
        body = json.dumps(load(name)).encode()

        answer = connect(scheme).send(body)

        message = InboundMessage.objects.get()
        assert (answer.status_code, answer.json()) == (202, {"id": message.public_id, "state": "received"})
        assert (message.sender_id, bytes(message.body)) == (sender_id, body)
        assert message.source.scheme == scheme

    def test_refuses_a_body_that_was_tampered_with(self, scheme: str, connect: Connect) -> None:
        sender = connect(scheme)
        headers = sign(scheme, b'{"amount": 1}', at=sender.at)

        assert refused(sender.post(b'{"amount": 9}', headers), 401, "bad_signature")

    def test_refuses_the_secret_of_somebody_else(self, scheme: str, connect: Connect) -> None:
        sender = connect(scheme)
        stranger = "whsec_" + "A" * 32
        headers = sign(scheme, b"{}", at=sender.at, secret=stranger)

        assert refused(sender.post(b"{}", headers), 401, "bad_signature")

    def test_refuses_what_is_not_signed(self, scheme: str, connect: Connect) -> None:
        assert refused(connect(scheme).post(b"{}", {}), 401, "bad_signature")

    def test_refuses_a_signature_that_is_junk(self, scheme: str, connect: Connect) -> None:
        sender = connect(scheme)
        headers = dict.fromkeys(sign(scheme, b"{}", at=sender.at), "é\x80 ,=v1,")

        assert refused(sender.post(b"{}", headers), 401, "bad_signature")

    def test_lets_a_new_secret_in_beside_the_old_one(self, scheme: str, connect: Connect, now: datetime) -> None:
        sender = connect(scheme)
        new = "whsec_" + "B" * 32
        source = InboundSource.objects.get()
        sources.add_secret(source, new, now=now)

        first = sender.post(b'{"n": 1}', sign(scheme, b'{"n": 1}', at=sender.at, message_id="msg_1"))
        second = sender.post(b'{"n": 2}', sign(scheme, b'{"n": 2}', at=sender.at, secret=new, message_id="msg_2"))
        sources.remove_secret(source, 1)
        third = sender.post(b'{"n": 3}', sign(scheme, b'{"n": 3}', at=sender.at, message_id="msg_3"))

        assert [answer.status_code for answer in (first, second, third)] == [202, 202, 401]

    def test_shows_no_signature_in_the_log(self, scheme: str, connect: Connect) -> None:
        sender = connect(scheme)
        headers = sign(scheme, b"{}", at=sender.at) | {"Authorization": "Basic c2VjcmV0", "X-Trace": "t1"}

        sender.post(b"{}", headers)

        kept = dict(InboundMessage.objects.get().headers)
        shown = json.dumps(list(kept.values()))
        assert kept["Authorization"] == MASK
        assert kept["X-Trace"] == "t1"
        assert not any(value in shown for name, value in headers.items() if "ignature" in name or "hmac" in name)

    def test_is_kept_when_it_is_not_json(self, scheme: str, connect: Connect) -> None:
        body = b"\xff\x00 not json"

        assert connect(scheme).send(body).status_code == 202

        assert bytes(InboundMessage.objects.get().body) == body


@pytest.mark.parametrize("scheme", DATED)
class TestReplay:
    @pytest.mark.parametrize("age_s", [301, -301])
    def test_of_an_old_message_is_refused(self, scheme: str, age_s: int, connect: Connect, frozen: None) -> None:
        sender = connect(scheme)
        sender.at -= age_s

        assert refused(sender.send({}), 401, "bad_signature")

    @pytest.mark.parametrize("age_s", [299, -300])
    def test_of_one_that_is_just_young_enough_is_taken(
        self, scheme: str, age_s: int, connect: Connect, frozen: None
    ) -> None:
        sender = connect(scheme)
        sender.at -= age_s

        assert sender.send({}).status_code == 202

    @pytest.mark.parametrize("timestamp", ["", "now", "1e9", "²", "9" * 30, "-5"])
    def test_cannot_hide_behind_junk(self, scheme: str, timestamp: str, connect: Connect) -> None:
        sender = connect(scheme)
        headers = sign(scheme, b"{}", at=sender.at)
        dated = {name: value.replace(str(sender.at), timestamp) for name, value in headers.items()}

        assert refused(sender.post(b"{}", dated), 401, "bad_signature")

    def test_within_the_tolerance_is_a_copy(self, scheme: str, connect: Connect) -> None:
        sender = connect(scheme)
        body = json.dumps({"id": "evt_1"}).encode()
        headers = sign(scheme, body, at=sender.at)

        answers = [sender.post(body, headers) for _ in range(3)]

        assert {answer.json()["id"] for answer in answers} == {InboundMessage.objects.get().public_id}
        assert [answer.status_code for answer in answers] == [202] * 3
        assert InboundMessage.objects.get().copies == 2


class TestDatedSignatureOfEasyPost:
    BODY = json.dumps({"id": "evt_1"}).encode()

    def test_is_taken_beside_the_other_or_alone(self, connect: Connect) -> None:
        sender = connect("easypost")
        dated = sign_by_easypost_v2(self.BODY, at=sender.at)

        answers = [
            sender.post(self.BODY, dated),
            sender.post(self.BODY, dated | sign("easypost", self.BODY, at=sender.at)),
        ]

        assert [answer.status_code for answer in answers] == [202, 202]
        assert InboundMessage.objects.get().copies == 1

    @pytest.mark.parametrize("age_s", [301, -301])
    def test_refuses_a_replay_though_the_other_would_do(self, age_s: int, connect: Connect, frozen: None) -> None:
        sender = connect("easypost")
        headers = sign_by_easypost_v2(self.BODY, at=sender.at - age_s) | sign("easypost", self.BODY, at=sender.at)

        assert refused(sender.post(self.BODY, headers), 401, "bad_signature")

    @pytest.mark.parametrize(
        "changed",
        [
            {"X-Timestamp": "Tue, 19 Aug 2025 20:37:09 -0000"},
            {"X-Timestamp": "yesterday"},
            {"X-Timestamp": f"Tue, 19 Aug 2025 20:37:{'9' * 20} -0000"},
            {"X-Timestamp": "Tue, 99 Aug 99999 20:37:09 +9999"},
            {"X-Timestamp": ""},
            {"X-Path": "/elsewhere"},
            {"X-Path": ""},
            {"X-Hmac-Signature-V2": "hmac-sha256-hex=00"},
            {"X-Hmac-Signature-V2": "é\x80 ,=v1,"},
        ],
    )
    def test_refuses_what_was_tampered_with(self, changed: dict[str, str], connect: Connect) -> None:
        sender = connect("easypost")
        headers = sign_by_easypost_v2(self.BODY, at=sender.at) | sign("easypost", self.BODY, at=sender.at)

        assert refused(sender.post(self.BODY, headers | changed), 401, "bad_signature")

    def test_refuses_another_body(self, connect: Connect) -> None:
        sender = connect("easypost")
        headers = sign_by_easypost_v2(self.BODY, at=sender.at)

        assert refused(sender.post(b'{"id": "evt_2"}', headers), 401, "bad_signature")

    def test_is_not_shown_in_the_log(self, connect: Connect) -> None:
        sender = connect("easypost")

        sender.post(self.BODY, sign_by_easypost_v2(self.BODY, at=sender.at))

        assert dict(InboundMessage.objects.get().headers)["X-Hmac-Signature-V2"] == MASK


class TestIdentity:
    def test_of_a_message_without_one_is_the_hash_of_its_body(self, connect: Connect) -> None:
        sender = connect("aftership")

        for body in ({"event": "a"}, {"event": "a"}, {"event": "b"}):
            sender.send(body)

        assert InboundMessage.objects.count() == 2
        assert {len(each.sender_id) for each in InboundMessage.objects.all()} == {len("sha256:") + 64}

    @pytest.mark.parametrize("junk", [None, [], {}, True, "", "a b", "x" * 500, "ü", "a\x00b"])
    def test_that_is_junk_counts_as_none(self, junk: object, connect: Connect) -> None:
        assert connect("aftership").send({"event_id": junk}).status_code == 202

        assert InboundMessage.objects.get().sender_id.startswith("sha256:")

    def test_is_the_sources_own(self, connect: Connect) -> None:
        for scheme in ("aftership", "easypost"):
            connect(scheme).send({"id": "1", "event_id": "1"})

        assert InboundMessage.objects.count() == 2


class TestRefusal:
    @pytest.mark.django_db(transaction=True)
    def test_keeps_nothing_but_its_count_and_its_reason(self, connect: Connect, rings: Rings) -> None:
        sender = connect("stripe")

        for _ in range(2):
            sender.post(b"{}", {"Stripe-Signature": f"t={sender.at},v1=00"})

        source = InboundSource.objects.get()
        assert source.refused_count == 2
        assert source.refused_reason == "The signature is not that of any secret of this source."
        assert source.refused_at is not None
        assert not InboundMessage.objects.exists()
        assert rings() == []

    def test_of_an_unknown_source(self, client: Client) -> None:
        assert refused(client.post("/api/v1/inbound/nobody/", b"{}", "application/json"), 404, "not_found")

    def test_of_a_source_that_is_switched_off(self, connect: Connect) -> None:
        sender = connect("stripe", is_active=False)

        assert refused(sender.send({}), 404, "not_found")

    def test_of_a_body_that_is_too_large_comes_before_it_is_read(self, connect: Connect) -> None:
        assert refused(connect("stripe").send(b"x" * 1_048_577), 413, "body_too_large")

    def test_of_another_method(self, connect: Connect) -> None:
        assert refused(connect("stripe").client.get("/api/v1/inbound/stripe/"), 405, "method_not_allowed")

    def test_of_too_many_from_one_address(self, connect: Connect) -> None:
        sender = connect("stripe")
        rate = {"token": "2/min"}

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("commerce.inbound.api.InboundThrottle.THROTTLE_RATES", rate)
            answers = [sender.send({"id": f"evt_{n}"}).status_code for n in range(3)]

        assert answers == [202, 202, 429]
        assert InboundMessage.objects.count() == 2


class TestContent:
    @pytest.mark.parametrize(
        "content_type",
        ["application/json", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""],
    )
    def test_of_any_type_is_kept_byte_for_byte(self, content_type: str, connect: Connect) -> None:
        sender = connect("stripe")
        body = b'{"id":"evt_1",  "\xc3\xa9":1}'

        assert sender.post(body, sign("stripe", body, at=sender.at), content_type).status_code == 202

        assert bytes(InboundMessage.objects.get().body) == body

    def test_is_no_affair_of_the_idempotency_keys(self, connect: Connect) -> None:
        sender = connect("stripe")

        first = sender.send({"id": "evt_1"}, Idempotency_Key="k1")
        second = sender.send({"id": "evt_2"}, Idempotency_Key="k1")

        assert (first.status_code, second.status_code) == (202, 202)
        assert not IdempotencyRecord.objects.exists()

    @pytest.mark.django_db(transaction=True)
    def test_wakes_the_queue(self, connect: Connect, rings: Rings) -> None:
        sender = connect("stripe")

        sender.send({"id": "evt_1"})
        heard = rings()
        sender.send({"id": "evt_1"})

        assert (heard, rings()) == (["inbound"], [])


class TestSource:
    def test_keeps_its_secrets_encrypted(self) -> None:
        make_source("stripe")

        from django.db import connection

        with connection.cursor() as cursor:
            cursor.execute("SELECT secrets FROM commerce_inboundsource")
            assert SECRETS["stripe"] not in cursor.fetchone()[0]

    @pytest.mark.parametrize(
        ("scheme", "secret", "options", "words"),
        [
            ("stripe", "  ", {}, "1 to 500 characters"),
            ("stripe", "x" * 501, {}, "1 to 500 characters"),
            ("standard", "whsec_short", {}, "at least 16 random bytes"),
            ("standard", "not base64 at all!", {}, "at least 16 random bytes"),
            ("standard", "whsk_" + "A" * 44, {}, "at least 16 random bytes"),
            ("hmac", "hush", {"header": ""}, "Name the header"),
            ("hmac", "hush", {"header": "X Signature:"}, "Name the header"),
            ("hmac", "hush", {"header": "X-Sign", "algorithm": "md5"}, "algorithm"),
            ("carrier-pigeon", "coo", {}, "scheme"),
        ],
    )
    def test_that_could_never_verify_is_refused(
        self, scheme: str, secret: str, options: dict[str, Any], words: str, now: datetime
    ) -> None:
        with pytest.raises(sources.InvalidSource, match=words):
            sources.create("x", scheme=scheme, secrets=[secret], now=now, **options)

        assert not InboundSource.objects.exists()

    @pytest.mark.parametrize("name", ["", "a b", "a/b", "ü", "x" * 41])
    def test_needs_a_name_that_can_stand_in_an_address(self, name: str, now: datetime) -> None:
        with pytest.raises(sources.InvalidSource, match="name"):
            sources.create(name, scheme="stripe", secrets=["s"], now=now)

    def test_has_its_name_to_itself(self, now: datetime) -> None:
        make_source("stripe")

        with pytest.raises(sources.InvalidSource, match="already exists"):
            sources.create("stripe", scheme="stripe", secrets=["s"], now=now)

    def test_keeps_its_last_secret(self) -> None:
        source = make_source("stripe")

        with pytest.raises(sources.InvalidSource, match="last secret"):
            sources.remove_secret(source, 0)

    def test_has_five_secrets_at_most_and_each_once(self, now: datetime) -> None:
        source = make_source("stripe")
        for secret in ("a", "b", "b", "c", "d"):
            sources.add_secret(source, secret, now=now)

        with pytest.raises(sources.InvalidSource, match="At most 5"):
            sources.add_secret(source, "e", now=now)

        source.refresh_from_db()
        assert source.live_secrets == ["d", "c", "b", "a", SECRETS["stripe"]]
