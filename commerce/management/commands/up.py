"""`manage.py up`: the whole program in the foreground."""

import os
import socket
from collections.abc import Sequence
from threading import Event, Thread
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser

from commerce import alarms, database, demo_store, processes
from commerce.processes import Child
from inventory.models import Product
from webhooks.fields import UnreadableSecret
from webhooks.models import Subscription


class Command(BaseCommand):
    help = "Migrate, then run web server and queue cluster in the foreground until SIGTERM or Ctrl-C."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=port_number, default=8000)
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 for all")
        only = parser.add_mutually_exclusive_group()
        only.add_argument("--web-only", action="store_true", help="no queue cluster")
        only.add_argument("--worker-only", action="store_true", help="no web server")
        parser.add_argument("--web-processes", type=number_of_processes, default=1, help="web servers on the port")
        parser.add_argument("--demo", action="store_true", help="with a demo store and a receiver to watch")

    def handle(
        self, *, host: str, port: int, web_only: bool, worker_only: bool, web_processes: int, demo: bool, **_: Any
    ) -> None:
        stop = processes.stop_event()
        web_port = None if worker_only else port
        self.inbox_port = port + 1 if demo else None
        for wanted in filter(None, [web_port, self.inbox_port]):
            require_free(host, wanted)
        database.migrate()
        require_readable_secrets()
        if web_port and not settings.DEBUG:
            call_command("collectstatic", interactive=False, verbosity=0)
        if web_port:
            # For the links that are told to others: this is where they lead, unless the operator names another address.
            os.environ.setdefault("BASE_URL", base_url(host, web_port))
        children: list[Child] = []
        try:
            if self.inbox_port:
                children.append(self._start_inbox(self.inbox_port))
            if web_port:
                children += start_web(host, web_port, web_processes)
            if not web_only:
                children.append(processes.cluster())
            Thread(target=alarms.watch_for_silence, args=(stop,), daemon=True).start()
            self._watch(children, stop, host=host, port=web_port)
        finally:
            processes.stop(children)
        self.stdout.write("Stopped.")

    def _start_inbox(self, port: int) -> Child:
        """The demo receiver, told of everything; on the first run, a shop to have something to tell of."""
        demo_store.allow_loopback()
        if not Product.objects.exists():
            demo_store.load()
        secret = demo_store.subscribe_inbox(f"http://127.0.0.1:{port}/")
        return processes.receiver(demo_store.INBOX_NAME, port=port, secret=secret, inbox=True)

    def _watch(self, children: Sequence[Child], stop: Event, *, host: str, port: int | None) -> None:
        """Keep the children running until `stop`, and say so once the web server listens on `port`, if there is one."""
        announced = False
        while not stop.wait(0.1):
            for child in children:
                if notice := child.revive():
                    self.stderr.write(notice)
            if not announced and (port is None or processes.is_listening(port, host)):
                self._announce(host, port)
                announced = True

    def _announce(self, host: str, port: int | None) -> None:
        if port is not None:
            base = base_url(host, port)
            if settings.DEBUG:
                self.stdout.write(f"Shop          {base}/shop/")
            self.stdout.write(f"Admin         {base}/admin/")
            self.stdout.write(f"API           {base}/api/docs/")
        if self.inbox_port is not None:
            self.stdout.write(f"Receiver      http://localhost:{self.inbox_port}/  (webhooks as they come)")
            self.stdout.write(f"Log in as     {demo_store.login_hint()}")
        self.stdout.write("Running. Ctrl-C stops everything.")
        self.stdout.flush()


def base_url(host: str, port: int) -> str:
    return f"http://{'localhost' if host in {'127.0.0.1', '0.0.0.0'} else host}:{port}"  # noqa: S104


def require_readable_secrets() -> None:
    """The wrong ENCRYPTION_KEYS would otherwise show only when the first delivery is to be signed."""
    try:
        list(Subscription.objects.all())
    except UnreadableSecret as error:
        raise CommandError(str(error)) from None


def port_number(text: str) -> int:
    port = int(text)
    if not 1 <= port <= 65_534:
        raise ValueError
    return port


def number_of_processes(text: str) -> int:
    count = int(text)
    if not 1 <= count <= 64:
        raise ValueError
    return count


def require_free(host: str, port: int) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise unusable(host, port, error) from None


def start_web(host: str, port: int, count: int) -> Sequence[Child]:
    try:
        return processes.web(host=host, port=port, count=count)
    except OSError as error:
        # Taken since it was found free.
        raise unusable(host, port, error) from None


def unusable(host: str, port: int, error: OSError) -> CommandError:
    return CommandError(f"Port {port} on {host} cannot be used: {error.strerror}. Choose another with --port.")
