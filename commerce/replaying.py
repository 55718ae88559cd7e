"""What `manage.py recover` and `manage.py replay` share."""

import argparse
import time
from datetime import UTC, datetime
from typing import Any, ClassVar

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from webhooks import replay
from webhooks.models import Replay, Subscription
from webhooks.replay import ReplayRefused

LOOK_EVERY_S = 0.5


def moment(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a moment such as 2026-11-23T18:00") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


class ReplayCommand(BaseCommand):
    kind: ClassVar[str]

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="the subscription's name, or its id (sub_…)")
        parser.add_argument("--since", type=moment, required=True, help="date or moment (UTC); nothing older is sent")
        parser.add_argument("--until", type=moment, help="date or moment (UTC); nothing of it or later is sent")
        how = parser.add_mutually_exclusive_group()
        how.add_argument("--dry-run", action="store_true", help="only count")
        how.add_argument("--wait", action="store_true", help="show how far it has come, until all are on their way")

    def handle(
        self, *, name: str, since: datetime, until: datetime | None, dry_run: bool, wait: bool, **_: Any
    ) -> None:
        subscription = _find(name)
        try:
            if dry_run:
                planned = replay.plan(self.kind, subscription, since=since, until=until)
                self._tell(f"{planned.counted} would be sent to {subscription}.", planned)
            else:
                self._start(subscription, since=since, until=until, wait=wait)
        except ReplayRefused as error:
            raise CommandError(str(error)) from None

    def _start(self, subscription: Subscription, *, since: datetime, until: datetime | None, wait: bool) -> None:
        by, now = "manage.py", timezone.now()
        started = replay.start(self.kind, subscription, since=since, until=until, by=by, now=now)
        self._tell(f"{started.counted} are sent to {subscription}, behind live traffic, by the queue cluster.", started)
        if wait:
            self._watch(started)

    def _tell(self, counted: str, planned: Replay) -> None:
        self.stdout.write(counted)
        if caveat := replay.caveat(planned):
            self.stdout.write(caveat)

    def _watch(self, replay: Replay) -> None:
        """Ctrl-C ends the watching, not the sending."""
        shown = ""
        while replay.finished_at is None:
            time.sleep(LOOK_EVERY_S)
            replay = Replay.objects.select_related("subscription").get(pk=replay.pk)
            if shown != (shown := _progress(replay)):
                self.stdout.write(shown)


def _progress(replay: Replay) -> str:
    subscription = replay.subscription
    waits = "" if subscription.state == Subscription.State.ACTIVE else f" ({subscription} is {subscription.state})"
    return f"{replay}{waits}"


def _find(name: str) -> Subscription:
    known = Subscription.objects.exclude(state=Subscription.State.DRAFT)
    found = list(known.filter(public_id=name) or known.filter(name=name))
    if not found:
        raise CommandError(f"There is no subscription {name}.")
    if len(found) > 1:
        raise CommandError(f"{len(found)} subscriptions are called {name}: give the id of one (sub_…).")
    return found[0]
