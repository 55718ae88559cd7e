"""`manage.py listen`: a developer's receiver on the terminal."""

import json
import threading
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from commerce import processes
from commerce.receivers import Receipt, Receiver
from webhooks import subscriptions
from webhooks.errors import DomainError
from webhooks.models import Subscription


class Command(BaseCommand):
    help = "Receive webhooks on this machine, verify them and print them, until Ctrl-C."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--events", default="*", help="comma list of names and groups, such as 'order.*'")
        parser.add_argument("--port", type=int, default=0, help="port to listen on; any free one by default")
        parser.add_argument("--full", action="store_true", help="print the whole body")

    def handle(self, *, events: str, port: int, full: bool, **_: Any) -> None:
        stop = processes.stop_event()
        port = port or processes.free_port()
        subscription = subscribe(events.split(","), port)
        try:
            secret = subscription.live_secrets(now=timezone.now())[0]
            receiver = Receiver(port, secret=secret, on_receipt=lambda receipt: self._print(receipt, full=full))
            threading.Thread(target=receiver.serve_forever, daemon=True).start()
            self.stdout.write(f"Listening for {events} on port {port}. Ctrl-C ends it and its subscription.")
            self.stdout.flush()
            stop.wait()
        finally:
            subscription.delete()

    def _print(self, receipt: Receipt, *, full: bool) -> None:
        verdict = self.style.SUCCESS("verified") if receipt.verified else self.style.ERROR("NOT VERIFIED")
        self.stdout.write(
            f"{receipt.received_at[11:23]}  {verdict}  {receipt.type:26} {receipt.label}  #{receipt.sequence}"
        )
        if full:
            self.stdout.write(json.dumps(receipt.body, indent=2, ensure_ascii=False))
        self.stdout.flush()


def subscribe(event_types: list[str], port: int) -> Subscription:
    try:
        return subscriptions.create(
            name=f"listen on port {port}",
            url=f"http://127.0.0.1:{port}/",
            event_types=[name.strip() for name in event_types],
            headers={},
            by="listen",
            now=timezone.now(),
        )
    except DomainError as error:
        raise CommandError(str(error)) from None
