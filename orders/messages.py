"""What shoppers are told of their order by e-mail, until staff find words of their own."""

from webhooks.catalogue import Wording

_CLOSE = """

See where it is, at any time:
{tracking_page_url}

Thank you for shopping with us."""
_PARCEL = "Order {order_number}, parcel {shipment_index} of {shipment_count}."

CONFIRMED = Wording(
    subject="Thank you! Your order {order_number} is confirmed",
    text="""Hello {customer_name|there},

Thank you for your order. It is confirmed, and we are getting it ready:
{item_count} item(s) for {total_amount} {currency}.

We expect it with you between {promised_delivery_from} and {promised_delivery_to}."""
    + _CLOSE,
)
PACKED = Wording(
    subject="Your order {order_number} is packed",
    text="""Hello {customer_name|there},

Your order is packed and ready to ship. We write again as soon as it leaves.

"""
    + _PARCEL
    + _CLOSE,
)
SHIPPED = Wording(
    subject="Your order {order_number} is on its way",
    text="""Hello {customer_name|there},

Your order has left our warehouse with {carrier}. Its tracking number: {tracking_number|none for this one}.

"""
    + _PARCEL
    + _CLOSE,
)
OUT_FOR_DELIVERY = Wording(
    status="out_for_delivery",
    subject="Your order {order_number} comes today",
    text="""Hello {customer_name|there},

Good news: your order is out for delivery and should reach you today.

"""
    + _PARCEL
    + _CLOSE,
)
DELIVERED = Wording(
    subject="Your order {order_number} has arrived",
    text="""Hello {customer_name|there},

Your order was delivered. We hope you like it! If something is not right, you can ask for a return on its page.

"""
    + _PARCEL
    + _CLOSE,
)
