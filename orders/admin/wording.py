"""How the admin says things about orders."""

from datetime import datetime, timedelta

from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timesince import timesince, timeuntil

from orders.models import Shipment

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


def tracking(shipment: Shipment) -> SafeString | str:
    if not shipment.tracking_number:
        return "untracked" if shipment.shipped_at else NOTHING
    if not shipment.tracking_url:
        return shipment.tracking_number
    return format_html('<a href="{}" rel="noreferrer">{}</a>', shipment.tracking_url, shipment.tracking_number)
