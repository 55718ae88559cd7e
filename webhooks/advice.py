"""What each reason of a failed attempt means, and what to do about it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Advice:
    """What a reason means, and what a store admin can do about it."""

    meaning: str
    remedy: str


ADVICE = {
    "dns": Advice(
        "The host name could not be found.", "Check the spelling of the callback URL and the receiver's DNS."
    ),
    "connect": Advice(
        "Nothing accepted the connection.", "Check that the receiver is running and that its firewall lets us in."
    ),
    "tls": Advice(
        "The encrypted connection failed.",
        "Renew or complete the receiver's certificate: its name and chain must be valid.",
    ),
    "timeout": Advice(
        "No complete answer came within 15 seconds.",
        "Let the receiver answer 200 as soon as it has stored the event, and do the work afterwards.",
    ),
    "redirect": Advice(
        "The receiver redirected us.", "Put the final address into the callback URL: redirects are not followed."
    ),
    "http_4xx": Advice(
        "The receiver refused the request.",
        "401 or 403: check the authentication headers. 404: check the path. Otherwise the body below says more.",
    ),
    "http_5xx": Advice("The receiver failed.", "Look into the receiver's own log; we keep trying."),
    "gone": Advice(
        "The receiver answered 410: gone for good. The subscription was disabled.",
        "If that was a mistake, mend the receiver and resume the subscription.",
    ),
    "blocked_address": Advice(
        "The address is not one we may call.",
        "Use a public address, or have an operator allow the network with WEBHOOK_ALLOWED_NETWORKS.",
    ),
    "bad_response": Advice("The answer was not valid HTTP.", "Check what really listens at that address and port."),
    "worker_lost": Advice(
        "Our worker stopped while sending, so we do not know what came of it.",
        "Nothing to do: it was sent again with the same id, by which the receiver can tell the copy.",
    ),
    "mail_server": Advice(
        "The mail server could not be reached, or did not answer in time.",
        "Check EMAIL_URL, and that the mail server is running and lets us in; we keep trying.",
    ),
    "mail_login": Advice("The mail server refused our login.", "Correct the user and the password in EMAIL_URL."),
    "mail_refused": Advice(
        "The mail server did not take the message.",
        "Its words below say why: often a sender it does not know, or too many messages at once. We keep trying.",
    ),
    "no_mailbox": Advice(
        "There is no such mailbox, so it is not tried again.",
        "Ask the shopper for the right address, and send the message yourself.",
    ),
    "no_address": Advice(
        "There is no e-mail address to write to, so nothing was sent.", "Reach the shopper in another way."
    ),
    "no_text": Advice(
        "There is no message for this event any more, so nothing was sent.",
        "If there should be one, write it and resend.",
    ),
}


def advice(reason: str) -> Advice:
    return ADVICE.get(reason) or Advice(f"It failed: {reason}.", "The attempt below says more.")
