"""How long `manage.py audit` takes over a million events, each told to one system.

Some more want only what meets a condition; none does, so that each event has to be read for them.
"""

import subprocess
import sys
import time

from benchmarks import harness

EVENTS = 1_000_000
CONDITIONAL = 3
# An hour has sixty of them, and what the audit reads is read again by the engine meanwhile.
BAR_S = 60.0


def measure(events: int = EVENTS) -> float:
    """Seconds of the command as an operator runs it, on PostgreSQL."""
    with harness.database("postgres") as environment:
        harness.in_django(environment, "fill", events, 1)
        harness.in_django(environment, "wish", CONDITIONAL)
        started = time.monotonic()
        subprocess.run(
            [sys.executable, "manage.py", "audit"],
            cwd=harness.ROOT,
            env=environment,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        return time.monotonic() - started


if __name__ == "__main__":
    print(f"{measure():.1f} s for {EVENTS:,} events")
