"""When to try again. Pure rules: no clock, no database."""

import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime

MINUTE, HOUR = 60, 3600
# Seconds after each failure: ten attempts over 75 h 35 min.
LADDER = (5, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR)
MAX_STEPS = 50
MAX_STEP = 7 * 24 * HOUR
JITTER = 0.1
RETRY_AFTER_CAP = timedelta(hours=10)


def schedule(override: Sequence[float] | None) -> Sequence[float]:
    return LADDER if override is None else override


def longest_wait(step: float) -> timedelta:
    return timedelta(seconds=step * (1 + JITTER))


def next_attempt_at(
    failures: int, *, steps: Sequence[float], failed_at: datetime, retry_after: datetime | None = None
) -> datetime | None:
    """When to try again after `failures` in a row (1 or more), or None when the schedule has run out.

    Jitter only ever adds, and so does the receiver's Retry-After, up to RETRY_AFTER_CAP.
    """
    if failures > len(steps):
        return None
    wait = timedelta(seconds=steps[failures - 1] * (1 + JITTER * random.random()))  # noqa: S311
    if retry_after is not None:
        wait = max(wait, min(retry_after - failed_at, RETRY_AFTER_CAP))
    return failed_at + wait


def parse_retry_after(value: str, *, now: datetime) -> datetime | None:
    """The moment a Retry-After header names, in seconds or as a date (RFC 9110, 10.2.3); None for junk."""
    value = value.strip()
    if value.isascii() and value.isdecimal():
        return now + timedelta(seconds=min(int(value[:9]), RETRY_AFTER_CAP.total_seconds()))
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=now.tzinfo)
