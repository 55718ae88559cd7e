"""A thousand of every race between two verbs, on both databases: one winner each, and a clean audit.

`python -m benchmarks.races [ROUNDS]` also prints how often each ended how.
"""

import sys
import time
from collections.abc import Mapping
from datetime import timedelta

from benchmarks import harness

DATABASES = {"postgres": "PostgreSQL", "sqlite": "SQLite"}
ROUNDS = 1_000

Ended = Mapping[str, Mapping[str, float]]


def run_all(rounds: int) -> Ended:
    """By race: how often it ended how, and the seconds it took. Raises AssertionError where one ended wrongly."""
    from django.utils import timezone

    from commerce.audit import audit
    from tests.orders import races

    races.stock_up()
    found = {}
    for name, race in races.RACES.items():
        began = time.monotonic()
        ended = races.run(race, rounds)
        found[name] = {" / ".join(ends): float(count) for ends, count in ended.items()}
        found[name]["seconds"] = round(time.monotonic() - began, 1)
    wrong = audit(now=timezone.now() + timedelta(hours=1)).findings
    assert not wrong, wrong
    return found


def measure(kind: str, rounds: int = ROUNDS) -> Ended:
    with harness.database(kind) as environment:
        ended: Ended = harness.in_django(environment, "race", rounds)
    return ended


def main() -> int:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    for kind, name in DATABASES.items():
        ended = measure(kind, rounds)
        print(f"\n{name}, {rounds} races each; the audit finds nothing")
        for race, ends in ended.items():
            print(f"  {race}:")
            for end, count in ends.items():
                print(f"    {count:>7g}  {end}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
