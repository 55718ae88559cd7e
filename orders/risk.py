"""The rules that say which orders staff want to look at: tried of each new order, and of each failed payment."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from inventory.money import display
from orders import holds
from orders.models import Hold, HoldRule, Order, Payment
from orders.transitions import ALLOWED_FROM, Kind
from webhooks.prepared import Prepared

Test = HoldRule.Test

FAILURES_WINDOW = timedelta(hours=24)
ORDERS_WINDOW = timedelta(hours=1)
# Who places a rule's hold.
ACTOR = "rule"


@dataclass(frozen=True)
class Finding:
    """A rule that an order meets, and what was found."""

    rule: HoldRule
    found: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.found}"


def screen_order(order: Order, *, now: datetime) -> None:
    """Hold a new order where a rule says so. One query, and one for each rule that counts."""
    hold(order, _find(_rules_of_orders(), order, now), now=now)


_rules_of_orders = Prepared(
    lambda: HoldRule.objects.filter(is_active=True).exclude(test=Test.FAILED_PAYMENTS).order_by("pk")
)


def screen_failure(payment: Payment) -> list[Finding]:
    """What a failed payment, not kept yet, gives against its order. A rule that has held the order before is quiet."""
    order = payment.order
    if order.state not in ALLOWED_FROM[Kind.HELD]:
        return []
    spent = Hold.objects.filter(order=order, rule__isnull=False).values("rule")
    rules = HoldRule.objects.filter(is_active=True, test=Test.FAILED_PAYMENTS).exclude(pk__in=spent)
    return _find(rules.order_by("pk"), order, payment.at)


def hold(order: Order, findings: Sequence[Finding], *, now: datetime) -> None:
    """Place what was found, one hold of each kind. For a caller that has the order's lock."""
    already = set(holds.open_kinds(order)) if findings else set()
    for finding in findings:
        kind = finding.rule.kind
        if kind not in already:
            already.add(kind)
            holds.hold(order, kind=kind, reason=str(finding), rule=finding.rule, actor=ACTOR, now=now)


def _find(rules: Iterable[HoldRule], order: Order, now: datetime) -> list[Finding]:
    tried = ((rule, _CHECKS[Test(rule.test)](rule, order, now)) for rule in rules)
    return [Finding(rule, found) for rule, found in tried if found]


def _failed_payments(rule: HoldRule, order: Order, now: datetime) -> str:
    failures = Payment.objects.filter(
        order__customer=order.customer_id, result=Payment.Result.FAILED, at__gt=now - FAILURES_WINDOW
    )
    count = failures.count() + 1
    return f"{count} failed payments within 24 hours" if count >= (rule.count or 0) else ""


def _many_orders(rule: HoldRule, order: Order, now: datetime) -> str:
    count = Order.objects.filter(contact_email=order.contact_email, placed_at__gt=now - ORDERS_WINDOW).count()
    return f"{count} orders from {order.contact_email} within an hour" if count >= (rule.count or 0) else ""


def _first_order_above(rule: HoldRule, order: Order, now: datetime) -> str:
    if order.currency != rule.currency or order.total_minor < (rule.amount_minor or 0):
        return ""
    earlier = Order.objects.filter(customer=order.customer_id).exclude(state=Order.State.CANCELLED)
    if earlier.exclude(pk=order.pk).exists():
        return ""
    return f"a first order, of {display(order.total_minor, order.currency)}"


def _ships_to(rule: HoldRule, order: Order, now: datetime) -> str:
    return f"ships to {order.address_country}" if order.address_country in rule.countries else ""


def _ships_beyond(rule: HoldRule, order: Order, now: datetime) -> str:
    return f"ships to {order.address_country}" if order.address_country not in rule.countries else ""


# What was found of a rule's test; empty when nothing was.
_CHECKS: Mapping[Test, Callable[[HoldRule, Order, datetime], str]] = {
    Test.FAILED_PAYMENTS: _failed_payments,
    Test.MANY_ORDERS: _many_orders,
    Test.FIRST_ORDER_ABOVE: _first_order_above,
    Test.SHIPS_TO: _ships_to,
    Test.SHIPS_BEYOND: _ships_beyond,
}
