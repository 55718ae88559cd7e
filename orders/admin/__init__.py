"""The admin of orders: where staff confirm, pack, ship, deliver and cancel, and see who has been told."""

from orders.admin import customers, hold_rules, orders, refunds, returns, shipments

__all__ = ["customers", "hold_rules", "orders", "refunds", "returns", "shipments"]
