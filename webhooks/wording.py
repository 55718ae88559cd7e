"""How every page of the admin says things: states as badges, moments as times ago."""

from datetime import datetime

from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

NOTHING = "–"
_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


def badge(word: str, label: str) -> SafeString:
    return format_html('<span class="badge badge-{}">{}</span>', word, label)


def distance(seconds: float) -> str:
    """`3 min`, in the largest unit that fits."""
    unit, size = next((unit for unit in _UNITS if seconds >= unit[1]), _UNITS[-1])
    return f"{int(seconds // size)} {unit}"


def moment(at: datetime | None, *, now: datetime | None = None) -> SafeString | str:
    """`3 min ago` or `in 4 h`, with the exact moment in the title."""
    if at is None:
        return NOTHING
    away = (at - (now or timezone.now())).total_seconds()
    words = "now" if abs(away) < 1 else f"in {distance(away)}" if away > 0 else f"{distance(-away)} ago"
    exact = f"{at:%Y-%m-%d %H:%M:%S} UTC"
    return format_html('<time datetime="{}" title="{}">{}</time>', at.isoformat(), exact, words)
