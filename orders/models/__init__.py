from orders.models.customer import Customer
from orders.models.hold import Hold, HoldRule
from orders.models.line import Allocation, OrderLine
from orders.models.order import Order
from orders.models.payment import Payment, Refund
from orders.models.returns import Return, ReturnLine
from orders.models.shipment import Shipment, ShipmentLine, TrackingUpdate
from orders.models.transition import OrderTransition

__all__ = [
    "Allocation",
    "Customer",
    "Hold",
    "HoldRule",
    "Order",
    "OrderLine",
    "OrderTransition",
    "Payment",
    "Refund",
    "Return",
    "ReturnLine",
    "Shipment",
    "ShipmentLine",
    "TrackingUpdate",
]
