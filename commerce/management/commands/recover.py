"""`manage.py recover`: send again what failed."""

from commerce.replaying import ReplayCommand
from webhooks.models import Replay


class Command(ReplayCommand):
    help = "Send a subscription again all that failed, was parked or was skipped since a moment. Safe to run twice."
    kind = Replay.Kind.FAILED
