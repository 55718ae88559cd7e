"""`manage.py replay`: send what was never owed."""

from commerce.replaying import ReplayCommand
from webhooks.models import Replay


class Command(ReplayCommand):
    help = "Send a subscription the events since a moment that it wants and never had. Safe to run twice."
    kind = Replay.Kind.MISSING
