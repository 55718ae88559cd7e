"""Connecting a sender: its name, how it signs, and its secrets, of which several may be live."""

import base64
import binascii
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError

from commerce.models import InboundSource
from webhooks import signing
from webhooks.errors import DomainError

MOST_SECRETS = 5
LONGEST_SECRET = 500
SHORTEST_KEY = 16
_HEADER = re.compile(r"[A-Za-z0-9-]{1,100}")

Scheme = InboundSource.Scheme


class InvalidSource(DomainError):
    """A source that could never verify a message."""

    code = "invalid_source"


def create(name: str, *, scheme: str, secrets: Sequence[str], now: datetime, **options: Any) -> InboundSource:
    """Raises InvalidSource."""
    source = InboundSource(name=name, scheme=scheme, **options)
    for secret in secrets:
        keep_secret(source, secret, now=now)
    check(source)
    source.save(force_insert=True)
    return source


def add_secret(source: InboundSource, secret: str, *, now: datetime) -> None:
    """From now on it verifies too. Raises InvalidSource."""
    keep_secret(source, secret, now=now)
    source.save(update_fields=["secrets"])


def remove_secret(source: InboundSource, index: int) -> None:
    """What is signed with it is refused from now on. Raises InvalidSource for the last one."""
    if len(source.secrets) == 1:
        raise InvalidSource("The last secret cannot be removed: add the new one first, or switch the source off.")
    source.secrets = [kept for place, kept in enumerate(source.secrets) if place != index]
    source.save(update_fields=["secrets"])


def keep_secret(source: InboundSource, secret: str, *, now: datetime) -> None:
    """Put it first among the source's secrets, unless it is one of them; unwritten. Raises InvalidSource."""
    _check_secret(source, secret)
    if secret in source.live_secrets:
        return
    if len(source.secrets) >= MOST_SECRETS:
        raise InvalidSource(f"At most {MOST_SECRETS} secrets are live at once: remove an old one first.")
    source.secrets = [{"secret": secret, "added_at": now.isoformat()}, *source.secrets]


def check(source: InboundSource) -> None:
    """Raises InvalidSource."""
    try:
        source.full_clean(exclude={"secrets"})
    except ValidationError as error:
        faults = [f"{field}: {' '.join(words)}" for field, words in error.message_dict.items()]
        raise InvalidSource(" ".join(faults)) from None
    if not source.secrets:
        raise InvalidSource("A source needs the secret that its messages are signed with.")
    if source.scheme == Scheme.HMAC and not _HEADER.fullmatch(source.header):
        raise InvalidSource("Name the header that holds the signature, such as X-Signature.")


def _check_secret(source: InboundSource, secret: str) -> None:
    if not secret.strip() or len(secret) > LONGEST_SECRET:
        raise InvalidSource(f"A secret is 1 to {LONGEST_SECRET} characters long.")
    if source.scheme == Scheme.STANDARD and not _is_standard(secret):
        raise InvalidSource(
            f"A Standard Webhooks secret is whsec_ and the base64 of at least {SHORTEST_KEY} random bytes."
        )


def _is_standard(secret: str) -> bool:
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        return False
    return signing.scheme_of(secret) is signing.Scheme.HMAC and len(key) >= SHORTEST_KEY
