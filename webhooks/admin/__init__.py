"""The admin is the product: where store admins connect systems and see whether they are told."""

from webhooks.admin import deliveries, events, subscriptions

__all__ = ["deliveries", "events", "subscriptions"]
