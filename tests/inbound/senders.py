"""Senders as they are: each signs by its own documented scheme, with no code of the product."""

import base64
import hashlib
import hmac
import json
import time
import unicodedata
import urllib.request
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from typing import Any

from django.test import Client

BODIES = Path(__file__).parent / "bodies"
SECRETS = {
    "standard": "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode(),
    "aftership": "2e55b9a3-4dd1-4416-9897-c4bd1e3d738f",
    # Its libraries sign with the NFKD form: an é of two characters.
    "easypost": "sécret",
    "stripe": "whsec_5WbX5kEWLlfzsGNjH64I8lOOqUB6e8FH",
    "hmac": "hush",
}

Headers = dict[str, str]


def load(name: str) -> dict[str, Any]:
    body: dict[str, Any] = json.loads((BODIES / f"{name}.json").read_text())
    return body


def sign(scheme: str, body: bytes, *, at: int, secret: str = "", message_id: str = "msg_1") -> Headers:
    return _SIGN[scheme](body, secret or SECRETS[scheme], at, message_id)


def _hmac(key: bytes, content: bytes) -> bytes:
    return hmac.new(key, content, hashlib.sha256).digest()


def _standard(body: bytes, secret: str, at: int, message_id: str) -> Headers:
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signature = base64.b64encode(_hmac(key, f"{message_id}.{at}.".encode() + body)).decode()
    return {"webhook-id": message_id, "webhook-timestamp": str(at), "webhook-signature": f"v1,{signature}"}


def _aftership(body: bytes, secret: str, at: int, message_id: str) -> Headers:
    return {"aftership-hmac-sha256": base64.b64encode(_hmac(secret.encode(), body)).decode()}


def _easypost(body: bytes, secret: str, at: int, message_id: str) -> Headers:
    key = unicodedata.normalize("NFKD", secret).encode()
    return {"X-Hmac-Signature": f"hmac-sha256-hex={_hmac(key, body).hex()}"}


def sign_by_easypost_v2(body: bytes, *, at: int, secret: str = SECRETS["easypost"], path: str = "/hooks") -> Headers:
    """The dated signature, which EasyPost sends beside the other."""
    timestamp = formatdate(at)
    key = unicodedata.normalize("NFKD", secret).encode()
    signature = _hmac(key, f"{timestamp}POST{path}".encode() + body).hex()
    return {
        "X-Timestamp": timestamp,
        "X-Path": path,
        "X-Hmac-Signature-V2": f"hmac-sha256-hex={signature}",
    }


def _stripe(body: bytes, secret: str, at: int, message_id: str) -> Headers:
    return {"Stripe-Signature": f"t={at},v1={_hmac(secret.encode(), f'{at}.'.encode() + body).hex()},v0=6ffb"}


def _generic(body: bytes, secret: str, at: int, message_id: str) -> Headers:
    return {"X-Courier-Signature": f"sha256={_hmac(secret.encode(), body).hex()}"}


_SIGN = {
    "standard": _standard,
    "aftership": _aftership,
    "easypost": _easypost,
    "stripe": _stripe,
    "hmac": _generic,
}


def post(url: str, scheme: str, body: dict[str, Any], *, message_id: str = "msg_1") -> int:
    """Over the wire, signed now; the status."""
    raw = json.dumps(body).encode()
    headers = sign(scheme, raw, at=int(time.time()), message_id=message_id) | {"content-type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(url, raw, headers), timeout=20) as answer:  # noqa: S310
        status: int = answer.status
    return status


@dataclass
class Sender:
    """Posts to a source of its scheme, which has its scheme's name."""

    client: Client
    scheme: str
    at: int
    count: int = 0

    def send(self, body: dict[str, Any] | bytes, *, message_id: str = "", **changed: str) -> Any:
        """A message with an id of its own, unless it says so; `changed` headers replace those it would send."""
        self.count += 1
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = sign(self.scheme, raw, at=self.at, message_id=message_id or f"msg_{self.count}")
        return self.post(raw, headers | {name.replace("_", "-"): value for name, value in changed.items()})

    def post(self, raw: bytes, headers: Headers, content_type: str = "application/json") -> Any:
        return self.client.post(f"/api/v1/inbound/{self.scheme}/", raw, content_type=content_type, headers=headers)
