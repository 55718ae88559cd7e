"""A delivery as an e-mail to the shopper, through Django's mail back end (EMAIL_URL).

Once per event. Only a worker that dies, or a connection that breaks, after the mail server has taken a message and
before that is known sends it again; the copy has the same Message-ID, by which mailboxes can fold it.
"""

import json
import os
import smtplib
import socket
import time
from contextlib import AbstractContextManager, nullcontext, suppress
from datetime import UTC, datetime

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.mail import EmailMessage, get_connection
from django.core.validators import validate_email

from webhooks import deadline, messages
from webhooks.claims import Claimed
from webhooks.deadline import Deadline
from webhooks.transport import DEADLINE_S, Outcome, Reason, clean, loggable

# For each answer of the mail server. With all that goes before a message, still less than the lease.
STEP_S = 5


class _Unsendable(Exception):
    """There is nothing to send, or nobody to send it to."""

    def __init__(self, reason: Reason, words: str) -> None:
        super().__init__(words)
        self.reason = reason


def send(claimed: Claimed) -> Outcome:
    """Write to the shopper once, within DEADLINE_S by the wall clock. Never raises for what the world does."""
    outcome = Outcome(started_at=datetime.now(UTC))
    started = time.monotonic()
    with Deadline(started + DEADLINE_S) as ends:
        try:
            mail = _compose(claimed)
            outcome.request_headers = loggable(mail.message().items(), ["To"])
            _hand_over(mail, ends)
        except _Unsendable as error:
            outcome.reason, outcome.detail = error.reason, str(error)
        except Exception as error:
            outcome.status_code, outcome.reason, words = _explain(error)
            outcome.detail = clean(f"No complete answer within {DEADLINE_S:.0f} s." if ends.expired else words)[:500]
    outcome.duration_ms = round((time.monotonic() - started) * 1000)
    return outcome


def _compose(claimed: Claimed) -> EmailMessage:
    event = json.loads(claimed.body)
    chosen = messages.find(claimed.subscription.messages, event["type"])
    if chosen is None:
        raise _Unsendable(Reason.NO_TEXT, f"There is no message for {event['type']} any more.")
    subject, text = messages.render(chosen, event["data"])
    return EmailMessage(
        subject,
        text,
        to=[_recipient(event["data"])],
        headers={
            "Message-ID": f"<{claimed.event_id}.{claimed.subscription.public_id}@{_domain()}>",
            "Auto-Submitted": "auto-generated",
        },
    )


def _recipient(data: messages.Data) -> str:
    address = data.get(messages.RECIPIENT)
    if not address:
        raise _Unsendable(Reason.NO_ADDRESS, f"The event has no {messages.RECIPIENT}.")
    try:
        validate_email(address)
    except ValidationError:
        raise _Unsendable(Reason.NO_ADDRESS, f"Its {messages.RECIPIENT} is not an e-mail address.") from None
    return str(address)


def _domain() -> str:
    return settings.DEFAULT_FROM_EMAIL.rpartition("@")[2].rstrip(">")


def _hand_over(mail: EmailMessage, ends: Deadline) -> None:
    connection = get_connection(timeout=STEP_S)
    try:
        connection.open()
        with _wire(connection) as wire:
            deadline.watch(wire)
            if ends.expired:
                raise TimeoutError
            connection.send_messages([mail])
    finally:
        # Whether the message was taken has been said: how the connection ends says nothing more.
        with suppress(Exception):
            connection.close()


def _wire(connection: object) -> AbstractContextManager[socket.socket | None]:
    """A second handle on the socket of Django's SMTP back end; others have none that we could cut."""
    encrypted_or_not = getattr(getattr(connection, "connection", None), "sock", None)
    return socket.socket(fileno=os.dup(encrypted_or_not.fileno())) if encrypted_or_not else nullcontext()


def _explain(error: Exception) -> tuple[int | None, Reason, str]:
    """The mail server's code, if it gave one; the reason, and what happened in words.

    Back ends that speak to a mail service by its API raise what they like.
    """
    match error:
        case smtplib.SMTPRecipientsRefused(recipients=refused):
            code, words = next(iter(refused.values()))
            reason = Reason.NO_MAILBOX if code >= 500 else Reason.MAIL_REFUSED
            return code, reason, f"The mail server refused the address with {code}: {_text(words)}"
        case smtplib.SMTPAuthenticationError(smtp_code=code, smtp_error=words):
            return code, Reason.MAIL_LOGIN, f"The mail server refused the login with {code}: {_text(words)}"
        case smtplib.SMTPConnectError(smtp_code=code, smtp_error=words):
            return code, Reason.MAIL_SERVER, f"The mail server is not ready, {code}: {_text(words)}"
        case smtplib.SMTPResponseException(smtp_code=code, smtp_error=words):
            return code, Reason.MAIL_REFUSED, f"The mail server refused the message with {code}: {_text(words)}"
        case smtplib.SMTPNotSupportedError():
            reason, said = Reason.MAIL_SERVER, f"The mail server does not do what EMAIL_URL asks for: {error}"
        case OSError():
            reason, said = Reason.MAIL_SERVER, f"The mail server could not be reached: {error or type(error).__name__}"
        case _:
            reason, said = Reason.MAIL_REFUSED, f"The mail back end failed with {type(error).__name__}: {error}"
    return None, reason, said


def _text(words: bytes | str) -> str:
    return words.decode("utf-8", "replace") if isinstance(words, bytes) else words
