"""`make chaos`: a storm over SQLite and over PostgreSQL, and the proof that nothing was lost, doubled or half done.

`python -m tests.chaos --database sqlite --seconds 20 --seed 7` repeats the choices of one run; how they meet what the
processes do at that moment is up to the machine.
"""

import argparse
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import django

from tests.postgres import own_postgres

if TYPE_CHECKING:
    from tests.chaos.storm import Storm

DATABASES = {"sqlite": "SQLite", "postgres": "PostgreSQL"}
SECONDS = 150.0


def main() -> int:
    parser = argparse.ArgumentParser("python -m tests.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="how long the storm lasts on each database")
    parser.add_argument("--seed", default=secrets.token_hex(4), help="repeats the choices of a run")
    parser.add_argument("--database", choices=DATABASES, help="without it: one after the other")
    parser.add_argument("--together", action="store_true", help="both at the same time, each then doing half as much")
    wishes = parser.parse_args()
    if wishes.database:
        return one(wishes.database, seconds=wishes.seconds, seed=wishes.seed)
    # Each in a process of its own: Django knows one database for all its life.
    command = [sys.executable, "-m", "tests.chaos", "--seconds", str(wishes.seconds), "--seed", wishes.seed]
    if wishes.together:
        return _together(command)
    return max([subprocess.run([*command, "--database", kind], check=False).returncode for kind in DATABASES])


def _together(command: list[str]) -> int:
    """What each says is told when it has ended."""
    running = [
        subprocess.Popen([*command, "--database", kind], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for kind in DATABASES
    ]
    for process in running:
        sys.stdout.buffer.write(process.communicate()[0])
        sys.stdout.flush()
    return max(process.returncode for process in running)


def one(kind: str, *, seconds: float, seed: str) -> int:
    print(f"\n━━━ Chaos on {DATABASES[kind]}, {seconds:.0f} s, seed {seed} " + "━" * 24, flush=True)
    with tempfile.TemporaryDirectory() as folder, own_postgres() if kind == "postgres" else nullcontext() as server:
        url = f"sqlite:///{folder}/chaos.sqlite3" if server is None else server.get_uri()
        os.environ |= {"DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "tests.chaos.settings"}
        django.setup()
        return run(kind, seconds=seconds, seed=seed, server=server)


def run(kind: str, *, seconds: float, seed: str, server: Any) -> int:
    from django.conf import settings
    from django.core.management import call_command

    from tests.chaos.storm import STOCKED, brewing
    from tests.chaos.verdict import findings

    call_command("migrate", verbosity=0)
    path: Path = settings.VAR_DIR / f"chaos-{kind}.log"
    path.parent.mkdir(exist_ok=True)
    with path.open("wb") as log, brewing(seed, server=server, log=log) as storm:
        storm.rage(seconds)
        raged = time.monotonic()
        storm.settle()
        settled_s = time.monotonic() - raged
        found = findings(storm.systems, storm.shoppers, storm.clerk, stocked=STOCKED)
    tell(storm, settled_s=settled_s)
    for finding in found:
        print(f"  ✗ {finding}")
    print(
        f"  {len(found)} differences; seed {seed}; what the processes said is in {path}" if found else "  ✓ all holds"
    )
    return 1 if found else 0


def tell(storm: "Storm", *, settled_s: float) -> None:
    from tests.chaos.verdict import count_copies, read_log
    from webhooks.models import Attempt

    orders = sum(len(shopper.order_ids) for shopper in storm.shoppers)
    repeated = sum(caller.repeated for caller in storm.callers)
    print(f"  faults: {', '.join(f'{count} {what}' for what, count in storm.faults.items())}")
    print(
        f"  {orders} orders walked to the door; {len(storm.clerk.promised)} deliveries resent; {repeated} requests"
        f" repeated; settled after {settled_s:.1f} s"
    )
    for system in storm.systems:
        owed = read_log(system.subscription)
        copies = count_copies(system.receipts, owed)
        print(
            f"  {system.name:10}{len(owed):6} events {len(system.receipts):6} received: {copies.first} arrived, "
            f"{copies.failed} it had refused, {copies.lost} the log says worker_lost, {copies.resent} resent"
        )
    reasons = Counter(Attempt.objects.exclude(reason="").values_list("reason", flat=True))
    print(f"  failed attempts: {', '.join(f'{count} {reason}' for reason, count in reasons.most_common())}")


if __name__ == "__main__":
    sys.exit(main())
