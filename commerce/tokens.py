"""API tokens: who calls, what they may do, and how often."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from django.http import HttpRequest
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.throttling import SimpleRateThrottle

from commerce.models import ApiToken
from webhooks.prepared import Prepared

if TYPE_CHECKING:
    # That module imports this one: the settings name these classes as the defaults of every view.
    from rest_framework.views import APIView

SCOPES = {
    "storefront": "Place orders and read products.",
    "payments": "Record payments and their results.",
    "fulfilment": "Pack, ship, track and deliver.",
    "inventory": "Read and adjust stock, record sales of tills and marketplaces.",
    "orders": "Read orders, confirm and cancel them.",
    "customers": "Read and write customers.",
    "catalogue": "Write products.",
    "webhooks": "Manage subscriptions, read and resend deliveries.",
    "events": "Read the feed of events.",
    "metrics": "Read /metrics.",
}


def issue(
    name: str, *, scopes: Sequence[str], warehouse: str = "", channel: str = "", expires: datetime | None = None
) -> str:
    """Make a token and return its secret, which is kept nowhere. Raises ValidationError."""
    token = ApiToken(name=name, scopes=list(scopes), warehouse=warehouse, channel=channel, expiry_date=expires)
    secret: str = ApiToken.objects.assign_key(token)
    token.full_clean()
    token.save(force_insert=True)
    return secret


@dataclass(frozen=True)
class Principal:
    """The `request.user` of a call with a token."""

    name: str
    is_authenticated: bool = True

    def __str__(self) -> str:
        return self.name


# By its prefix, which the database keeps unique.
_usable: Prepared[ApiToken] = Prepared(lambda prefix: ApiToken.objects.get_usable_keys().filter(prefix=prefix))


def read_token(request: HttpRequest) -> ApiToken | None:
    """The token of `Authorization: Bearer …`, None without one; one query. Raises AuthenticationFailed."""
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        return None
    secret = secret.strip()
    token = next((token for token in _usable(secret.partition(".")[0]) if token.is_valid(secret)), None)
    if token is None:
        raise AuthenticationFailed("This token is unknown or was revoked.")
    if token.expiry_date is not None and token.expiry_date <= timezone.now():
        raise AuthenticationFailed(f"This token expired on {token.expiry_date:%Y-%m-%d}.")
    return token


class TokenAuthentication(BaseAuthentication):
    def authenticate(self, request: Request) -> tuple[Principal, ApiToken] | None:
        token = read_token(request._request)
        return (Principal(token.name), token) if token else None

    def authenticate_header(self, request: Request) -> str:
        """Without this, a call without a token would be answered 403 instead of 401."""
        return 'Bearer realm="Commerce Engine"'


def _token(request: Request) -> ApiToken | None:
    return cast("ApiToken | None", request.auth)


class HasScope(BasePermission):
    """The token has one of the view's `required_scopes`: a tuple, or a dict of them by method. Empty: anybody may."""

    def has_permission(self, request: Request, view: "APIView") -> bool:
        required = required_scopes(view, str(request.method))
        if not required:
            return True
        token = _token(request)
        if token is None:
            return False
        self.message = f"This needs a token with the scope {' or '.join(required)}."
        return not set(required).isdisjoint(token.scopes)


def required_scopes(view: Any, method: str) -> tuple[str, ...]:
    scopes: dict[str, tuple[str, ...]] | tuple[str, ...] = view.required_scopes
    if not isinstance(scopes, dict):
        return scopes
    return scopes.get("GET" if method in {"HEAD", "OPTIONS"} else method, ())


class TokenThrottle(SimpleRateThrottle):
    scope = "token"

    def get_cache_key(self, request: Request, view: "APIView") -> str | None:
        token = _token(request)
        return f"throttle-token-{token.prefix}" if token else None


class PublicThrottle(SimpleRateThrottle):
    """Per address, for calls without a token."""

    scope = "public"

    def get_cache_key(self, request: Request, view: "APIView") -> str | None:
        return None if request.auth else f"throttle-public-{self.get_ident(request)}"
