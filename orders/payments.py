"""Money as gateways and couriers tell of it: every attempt is kept, once."""

from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Q

from inventory.money import display
from orders import refunds, risk
from orders.acceptance import accept, keep_stock
from orders.models import Order, Payment, Return
from orders.transitions import lock, look_again, store
from webhooks.sources import DomainError, together

Kind = Payment.Kind
Result = Payment.Result

ATTEMPTS_WINDOW = timedelta(hours=24)
CASH = "cash"
# What staff have recorded, in place of the gateway's name.
BY_HAND = "manual"


class PaymentMismatch(DomainError):
    """The amount, the currency or the reference is not this order's."""

    code = "payment_mismatch"


def record(
    order_id: str,
    *,
    result: str,
    kind: str,
    amount_minor: int,
    currency: str,
    method: str,
    gateway: str,
    gateway_reference: str,
    failure_code: str = "",
    failure_message: str = "",
    actor: str,
    now: datetime,
) -> Payment:
    """Keep an attempt, and confirm a pending order that it covers. Raises PaymentMismatch.

    What a gateway tells twice has one effect: the first Payment is returned. Another amount under the same reference
    does not match. Money that is not owed, such as for a
    cancelled order, is kept too, and its refund requested. What does not match is kept as refused, for staff to see:
    a caller whose own transaction ends with the exception would lose it.
    """
    payment = _keep(
        order_id,
        kind=Kind(kind),
        result=Result(result),
        amount_minor=amount_minor,
        currency=currency,
        method=method,
        gateway=gateway,
        gateway_reference=gateway_reference,
        failure_code=failure_code,
        failure_message=failure_message,
        actor=actor,
        at=now,
    )
    if payment.result == Result.REFUSED:
        raise PaymentMismatch(payment.failure_message)
    return payment


def collect_cash(
    order_id: str, *, amount_minor: int, currency: str, reference: str, actor: str, now: datetime
) -> Payment:
    """Cash on delivery that came in after the parcel was handed over. The same reference again has no effect."""
    return record(
        order_id,
        result=Result.SUCCESS,
        kind=Kind.COD_COLLECTION,
        amount_minor=amount_minor,
        currency=currency,
        method="cod",
        gateway=CASH,
        gateway_reference=reference,
        actor=actor,
        now=now,
    )


def collect(order: Order, *, amount_minor: int, reference: str, actor: str, now: datetime) -> Payment:
    """Keep cash that was handed over at the door.

    For a caller that has the order's lock, will write the order, and then gives back what was too much.
    """
    payment = Payment(
        order=order,
        kind=Kind.COD_COLLECTION,
        result=Result.SUCCESS,
        amount_minor=amount_minor,
        currency=order.currency,
        method=order.payment_method,
        gateway=CASH,
        gateway_reference=reference,
        actor=actor,
        at=now,
    )
    _require_match(payment)
    _add(payment)
    return payment


def give_back(order: Order, *, actor: str, now: datetime) -> None:
    """Ask for the refund of what a payment brought in beyond what is owed. For a caller that has the order's lock."""
    if order.overpaid_minor:
        goods_return = _returned_unpaid(order)
        reason = _why_back(order, goods_return)
        refunds.give_back(order, goods_return=goods_return, reason=reason, actor=actor, now=now)


def _find_told(payment: Payment) -> Payment | None:
    """What has been told under the reference, of this order or of another, that leaves no room for this one.

    An intent has one reference for its declines, its authorisation and its capture: they are different facts. But money
    comes in under it once, captured or collected.
    """
    same = Q(kind=payment.kind, result=payment.result)
    if payment.result == Result.SUCCESS:
        elsewhere = Q(result=Result.SUCCESS) & ~Q(order=payment.order)
        same |= elsewhere if payment.kind == Kind.AUTHORISATION else elsewhere | Payment.INCOME
    return (
        Payment.objects.select_related("order__customer")
        .filter(same, gateway=payment.gateway, gateway_reference=payment.gateway_reference)
        .order_by("pk")
        .first()
    )


def _require_same(payment: Payment, told: Payment) -> None:
    """Raise PaymentMismatch unless it is but told again: another amount is other money, or a mistake."""
    if told.order_id != payment.order_id:
        raise PaymentMismatch(f"{payment.gateway_reference} has already paid for order {told.order}.")
    before, again = (
        f"{each.get_kind_display().lower()} of {display(each.amount_minor, each.currency)}" for each in (told, payment)
    )
    if again != before:
        raise PaymentMismatch(
            f"{payment.gateway_reference} stands for {before} already: {again} needs a reference of its own."
        )


@look_again
@together()
def _keep(order_id: str, **attempt: Any) -> Payment:
    order = lock(order_id)
    payment = Payment(order=order, **attempt)
    try:
        if (told := _find_told(payment)) is not None:
            _require_same(payment, told)
            return told
        _require_match(payment)
    except PaymentMismatch as mismatch:
        return _refuse(payment, mismatch)
    against = risk.screen_failure(payment) if payment.result == Result.FAILED else []
    # Before the payment is kept, so that its event says so.
    order.on_hold = order.on_hold or bool(against)
    _add(payment)
    if payment.result == Result.SUCCESS and order.is_covered and order.can_be_confirmed:
        accept(order, actor=payment.actor, now=payment.at)
    else:
        store(order, now=payment.at)
    risk.hold(order, against, now=payment.at)
    give_back(order, actor=payment.actor, now=payment.at)
    return payment


def _returned_unpaid(order: Order) -> Return | None:
    """The one return that came before its money did; None also where several did."""
    unpaid = order.returns.filter(state=Return.State.RECEIVED, expected_refund_minor=0, refunds=None)
    found = list(unpaid[:2]) if order.credited_minor else []
    return found[0] if len(found) == 1 else None


def _why_back(order: Order, goods_return: Return | None) -> str:
    if order.state == Order.State.CANCELLED:
        return "Paid after it was cancelled"
    return "Paid after it was sent back" if goods_return else "Paid more than is owed"


def _refuse(payment: Payment, mismatch: PaymentMismatch) -> Payment:
    """Keep an attempt that is not the order's, without any effect on it; once, however often it is told."""
    same: Payment | None = payment.order.payments.filter(
        gateway=payment.gateway,
        gateway_reference=payment.gateway_reference,
        kind=payment.kind,
        result=Result.REFUSED,
        failure_message=str(mismatch),
    ).first()
    if same is not None:
        return same
    payment.result = Result.REFUSED
    payment.failure_code = mismatch.code
    payment.failure_message = str(mismatch)
    _add(payment)
    store(payment.order, now=payment.at)
    return payment


def _add(payment: Payment) -> None:
    """Count an attempt in, and keep it. The order is left for the caller to write."""
    order = payment.order
    attempts = order.payments.aggregate(
        total=Count("pk"), recent=Count("pk", filter=Q(at__gt=payment.at - ATTEMPTS_WINDOW))
    )
    payment.attempt_number = attempts["total"] + 1
    payment.attempts_24h = attempts["recent"] + 1
    if payment.result == Result.SUCCESS:
        _credit(payment)
    order.settle(failed=payment.result == Result.FAILED)
    order.roll_up()
    payment.save()


def _credit(payment: Payment) -> None:
    order = payment.order
    if payment.kind == Kind.AUTHORISATION:
        order.authorised_minor += payment.amount_minor
    else:
        order.paid_minor += payment.amount_minor
    if order.is_covered:
        keep_stock(order)


def _require_match(payment: Payment) -> None:
    order = payment.order
    if payment.currency != order.currency:
        raise PaymentMismatch(f"Order {order} is in {order.currency}, not {payment.currency}.")
    if payment.kind == Kind.COD_COLLECTION and not order.is_cash_on_delivery:
        raise PaymentMismatch(f"Order {order} is paid by {order.payment_method}, not in cash on delivery.")
    if payment.amount_minor < 1 or not _is_owed(payment):
        owed, given = (display(minor, order.currency) for minor in (order.outstanding_minor, payment.amount_minor))
        raise PaymentMismatch(f"Order {order} owes {owed}, which a payment of {given} does not match.")


def _is_owed(payment: Payment) -> bool:
    """All of the order at once; what has been authorised may be captured in parts, and cash collected per parcel."""
    order = payment.order
    if payment.kind == Kind.COD_COLLECTION:
        # What was cancelled or came back may have been paid at the door before that was known.
        return payment.amount_minor <= max(order.outstanding_minor, order.total_minor - order.paid_minor)
    if payment.kind == Kind.CAPTURE and payment.amount_minor <= order.authorised_minor - order.paid_minor:
        return True
    # The checkout may have begun before lines, or all of the order, were cancelled.
    return payment.amount_minor in {order.total_minor, order.due_minor}
