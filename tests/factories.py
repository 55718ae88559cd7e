"""A shop to test with, made by the verbs of the product itself."""

from datetime import UTC, datetime
from typing import Any

from inventory import stock
from inventory.models import Product, StockLevel, Warehouse
from orders import checkout, fulfilment, payments, refunds, returns
from orders.models import Order, Payment, Refund, Return, Shipment
from orders.returns import Receipt, Wish

# A Monday, four hours before the warehouses' cut-off.
NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)


def make_warehouse(code: str = "BER", **fields: Any) -> Warehouse:
    defaults = {"name": f"Warehouse {code}", "country": "DE"}
    return Warehouse.objects.get_or_create(code=code, defaults=defaults | fields)[0]


def make_product(sku: str = "MUG", *, on_hand: int = 10, warehouse: str = "BER", **fields: Any) -> Product:
    """A product that costs EUR 24.95, with units of it in one warehouse."""
    defaults = {"name": sku.title(), "price_minor": 2495, "currency": "EUR"}
    product = Product.objects.create(sku=sku, **(defaults | fields))
    add_stock(product, on_hand=on_hand, warehouse=warehouse)
    return product


def add_stock(product: Product, *, on_hand: int, warehouse: str = "BER") -> StockLevel:
    movement = stock.adjust(
        product=product, warehouse=make_warehouse(warehouse), delta=on_hand, reason="received", actor="test", now=NOW
    )
    return movement.level


def make_cart(*lines: tuple[str, int], method: str = "card", email: str = "ann@example.com") -> checkout.Cart:
    return checkout.Cart(
        customer=checkout.Contact(email=email, name="Ann Lee", phone="+4930123456"),
        lines=lines,
        shipping_address=checkout.Address(
            name="Ann Lee", line1="Torstrasse 1", city="Berlin", postal_code="10119", country="DE"
        ),
        payment=checkout.PaymentChoice(method=method, gateway="" if method == "cod" else "stripe"),
    )


def place_order(*lines: tuple[str, int], method: str = "card", now: datetime = NOW) -> Order:
    """An order of `lines`; without any, of two mugs that it makes."""
    if not lines:
        make_product("MUG")
        lines = (("MUG", 2),)
    return checkout.place(make_cart(*lines, method=method), actor="storefront", now=now)


def pay_for(order: Order, *, reference: str = "", now: datetime = NOW, **differing: Any) -> Payment:
    attempt: dict[str, Any] = {
        "result": "success",
        "kind": "capture",
        "amount_minor": order.total_minor,
        "currency": order.currency,
        "method": order.payment_method,
        "gateway": "stripe",
        "gateway_reference": reference or f"ch_{order.number}",
        "actor": "stripe",
    }
    return payments.record(order.public_id, **(attempt | differing), now=now)


def confirm_order(*lines: tuple[str, int], method: str = "card", now: datetime = NOW) -> Order:
    order = place_order(*lines, method=method, now=now)
    if order.is_cash_on_delivery:
        checkout.confirm(order.public_id, actor="ann", now=now)
    else:
        pay_for(order, now=now)
    return Order.objects.get(pk=order.pk)


def pack_order(*lines: tuple[str, int], method: str = "card", now: datetime = NOW) -> Shipment:
    """The first parcel of a packed order."""
    order = confirm_order(*lines, method=method, now=now)
    return fulfilment.pack(order.public_id, actor="ben", now=now)[0]


def ship_order(*lines: tuple[str, int], method: str = "card", now: datetime = NOW) -> Shipment:
    """The first parcel of a packed order, on its way."""
    shipment = pack_order(*lines, method=method, now=now)
    fulfilment.ship(shipment.public_id, carrier="DHL", tracking_number="JD01", actor="ben", now=now)
    return Shipment.objects.get(pk=shipment.pk)


def deliver_order(*lines: tuple[str, int], method: str = "card", now: datetime = NOW) -> Order:
    """An order whose every parcel has arrived. Cash on delivery is not collected yet."""
    order = confirm_order(*lines, method=method, now=now)
    for parcel in fulfilment.pack(order.public_id, actor="ben", now=now):
        fulfilment.ship(parcel.public_id, carrier="DHL", tracking_number="JD01", actor="ben", now=now)
        fulfilment.deliver(parcel.public_id, delivered_at=now, actor="ben", now=now)
    return Order.objects.get(pk=order.pk)


def send_back(order: Order, quantity: int = 1, *, now: datetime = NOW) -> Return:
    """An open return of units of the order's first line."""
    wishes = [Wish(order.items[0].public_id, quantity, "Chipped")]
    return returns.open_return(order.public_id, wishes=wishes, reason="Not as pictured", actor="ann", now=now)


def take_back(goods_return: Return, *, condition: str = "sellable", now: datetime = NOW) -> Return:
    """All of a return is back, in one condition."""
    receipts = [Receipt(each.line.public_id, each.awaited, condition) for each in goods_return.contents]
    return returns.receive_return(goods_return.public_id, receipts=receipts, actor="ben", now=now)


def ask_refund(order: Order, amount_minor: int = 2495, *, now: datetime = NOW, **differing: Any) -> Refund:
    wish: dict[str, Any] = {"currency": order.currency, "reason": "Not as pictured", "actor": "ann"}
    return refunds.request(order.public_id, amount_minor=amount_minor, **(wish | differing), now=now)


def reserved(sku: str = "MUG") -> int:
    return sum(StockLevel.objects.filter(product__sku=sku).values_list("reserved", flat=True))


def confirm_refund(refund: Refund, now: datetime, reference: str = "re_1") -> Refund:
    return refunds.processed(refund.public_id, gateway_reference=reference, actor="stripe", now=now)


def captured_in_parts() -> Order:
    """EUR 20.00 and EUR 29.90 of one authorisation."""
    order = place_order()
    pay_for(order, kind="authorisation", reference="au_1")
    pay_for(order, amount_minor=2000, reference="ch_1")
    pay_for(order, amount_minor=2990, reference="ch_2")
    return Order.objects.get()
