"""What is for those who visit by a browser: a session, a user, messages, a policy for what a page may load.

A call of the API has a token alone, and is answered with data. These parts of Django are left out of it: a sixth of the
time that it takes to answer with what is kept.
"""

from csp import middleware as csp
from csp.constants import HEADER
from django.contrib.auth import middleware as auth
from django.contrib.messages import middleware as messages
from django.contrib.sessions import middleware as sessions
from django.http import HttpRequest, HttpResponseBase
from django.utils.deprecation import MiddlewareMixin


class _OfVisitors(MiddlewareMixin):
    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.path.startswith("/api/v1/"):
            return self.answer_call(request)
        return super().__call__(request)  # type: ignore[return-value]

    def answer_call(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)  # type: ignore[return-value]


class SessionMiddleware(_OfVisitors, sessions.SessionMiddleware):
    """`request.session`."""


class AuthenticationMiddleware(_OfVisitors, auth.AuthenticationMiddleware):
    """`request.user`; that of a call of the API is the REST framework's."""


class MessageMiddleware(_OfVisitors, messages.MessageMiddleware):
    """What the next page says."""


class CSPMiddleware(_OfVisitors, csp.CSPMiddleware):
    """The policy of the settings; of data, nothing is ever loaded or framed."""

    def answer_call(self, request: HttpRequest) -> HttpResponseBase:
        response = super().answer_call(request)
        response.headers.setdefault(HEADER, "default-src 'none'; frame-ancestors 'none'")
        return response
