"""`{{ step.at|clock }}`: a moment, as the page of a shopper's order has it."""

from datetime import UTC, datetime

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

register = template.Library()


@register.filter
def clock(at: datetime) -> SafeString:
    """`Tue 24 Nov, 14:05 UTC`; the page's script puts it into the reader's own time."""
    moment = at.astimezone(UTC)
    words = f"{moment:%a} {moment.day} {moment:%b}, {moment:%H:%M} UTC"
    return format_html('<time datetime="{}" data-clock>{}</time>', moment.isoformat(timespec="seconds"), words)
