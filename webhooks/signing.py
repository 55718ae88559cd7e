"""Signatures and secrets by the Standard Webhooks specification."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.db import models

PUBLIC_PREFIX = "whpk_"
SECRET_BYTES = 32


class Scheme(models.TextChoices):
    """The word a signature begins with. Of a key pair the receiver has the public half, which cannot forge."""

    HMAC = "v1", "Shared secret (HMAC-SHA256, v1)"
    ED25519 = "v1a", "Key pair (Ed25519, v1a)"


_PREFIXES = {Scheme.HMAC: "whsec_", Scheme.ED25519: "whsk_"}


def new_secret(scheme: Scheme = Scheme.HMAC) -> str:
    """`whsec_`, or `whsk_` of a private key, and the base64 of 32 random bytes."""
    return _PREFIXES[scheme] + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def scheme_of(secret: str) -> Scheme:
    return Scheme.ED25519 if secret.startswith(_PREFIXES[Scheme.ED25519]) else Scheme.HMAC


def public_key(secret: str) -> str | None:
    """`whpk_` and the base64 of the public half of a private key; None of a shared secret, which has none."""
    if scheme_of(secret) is Scheme.HMAC:
        return None
    public = Ed25519PrivateKey.from_private_bytes(_key_of(secret)).public_key()
    return PUBLIC_PREFIX + base64.b64encode(public.public_bytes_raw()).decode()


def signature(body: bytes, *, message_id: str, timestamp: int, secrets: Iterable[str]) -> str:
    """The value of `webhook-signature`: one `v1,…` or `v1a,…` per secret, separated by spaces.

    `timestamp` is in whole seconds.
    """
    content = f"{message_id}.{timestamp}.".encode() + body
    return " ".join(_sign(content, secret) for secret in secrets)


def _sign(content: bytes, secret: str) -> str:
    scheme, key = scheme_of(secret), _key_of(secret)
    if scheme is Scheme.ED25519:
        signed = Ed25519PrivateKey.from_private_bytes(key).sign(content)
    else:
        signed = hmac.digest(key, content, hashlib.sha256)
    return f"{scheme},{base64.b64encode(signed).decode()}"


def _key_of(secret: str) -> bytes:
    return base64.b64decode(secret.removeprefix(_PREFIXES[scheme_of(secret)]))
