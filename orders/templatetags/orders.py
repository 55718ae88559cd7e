"""`{{ order.total_minor|money:order.currency }}`, `{{ order.placed_at|moment }}`, `{{ parcel|tracking }}` and so on."""

from django import template

from inventory.money import display
from orders.admin.shipments import tracking
from webhooks.wording import badge, moment

register = template.Library()
register.filter("money", display)
register.filter("moment", moment)
register.filter("badge", badge)
register.filter("tracking", tracking)
