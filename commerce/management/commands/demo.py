"""`manage.py demo`: one order walked from placed to delivered, and everybody who was told."""

import json
import os
import signal
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connection
from django.utils import timezone
from standardwebhooks.webhooks import Webhook

from commerce import database, demo_store, processes, tokens
from commerce.inbound import sources
from commerce.ledger import RECEIVERS, Arrival, Ledger
from commerce.models import Heartbeat, InboundSource
from commerce.processes import Child
from webhooks import subscriptions
from webhooks.models import Subscription
from webhooks.signing import new_secret

ACTOR = "manage.py demo"
STARTED_WITHIN_S = 20.0
TOLD_WITHIN_S = 10.0
# How long after the last delivery a copy that should not come is waited for.
QUIET_S = 1.0
COURIER = "demo-courier"
TRACKING_NUMBER = "00340434161094042557"
CART = {
    "customer": {"email": "ada@example.com", "name": "Ada Lindqvist", "phone": "+4915112345678", "locale": "de"},
    "lines": [{"sku": "MUG-BLUE", "quantity": 2}, {"sku": "TEA-SENCHA", "quantity": 1}],
    "shipping_address": {
        "name": "Ada Lindqvist",
        "line1": "Oderberger Straße 12",
        "city": "Berlin",
        "postal_code": "10435",
        "country": "DE",
    },
    "payment": {"method": "card", "gateway": "demopay", "reference": "demo-checkout-1"},
    "channel": "web",
}
PAYMENT = {
    "result": "success",
    "kind": "capture",
    "method": "card",
    "gateway": "demopay",
    "gateway_reference": f"demo-{uuid.uuid4().hex}",
}


class Api:
    """The HTTP API as an outsider uses it."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.token = tokens.issue("demo", scopes=["storefront", "payments", "fulfilment"])

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        headers = {
            "Authorization": f"Bearer {self.token}",
            "Content-Type": "application/json",
            "Idempotency-Key": str(uuid.uuid4()),
        }
        return post(f"{self.base}/api/v1/{path}", json.dumps(body), headers)


class Courier:
    """Tells of each scan as couriers do: by a webhook that is signed, here by a library that is not ours."""

    def __init__(self, base: str) -> None:
        source = InboundSource.objects.filter(name=COURIER).first() or sources.create(
            COURIER, scheme=InboundSource.Scheme.STANDARD, secrets=[new_secret()], now=timezone.now()
        )
        self.url = f"{base}/api/v1/inbound/{COURIER}/"
        self.webhook = Webhook(source.live_secrets[0])

    def scan(self, status: str, *, location: str = "") -> None:
        scan = {"tracking_number": TRACKING_NUMBER, "status": status, "occurred_at": now(), "location": location}
        body = json.dumps({"type": "tracking.updated", "data": scan})
        message_id, sent_at = uuid.uuid4().hex, timezone.now()
        headers = {
            "Content-Type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": str(int(sent_at.timestamp())),
            "webhook-signature": self.webhook.sign(message_id, sent_at, body),
        }
        post(self.url, body, headers)


def post(url: str, body: str, headers: dict[str, str]) -> dict[str, Any]:
    request = urllib.request.Request(url, body.encode(), headers, method="POST")  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
            result: dict[str, Any] = json.load(answer)
            return result
    except urllib.error.HTTPError as error:
        raise CommandError(f"POST {url} was answered {error.code}: {error.read().decode()}") from None


class Command(BaseCommand):
    help = "Walk one order from placed to delivered, with four receivers that are told of every step."

    def handle(self, **_: Any) -> None:
        # So that everything is stopped and cleared away on SIGTERM as on Ctrl-C.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        started_at = time.monotonic()
        children: list[Child] = []
        self.ledger = Ledger()
        with own_database():
            demo_store.allow_loopback()
            # The shopper is written to as well, but not in between the lines of the table.
            os.environ.setdefault("EMAIL_URL", "dummymail://")
            database.migrate()
            demo_store.load()
            try:
                self._walk(self._start(children))
            finally:
                processes.stop(children)
                unsubscribe()
        self._conclude(time.monotonic() - started_at)

    def _start(self, children: list[Child]) -> Api:
        for name, event_types in RECEIVERS.items():
            port = processes.free_port()
            secret = subscribe(name, event_types, port)
            child = processes.receiver(name, port=port, secret=secret, stdout=subprocess.PIPE)
            children.append(child)
            self.ledger.follow(child)
        port = processes.free_port()
        children += processes.web(host="127.0.0.1", port=port)
        children.append(processes.cluster())
        wait_until_ready(port, since=timezone.now())
        return Api(f"http://127.0.0.1:{port}")

    def _walk(self, api: Api) -> None:
        self._say(self.style.MIGRATE_HEADING("One order, five steps, four systems that are told."))
        self._say(
            "OMS, ERP, shipping app and notifier are programs of their own; each verifies with `standardwebhooks`."
        )
        self._say(f"\n   {'EVENT':24}{'ABOUT':12}{'RECEIVER':14}{'VERIFIED':8}{'LATENCY':>10}{'SEQUENCE':>10}")

        order = api.post("orders/", CART)
        self._step(1, f"Placed: order {order['order_number']}", ["order.created", *["inventory.updated"] * 2])
        price = {"amount": order["total_amount"], "currency": order["currency"]}
        api.post(f"orders/{order['order_id']}/payments/", PAYMENT | price)
        self._step(
            None, f"Paid: {order['total_amount']} {order['currency']} by card", ["payment.success", "order.confirmed"]
        )

        shipments = api.post(f"fulfilment/orders/{order['order_id']}/pack/", {})["shipments"]
        self._step(2, f"Packed in {shipments[0]['warehouse_code']}", ["order.packed"])
        parcel = f"fulfilment/shipments/{shipments[0]['shipment_id']}"
        api.post(f"{parcel}/ship/", {"carrier": "DHL", "tracking_number": TRACKING_NUMBER})
        self._step(3, "Shipped by DHL", ["order.shipped", *["inventory.updated"] * 2])

        courier = Courier(api.base)
        for number, status, place in ((4, "in_transit", "Leipzig"), (None, "out_for_delivery", "Berlin")):
            courier.scan(status, location=place)
            self._step(number, f"{status.replace('_', ' ').capitalize()}, {place}", ["order.tracking.updated"])
        courier.scan("delivered")
        self._step(5, "Delivered", ["order.tracking.updated", "order.delivered"])
        for arrival in self.ledger.linger(quiet_s=QUIET_S):
            self._show(arrival)

    def _step(self, number: int | None, title: str, event_types: Sequence[str]) -> None:
        """Announce what was done, and show who is told of it. Without a number: still the same step."""
        self._say(f"\n{number or ' '}  {self.style.MIGRATE_HEADING(title)}")
        self.ledger.expect(event_types)
        for arrival in self.ledger.wait(timeout_s=TOLD_WITHIN_S):
            self._show(arrival)

    def _show(self, arrival: Arrival) -> None:
        verified = self.style.SUCCESS(f"{'yes':8}") if arrival.verified else self.style.ERROR(f"{'NO':8}")
        what = f"{arrival.type:24}{arrival.label:12}{arrival.receiver:14}"
        self._say(f"   {what}{verified}{arrival.latency_ms:>7} ms{arrival.sequence:>10}")

    def _conclude(self, seconds: float) -> None:
        if faults := self.ledger.faults():
            raise CommandError("\n".join(["Not everything is as it must be:", *faults]))
        latencies = sorted(arrival.latency_ms for arrival in self.ledger.arrivals)
        self._say(
            "\n"
            + self.style.SUCCESS(
                f"All {len(latencies)} deliveries arrived, each once, verified and in sequence."
                f" Median {statistics.median(latencies):.0f} ms, slowest {latencies[-1]} ms; {seconds:.1f} s in all."
            )
        )

    def _say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()


def wait_until_ready(port: int, *, since: datetime) -> None:
    """Until the web server listens and the queue cluster has given a sign of life."""
    deadline = time.monotonic() + STARTED_WITHIN_S
    while time.monotonic() < deadline:
        if processes.is_listening(port) and Heartbeat.objects.filter(at__gte=since).exists():
            return
        time.sleep(0.05)
    raise CommandError(f"The web server and the queue cluster were not ready within {STARTED_WITHIN_S:.0f} s.")


def now() -> str:
    return timezone.now().isoformat()


def subscribe(name: str, event_types: Sequence[str], port: int) -> str:
    """Tell the receiver on `port`, with a header and a secret of its own. Returns the secret."""
    subscription = subscriptions.create(
        name=name,
        url=f"http://127.0.0.1:{port}/webhooks",
        event_types=event_types,
        headers={"X-Api-Key": uuid.uuid4().hex},
        by=ACTOR,
        now=timezone.now(),
    )
    return subscription.live_secrets(now=timezone.now())[0]


def unsubscribe() -> None:
    """The receivers are gone: leave none of them to be tried again in a database that stays."""
    for subscription in Subscription.objects.filter(state_changed_by=ACTOR, state=Subscription.State.ACTIVE):
        subscriptions.disable(subscription, by=ACTOR, now=timezone.now(), reason="The demo has ended.")


@contextmanager
def own_database() -> Iterator[None]:
    """A SQLite file for this run alone, unless DATABASE_URL names another; for the child processes too."""
    if "DATABASE_URL" in os.environ:
        yield
        return
    with TemporaryDirectory(prefix="commerce-demo-") as directory:
        file = Path(directory) / "demo.sqlite3"
        os.environ["DATABASE_URL"] = f"sqlite:///{file}"
        connection.close()
        connection.settings_dict["NAME"] = str(file)
        try:
            yield
        finally:
            connection.close()
