"""How the admin's lists say things: states as badges, moments as times ago."""

from datetime import datetime, timedelta

from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timesince import timesince, timeuntil

NOTHING = "–"


def badge(word: str, label: str) -> SafeString:
    return format_html('<span class="badge badge-{}">{}</span>', word, label)


def moment(at: datetime | None) -> SafeString | str:
    """`3 hours ago` or `in 2 days`, with the exact moment in the title."""
    if at is None:
        return NOTHING
    now = timezone.now()
    if abs(now - at) < timedelta(minutes=1):
        words = "just now"
    else:
        words = f"{timesince(at, now, depth=1)} ago" if at < now else f"in {timeuntil(at, now, depth=1)}"
    exactly = f"{at:%Y-%m-%d %H:%M:%S} UTC"
    return format_html('<time datetime="{}" title="{}">{}</time>', at.isoformat(), exactly, words)
