import base64
from datetime import UTC, datetime
from typing import Any

import pytest
import standardwebhooks
import svix

from webhooks import signing

Library = Any
LIBRARIES = [standardwebhooks.Webhook, svix.Webhook]
REFUSALS = (standardwebhooks.WebhookVerificationError, svix.WebhookVerificationError)

BODY = '{"id":"evt_1","name":"Käse 🧀"}'.encode()


def headers(secrets: list[str], body: bytes = BODY) -> dict[str, str]:
    timestamp = int(datetime.now(UTC).timestamp())
    keys = [signing.key_of(secret) for secret in secrets]
    return {
        "webhook-id": "evt_1",
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signing.signature(body, message_id="evt_1", timestamp=timestamp, keys=keys),
    }


class TestSecret:
    def test_is_whsec_and_32_random_bytes(self) -> None:
        first, second = signing.new_secret(), signing.new_secret()

        assert first.startswith("whsec_")
        assert len(base64.b64decode(first[6:], validate=True)) == 32
        assert first != second


class TestSignature:
    def test_is_the_one_of_the_specification(self) -> None:
        # The example of github.com/standard-webhooks/standard-webhooks, spec and libraries.
        signature = signing.signature(
            b'{"test": 2432232314}',
            message_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
            timestamp=1614265330,
            keys=[signing.key_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")],
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
