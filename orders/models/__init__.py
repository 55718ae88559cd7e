from orders.models.customer import Customer
from orders.models.hold import Hold, HoldRule
from orders.models.order import Allocation, Order, OrderLine
from orders.models.payment import Payment
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
    "Shipment",
    "ShipmentLine",
    "TrackingUpdate",
]
