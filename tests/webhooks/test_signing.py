import base64
from datetime import UTC, datetime
from typing import Any

import pytest
import standardwebhooks
import svix
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from webhooks import signing
from webhooks.signing import Scheme

Library = Any
LIBRARIES = [standardwebhooks.Webhook, svix.Webhook]
REFUSALS = (standardwebhooks.WebhookVerificationError, svix.WebhookVerificationError)

BODY = '{"id":"evt_1","name":"Käse 🧀"}'.encode()


def headers(secrets: list[str], body: bytes = BODY) -> dict[str, str]:
    timestamp = int(datetime.now(UTC).timestamp())
    return {
        "webhook-id": "evt_1",
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signing.signature(body, message_id="evt_1", timestamp=timestamp, secrets=secrets),
    }


def verify(public_key: str | None, entry: str, content: bytes) -> None:
    """As a receiver would, with nothing of ours. Raises InvalidSignature."""
    assert public_key is not None
    assert public_key.startswith("whpk_")
    assert entry.startswith("v1a,")
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key[5:], validate=True))
    key.verify(base64.b64decode(entry[4:], validate=True), content)


class TestSecret:
    @pytest.mark.parametrize(("scheme", "prefix"), [(Scheme.HMAC, "whsec_"), (Scheme.ED25519, "whsk_")])
    def test_is_a_prefix_and_32_random_bytes(self, scheme: Scheme, prefix: str) -> None:
        first, second = signing.new_secret(scheme), signing.new_secret(scheme)

        assert first.startswith(prefix)
        assert len(base64.b64decode(first.removeprefix(prefix), validate=True)) == 32
        assert first != second
        assert signing.scheme_of(first) is scheme

    def test_is_shared_unless_a_key_pair_is_asked_for(self) -> None:
        assert signing.scheme_of(signing.new_secret()) is Scheme.HMAC
        assert signing.public_key(signing.new_secret()) is None


class TestSignature:
    def test_is_the_one_of_the_specification(self) -> None:
        # The example of github.com/standard-webhooks/standard-webhooks, spec and libraries.
        signature = signing.signature(
            b'{"test": 2432232314}',
            message_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
            timestamp=1614265330,
            secrets=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
        )

        assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="

    @pytest.mark.parametrize("library", LIBRARIES)
    def test_verifies_with_libraries_that_are_not_ours(self, library: Library) -> None:
        secret = signing.new_secret()
        signed = headers([secret])

        library(secret).verify(BODY, signed)

        with pytest.raises(REFUSALS):
            library(secret).verify(BODY + b" ", signed)
        with pytest.raises(REFUSALS):
            library(secret).verify(BODY, signed | {"webhook-id": "evt_2"})

    @pytest.mark.parametrize("library", LIBRARIES)
    def test_verifies_with_either_secret_while_one_replaces_the_other(self, library: Library) -> None:
        new, old, stranger = signing.new_secret(), signing.new_secret(), signing.new_secret()
        signed = headers([new, old])

        library(new).verify(BODY, signed)
        library(old).verify(BODY, signed)

        with pytest.raises(REFUSALS):
            library(stranger).verify(BODY, signed)


class TestKeyPair:
    def test_has_the_public_key_of_the_standard(self) -> None:
        # RFC 8032, section 7.1, test 1.
        seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
        public = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")

        key = signing.public_key("whsk_" + base64.b64encode(seed).decode())

        assert key == "whpk_" + base64.b64encode(public).decode()

    def test_signs_id_timestamp_and_body(self) -> None:
        secret, stranger = signing.new_secret(Scheme.ED25519), signing.new_secret(Scheme.ED25519)

        entry = signing.signature(BODY, message_id="evt_1", timestamp=1614265330, secrets=[secret])

        public = signing.public_key(secret)
        verify(public, entry, b"evt_1.1614265330." + BODY)
        for other in (b"evt_2.1614265330." + BODY, b"evt_1.1614265331." + BODY, b"evt_1.1614265330." + BODY + b" "):
            with pytest.raises(InvalidSignature):
                verify(public, entry, other)
        with pytest.raises(InvalidSignature):
            verify(signing.public_key(stranger), entry, b"evt_1.1614265330." + BODY)

    def test_does_not_tell_its_private_half(self) -> None:
        secret = signing.new_secret(Scheme.ED25519)
        private = base64.b64decode(secret.removeprefix("whsk_"))

        public = base64.b64decode(str(signing.public_key(secret)).removeprefix("whpk_"))

        assert public != private
        assert public == Ed25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()

    @pytest.mark.parametrize("library", LIBRARIES)
    def test_disturbs_no_library_that_knows_shared_secrets_only(self, library: Library) -> None:
        pair, shared = signing.new_secret(Scheme.ED25519), signing.new_secret()
        signed = headers([pair, shared])

        library(shared).verify(BODY, signed)

        entries = signed["webhook-signature"].split(" ")
        assert [entry.partition(",")[0] for entry in entries] == ["v1a", "v1"]
        verify(signing.public_key(pair), entries[0], f"evt_1.{signed['webhook-timestamp']}.".encode() + BODY)
