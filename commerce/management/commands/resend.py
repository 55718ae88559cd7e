"""`manage.py resend`: send deliveries once more."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from webhooks import replay
from webhooks.models import Delivery
from webhooks.replay import ReplayRefused


class Command(BaseCommand):
    help = "Send deliveries once more: the same ids and bytes, marked as redeliveries. Of none if one is unknown."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("ids", nargs="+", metavar="dlv_…", help="as the log shows them")

    def handle(self, *, ids: list[str], **_: Any) -> None:
        found = {each.public_id: each for each in Delivery.objects.filter(public_id__in=ids)}
        if unknown := [each for each in ids if each not in found]:
            raise CommandError(f"There is no delivery {', '.join(unknown)}.")
        refusals = [refusal for each in found.values() if (refusal := _resend(each))]
        self.stdout.write(f"Sent again by the queue cluster: {len(found) - len(refusals)}.")
        if refusals:
            raise CommandError("\n".join(refusals))


def _resend(delivery: Delivery) -> str:
    """Why it cannot be; nothing if it can."""
    try:
        replay.resend(delivery, by="manage.py", now=timezone.now())
    except ReplayRefused as error:
        return f"{delivery.public_id}: {error}"
    return ""
