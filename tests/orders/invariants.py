"""What holds whatever is done with orders: counters, stock, money, answers and events agree."""

from collections import Counter
from datetime import datetime
from typing import Any

from django.db.models import F, Q, QuerySet, Sum
from rest_framework.renderers import JSONRenderer

from commerce.audit import audit
from inventory.models import Product, StockLevel
from orders.api import kept
from orders.api.shapes import DETAILS, TIMELINE, OrderDetail, TrackedOrder, show
from orders.models import (
    Allocation,
    Order,
    OrderTransition,
    Payment,
    ReturnLine,
    ShipmentLine,
)
from orders.reading import read
from orders.signals import BY_KIND
from webhooks.models import Event

SHOWN = {OrderDetail: DETAILS, TrackedOrder: TIMELINE}
WORDS = ("state", "fulfilment_status", "payment_status", "on_hold", "status")


def total(rows: QuerySet[Any], field: str) -> int:
    units: int | None = rows.aggregate(total=Sum(field))["total"]
    return units or 0


def check_words(order: Order) -> None:
    """They are what the counters and the money make them."""
    assert order.on_hold == order.holds.filter(released_at=None).exists()
    written = [getattr(order, name) for name in WORDS]
    order.roll_up()
    assert [getattr(order, name) for name in WORDS] == written


def keep_answers(order: Order) -> list[bytes]:
    return [kept.answer(kind, parts, public_id=order.public_id).content for kind, parts in SHOWN.items()]


def check_answers(order: Order) -> None:
    """What was kept when the order's version last changed is what its callers would be told without."""
    told = [JSONRenderer().render(show(kind, read(parts, pk=order.pk))) for kind, parts in SHOWN.items()]
    assert keep_answers(order) == told


def check_money(order: Order) -> None:
    assert order.paid_minor == total(order.payments.filter(Payment.INCOME), "amount_minor")
    assert order.refunded_minor == total(order.refunds.filter(state="processed"), "amount_minor")
    assert order.refund_pending_minor == total(order.refunds.filter(state="requested"), "amount_minor")
    assert order.refundable_minor >= 0
    # Nobody has to notice that something is overpaid, unless its refund has failed.
    assert order.overpaid_minor == 0 or order.refunds.filter(state="failed").exists()
    given = Sum("refunds__amount_minor", filter=~Q(refunds__state="failed"))
    assert not order.payments.annotate(given=given).filter(given__gt=F("amount_minor")).exists()


def check_units(order: Order) -> None:
    """Each is cancelled, sent back and paid back once."""
    paid_back: Counter[str] = Counter()
    cancelled: Counter[str] = Counter()
    for refund in order.refunds.exclude(state="failed"):
        paid_back.update(refund.units if refund.state == "processed" else {})
        cancelled.update({} if refund.goods_return_id else refund.units)
    # Paid once and in full, without a return or goodwill: what is given back is of all that is cancelled.
    if order.paid_minor == order.total_minor > 0 == order.overpaid_minor + order.credited_minor:
        assert cancelled == Counter({line.public_id: line.cancelled for line in order.items})
    for line in order.items:
        assert cancelled[line.public_id] <= line.cancelled
        sent_back = ReturnLine.objects.filter(line=line)
        assert line.returned == total(sent_back, "sellable") + total(sent_back, "damaged")
        assert line.returned <= total(sent_back, "quantity") - total(sent_back, "let_go") <= line.delivered
        assert line.refunded == paid_back[line.public_id]


def check_stock() -> None:
    """What is reserved is what open allocations hold."""
    for level in StockLevel.objects.all():
        gone = ShipmentLine.objects.filter(level=level).exclude(shipment__state__in=["packed", "unpacked", "returned"])
        held = total(Allocation.objects.filter(level=level), "quantity")
        assert level.reserved == held - total(gone, "quantity")


def check_shelves() -> None:
    """Whether a product can be sold is what was told last of it: within one transaction, that it can, or nothing."""
    for product in Product.objects.all():
        levels = StockLevel.objects.filter(product=product, warehouse__is_active=True)
        told = Event.objects.filter(subject=f"{product.public_id}:*").values_list("type", flat=True)
        in_stock = any(level.unreserved for level in levels)
        assert list(told) == ["inventory.back_in_stock"] * in_stock


def check_ledgers(now: datetime) -> None:
    """Every fact is told once, no sequence has a gap, stock is its movements, lines are their parcels."""
    assert audit(now=now).findings == []
    of_steps = [event_type.name for event_type in BY_KIND.values()]
    assert Event.objects.filter(type__in=of_steps).count() == OrderTransition.objects.count()
