"""What a killed worker held, what was parked and whose request died come back in seconds.

The product needs no settings for these. Their order is kept: an attempt ends well before its lease.
"""

from dataclasses import replace
from datetime import timedelta

from django.apps import AppConfig

LEASE = timedelta(seconds=3)
DEADLINE_S = 1.5
FIRST_REST, LONGEST_REST = timedelta(seconds=1), timedelta(seconds=2)
SLOW_CLOCK = timedelta(seconds=1)
TIMER_S = 1.0
CLOCK_HANGS_AFTER_S = 5.0
REQUEST_LOST_AFTER = timedelta(seconds=3)


class ShortClocks(AppConfig):
    name = "tests.chaos"

    def ready(self) -> None:
        from commerce import idempotency
        from webhooks import claims, clock, health, parking, timers, transport

        claims.LEASE = LEASE
        transport.DEADLINE_S = DEADLINE_S
        health.FIRST_REST, health.LONGEST_REST = FIRST_REST, LONGEST_REST
        parking.PACE = parking.SLOW_CLOCK = SLOW_CLOCK
        clock.HANGS_AFTER_S = CLOCK_HANGS_AFTER_S
        idempotency.LOST_AFTER = REQUEST_LOST_AFTER
        timers.registered[:] = [replace(timer, seconds=min(timer.seconds, TIMER_S)) for timer in timers.registered]
