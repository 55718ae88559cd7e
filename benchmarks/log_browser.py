"""The log browser at 5 million deliveries against 5 thousand: `python -m benchmarks.log_browser`.

Also how long `manage.py audit` takes over those million events.
"""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

from benchmarks import harness

SYSTEMS = 5
SMALL, LARGE = 1_000, 1_000_000
REPEATS = 9
BAR = 1.5


def pages(events: int) -> dict[str, str]:
    """Each filter the log offers, some of them together, and its last pages.

    `well` is a system to which all has arrived, `down` one to which nothing does of late.
    """
    last = events // 2
    # A movement happens each second, up to now.
    middle, early = (f"{datetime.now(UTC) - timedelta(seconds=events * share):%Y-%m-%dT%H:%M}" for share in (0.5, 0.95))
    return {
        "all": "",
        **{f"state {state}": f"state={state}" for state in STATES},
        "subscription": "subscription={well}",
        "event type": "event_type=inventory.updated",
        "label": "label=SKU-7",
        **{f"period {period}": f"period={period}" for period in ("1h", "24h", "7d", "30d")},
        "until the middle": f"until={middle}",
        "until, early": f"until={early}",
        "since and until": f"since={early}&until={middle}",
        "since, skipped": f"since={middle}&state=skipped",
        "search for an order": "q=SKU-7",
        "search for an event": f"q=evt_{last:026}",
        "search for a delivery": f"q=dlv_{last * SYSTEMS:026}",
        **{f"well, {state}": f"subscription={{well}}&state={state}" for state in STATES},
        **{f"down, {state}": f"subscription={{down}}&state={state}" for state in STATES},
        "subscription, until": f"subscription={{well}}&until={early}",
        "subscription, another type": "subscription={well}&event_type=order.created",
        "type, until": f"event_type=inventory.updated&until={early}",
        "type, skipped": "event_type=inventory.updated&state=skipped",
        "type, parked": "event_type=inventory.updated&state=parked",
        "label, parked": "label=SKU-7&state=parked",
        "deep in the log": f"older_than={events}",
    }


STATES = ("pending", "sending", "delivered", "parked", "skipped", "superseded", "failing", "open")
# Without a manifest of the static files, which nobody has collected here.
STORAGES = {"staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}


def measure(small: int, large: int) -> dict[str, list[float]]:
    """Runs inside Django. Milliseconds of each page with so many events, of the audit, and of filling the tables.

    Both databases are on one server, and asked in turns: what else the machine does weighs on both alike.
    """
    from django.db import connection
    from django.test import override_settings

    databases = {"bench_small": small, str(connection.settings_dict["NAME"]): large}
    with connection.cursor() as cursor:
        cursor.execute("CREATE DATABASE bench_small")
    taken: dict[str, list[float]] = {"filling": [], "audit": []}
    clients = {name: _prepare(name, events, taken) for name, events in databases.items()}
    with override_settings(STORAGES=STORAGES):
        for _ in range(REPEATS):
            for place, (name, (client, systems)) in enumerate(clients.items()):
                _use(name)
                _milliseconds(client, "/admin/webhooks/delivery/?state=sending")
                for page, query in pages(databases[name]).items():
                    url = f"/admin/webhooks/delivery/?{query.format_map(systems)}"
                    best = taken.setdefault(page, [float("inf")] * len(clients))
                    best[place] = min(best[place], _milliseconds(client, url))
    return taken


def _prepare(name: str, events: int, taken: dict[str, list[float]]) -> tuple[Any, dict[str, str]]:
    """A full database, somebody who is logged in, and the subscriptions they look at."""
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from django.test import Client
    from django.utils import timezone

    from benchmarks.filling import WELL, fill
    from commerce.audit import audit
    from webhooks.models import Subscription

    _use(name)
    call_command("migrate", verbosity=0)
    started = time.monotonic()
    fill(events, SYSTEMS)
    taken["filling"].append((time.monotonic() - started) * 1000)
    started = time.monotonic()
    report = audit(now=timezone.now())
    taken["audit"].append((time.monotonic() - started) * 1000)
    assert not report.findings, report.findings
    client = Client(SERVER_NAME="127.0.0.1")
    client.force_login(User.objects.create_superuser("bench"))
    systems = Subscription.objects.order_by("pk").values_list("public_id", flat=True)
    return client, {"well": systems[WELL], "down": systems[SYSTEMS - 1]}


def _use(database: str) -> None:
    from django.db import connection

    connection.close()
    connection.settings_dict["NAME"] = database


def _milliseconds(client: Any, url: str) -> float:
    started = time.perf_counter()
    answer = client.get(url)
    assert answer.status_code == 200, (url, answer.status_code)
    return (time.perf_counter() - started) * 1000


def compare() -> dict[str, list[float]]:
    """Of the small log and of the large one."""
    with harness.database("postgres") as environment:
        found: dict[str, list[float]] = harness.in_django(environment, "browse_log", SMALL, LARGE)
    return found


def slowest(found: dict[str, list[float]]) -> float:
    """How many times as long the slowest page takes with many."""
    small, large = (max(found[name][place] for name in pages(SMALL)) for place in range(2))
    return large / small


def main() -> None:
    found = compare()
    for name, (small, large) in found.items():
        print(f"{name:24} {small:10.1f} ms {large:12.1f} ms {large / small:8.2f}")
    print(f"slowest page: ratio {slowest(found):.2f} (bar {BAR})")


if __name__ == "__main__":
    main()
