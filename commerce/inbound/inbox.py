"""Taking a message in: verified, and kept as it came before anybody looks inside.

A message that fails its verification is not kept: anybody could fill the database with those. Its source shows how many
there were, when the last one came, and why it was refused.
"""

from collections.abc import Iterable
from datetime import datetime

from django.db import transaction
from django.db.models import F

from commerce.inbound import schemes
from commerce.inbound.schemes import BadSignature, Request
from commerce.models import InboundMessage, InboundSource
from webhooks import broker
from webhooks.transport import MASK

BELL = "inbound"
# With the server's own limits, what the log can grow by for each message.
HEADERS_KEPT, HEADER_LIMIT = 60, 1_000
_MASKED = frozenset({"authorization", "proxy-authorization", "cookie", "x-api-key"})

broker.bells[BELL] = "commerce.tasks.take_in"


def take(source: InboundSource, request: Request, *, now: datetime) -> InboundMessage:
    """Keep a message for the queue; of one that came before, the first. Raises BadSignature."""
    try:
        schemes.verify(source, request, now=now)
    except BadSignature as error:
        InboundSource.objects.filter(pk=source.pk).update(
            refused_count=F("refused_count") + 1, refused_at=now, refused_reason=str(error)[:200]
        )
        raise
    return _keep(source, request, now=now)


@transaction.atomic
def _keep(source: InboundSource, request: Request, *, now: datetime) -> InboundMessage:
    message, is_new = InboundMessage.objects.get_or_create(
        source=source,
        sender_id=schemes.identify(source, request),
        defaults={
            "headers": _loggable(request.headers.items(), hidden=_MASKED | schemes.signature_headers(source)),
            "body": request.body,
            "created_at": now,
            "next_attempt_at": now,
        },
    )
    if is_new:
        broker.ring(BELL)
    else:
        InboundMessage.objects.filter(pk=message.pk).update(copies=F("copies") + 1)
    return message


def _loggable(headers: Iterable[tuple[str, str]], *, hidden: frozenset[str]) -> list[list[str]]:
    return [
        [name, MASK if name.lower() in hidden else value.replace("\x00", "�")[:HEADER_LIMIT]]
        for name, value in list(headers)[:HEADERS_KEPT]
    ]
