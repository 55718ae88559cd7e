"""How each sender signs, and what it calls its message. Pure rules: no clock, no database."""

import base64
import binascii
import email.utils
import hashlib
import hmac
import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from commerce.inbound import paths
from commerce.models import InboundSource
from webhooks import signing
from webhooks.errors import DomainError

# How far a signed moment may be from ours: an older message may be a replay.
TOLERANCE_S = 300
_ID = re.compile(r"[\x21-\x7e]{1,150}")

Scheme = InboundSource.Scheme


class BadSignature(DomainError):
    """The message is not its source's, or is a replay of an old one."""

    code = "bad_signature"


class NotJson(Exception):
    """The body is not the JSON of an object; the words say how."""


@dataclass(frozen=True)
class Request:
    """What came in. `headers` are looked up without regard to case, as Django's are."""

    headers: Mapping[str, str]
    body: bytes

    def header(self, name: str) -> str:
        """Raises BadSignature where it is missing."""
        value = self.headers.get(name)
        if not value:
            raise BadSignature(f"The header {name} is missing.")
        return value


@dataclass(frozen=True)
class _Rules:
    """`headers` are those that hold the signature, in lower case."""

    verify: Callable[[InboundSource, Request, datetime], None]
    identify: Callable[[InboundSource, Request], Any]
    headers: frozenset[str]


def verify(source: InboundSource, request: Request, *, now: datetime) -> None:
    """Raises BadSignature unless a secret of the source signed these bytes: within TOLERANCE_S, if they are dated."""
    _RULES[Scheme(source.scheme)].verify(source, request, now)


def identify(source: InboundSource, request: Request) -> str:
    """What tells this message from another of the source: the sender's id, or a hash of the body."""
    try:
        found = _RULES[Scheme(source.scheme)].identify(source, request)
    except NotJson:
        found = None
    if isinstance(found, (str, int)) and not isinstance(found, bool) and _ID.fullmatch(str(found)):
        return str(found)
    return f"sha256:{hashlib.sha256(request.body).hexdigest()}"


def signature_headers(source: InboundSource) -> frozenset[str]:
    """In lower case: what the log must not show."""
    return _RULES[Scheme(source.scheme)].headers | {source.header.lower()}


def read_object(body: bytes) -> dict[str, Any]:
    """Raises NotJson, also of what no database could keep."""
    try:
        read = json.loads(body)
        json.dumps(read, ensure_ascii=False).encode()
    except RecursionError:
        raise NotJson("The body is JSON that is nested too deeply.") from None
    except ValueError:
        raise NotJson("The body is not JSON.") from None
    if not isinstance(read, dict):
        raise NotJson("The body is JSON, but not an object.")
    return read


def _field_of_body(name: str) -> Callable[[InboundSource, Request], Any]:
    return lambda _, request: read_object(request.body).get(name)


def _require_any(expected: Iterable[bytes], given: Iterable[bytes]) -> None:
    given = list(given)
    if not any(hmac.compare_digest(one, other) for one in expected for other in given):
        raise BadSignature("The signature is not that of any secret of this source.")


def _require_recent(timestamp: str, *, now: datetime) -> int:
    if not (timestamp.isascii() and timestamp.isdecimal() and len(timestamp) <= 12):
        raise BadSignature("The timestamp is not a number of seconds.")
    _require_near(int(timestamp), now=now)
    return int(timestamp)


def _require_near(signed_at: float, *, now: datetime) -> None:
    if abs(signed_at - now.timestamp()) > TOLERANCE_S:
        raise BadSignature(f"The message was signed more than {TOLERANCE_S} seconds ago, or ahead of now.")


def _verify_standard(source: InboundSource, request: Request, now: datetime) -> None:
    """https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md"""
    message_id, given = request.header("webhook-id"), request.header("webhook-signature").encode().split(b" ")
    timestamp = _require_recent(request.header("webhook-timestamp"), now=now)
    signed = signing.signature(request.body, message_id=message_id, timestamp=timestamp, secrets=source.live_secrets)
    _require_any(signed.encode().split(b" "), given)


def _verify_stripe(source: InboundSource, request: Request, now: datetime) -> None:
    """https://docs.stripe.com/webhooks#verify-manually"""
    parts = [part.partition("=") for part in request.header("stripe-signature").split(",")]
    timestamps = [value for name, _, value in parts if name.strip() == "t"]
    timestamp = _require_recent(timestamps[0] if timestamps else "", now=now)
    content = f"{timestamp}.".encode() + request.body
    expected = [hmac.new(secret.encode(), content, "sha256").hexdigest().encode() for secret in source.live_secrets]
    _require_any(expected, (value.encode() for name, _, value in parts if name.strip() == "v1"))


def _verify_aftership(source: InboundSource, request: Request, now: datetime) -> None:
    """https://www.aftership.com/docs/tracking/webhook/webhook-signature"""
    digests = (hmac.digest(secret.encode(), request.body, "sha256") for secret in source.live_secrets)
    _require_any((base64.b64encode(each) for each in digests), [request.header("aftership-hmac-sha256").encode()])


def _verify_easypost(source: InboundSource, request: Request, now: datetime) -> None:
    """As EasyPost's client libraries do: https://docs.easypost.com/guides/webhooks-guide

    Where the dated signature is there too, that one counts: then an old message is known for a replay.
    """
    name, signed = "x-hmac-signature", request.body
    if request.headers.get("x-hmac-signature-v2"):
        name, signed = "x-hmac-signature-v2", _dated_by_easypost(request, now=now)
    keys = (unicodedata.normalize("NFKD", secret).encode() for secret in source.live_secrets)
    expected = (f"hmac-sha256-hex={hmac.new(key, signed, 'sha256').hexdigest()}".encode() for key in keys)
    _require_any(expected, [request.header(name).lower().encode()])


def _dated_by_easypost(request: Request, *, now: datetime) -> bytes:
    """https://support.easypost.com/hc/en-us/articles/39826034964237-Webhook-HMAC-Validation"""
    timestamp, path = request.header("x-timestamp"), request.header("x-path")
    try:
        signed_at = email.utils.parsedate_to_datetime(timestamp)
    except (ValueError, OverflowError):
        raise BadSignature("The timestamp is not a date of RFC 2822.") from None
    # `-0000`, which EasyPost writes, is read as a moment of no known zone; it is of UTC.
    _require_near((signed_at if signed_at.tzinfo else signed_at.replace(tzinfo=UTC)).timestamp(), now=now)
    return f"{timestamp}POST{path}".encode() + request.body


def _verify_hmac(source: InboundSource, request: Request, now: datetime) -> None:
    given = request.header(source.header)
    if not given.startswith(source.prefix):
        raise BadSignature(f"The signature does not begin with {source.prefix}")
    try:
        text = given.removeprefix(source.prefix)
        is_hex = source.encoding == InboundSource.Encoding.HEX
        signature = bytes.fromhex(text) if is_hex else base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        raise BadSignature(f"The signature is not {source.get_encoding_display()}.") from None
    expected = (hmac.digest(secret.encode(), request.body, source.algorithm) for secret in source.live_secrets)
    _require_any(expected, [signature])


def _identify_hmac(source: InboundSource, request: Request) -> Any:
    return paths.find(read_object(request.body), source.paths.get("id", "id"))


_RULES = {
    Scheme.STANDARD: _Rules(
        _verify_standard, lambda _, request: request.headers.get("webhook-id"), frozenset({"webhook-signature"})
    ),
    Scheme.STRIPE: _Rules(_verify_stripe, _field_of_body("id"), frozenset({"stripe-signature"})),
    Scheme.AFTERSHIP: _Rules(_verify_aftership, _field_of_body("event_id"), frozenset({"aftership-hmac-sha256"})),
    Scheme.EASYPOST: _Rules(
        _verify_easypost, _field_of_body("id"), frozenset({"x-hmac-signature", "x-hmac-signature-v2"})
    ),
    Scheme.HMAC: _Rules(_verify_hmac, _identify_hmac, frozenset()),
}
