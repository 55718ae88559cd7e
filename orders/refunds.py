"""Money on its way back: asked for here, sent by the gateway or by hand, never more than was paid."""

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime

from django.db.models import Q, Sum

from inventory.money import display
from orders.models import Order, OrderLine, Payment, Refund, Return
from orders.transitions import InvalidTransition, Kind, find_line, lock, look_again, record
from webhooks.sources import DomainError, together

State = Refund.State


class NotRefundable(DomainError):
    """More than is left of what was paid."""

    code = "not_refundable"


class RefundMismatch(DomainError):
    """The currency, the return or the reference is not this refund's."""

    code = "refund_mismatch"


@together()
def request(
    order_id: str,
    *,
    amount_minor: int,
    currency: str,
    reason: str,
    return_id: str | None = None,
    payment_id: str | None = None,
    actor: str,
    now: datetime,
) -> Refund:
    """Ask for money of one payment, or of the one that is named, to be given back. That is not owed again.

    Raises NotRefundable, RefundMismatch, Return.DoesNotExist.
    """
    order = lock(order_id)
    goods_return = order.returns.get(public_id=return_id) if return_id else None
    if currency != order.currency:
        raise RefundMismatch(f"Order {order} is in {order.currency}, not {currency}.")
    payment = _choose_payment(order, amount_minor, payment_id)
    units = _unrefunded_units(order, goods_return) if goods_return else _with_failed(order, {})
    # What is not overpaid is given back out of goodwill, or for a return: it is not owed any more.
    order.credited_minor += max(0, amount_minor - order.overpaid_minor)
    return _request(
        payment, amount_minor, order=order, goods_return=goods_return, units=units, reason=reason, actor=actor, now=now
    )


def give_back(
    order: Order,
    *,
    units: Mapping[str, int] | None = None,
    goods_return: Return | None = None,
    reason: str,
    actor: str,
    now: datetime,
) -> list[Refund]:
    """Ask for all that is overpaid, one refund per payment that it is of. For a caller that has the order's lock.

    `units` are those whose money it is, by their lines' public ids, beside those whose refund has failed; None: all
    that are cancelled, or of the return.
    """
    refunds: list[Refund] = []
    if not order.overpaid_minor:
        return refunds
    meant = _unrefunded_units(order, goods_return) if units is None else _with_failed(order, units)
    for payment, room_minor in _rooms(order):
        if amount_minor := min(room_minor, order.overpaid_minor):
            # Units are counted once, however many payments their money is of.
            counted = {} if refunds else meant
            refunds.append(
                _request(
                    payment,
                    amount_minor,
                    order=order,
                    goods_return=goods_return,
                    units=counted,
                    reason=reason,
                    actor=actor,
                    now=now,
                )
            )
    return refunds


@look_again
@together()
def processed(refund_id: str, *, gateway_reference: str, actor: str, now: datetime) -> Refund:
    """The money is back with the customer. Told again with the same reference, it has no further effect."""
    refund = _lock(refund_id)
    if refund.state == State.PROCESSED and refund.gateway_reference == gateway_reference:
        return refund
    _require_requested(refund)
    _require_new(refund, gateway_reference)
    refund.gateway_reference = gateway_reference
    refund.order.refunded_minor += refund.amount_minor
    _count_units(refund)
    return _settle(refund, State.PROCESSED, actor=actor, now=now)


@together()
def failed(
    refund_id: str,
    *,
    gateway_reference: str = "",
    failure_code: str = "",
    failure_message: str = "",
    actor: str,
    now: datetime,
) -> Refund:
    """The gateway could not give the money back: it can be asked for again, as another refund.

    So it can when the gateway takes back, by the refund's own reference, that it was processed.
    """
    refund = _lock(refund_id)
    if refund.state == State.FAILED and refund.gateway_reference == gateway_reference:
        return refund
    if refund.state == State.PROCESSED and gateway_reference and gateway_reference == refund.gateway_reference:
        _reopen(refund)
    else:
        _require_requested(refund)
    refund.gateway_reference = gateway_reference
    refund.failure_code = failure_code
    refund.failure_message = failure_message
    return _settle(refund, State.FAILED, actor=actor, now=now)


def _request(
    payment: Payment,
    amount_minor: int,
    *,
    order: Order,
    goods_return: Return | None = None,
    units: Mapping[str, int],
    reason: str,
    actor: str,
    now: datetime,
) -> Refund:
    order.refund_pending_minor += amount_minor
    refund = Refund.objects.create(
        order=order,
        payment=payment,
        goods_return=goods_return,
        amount_minor=amount_minor,
        reason=reason,
        units=dict(units),
        requested_at=now,
        requested_by=actor,
        gateway=payment.gateway,
    )
    record(order, Kind.REFUND_REQUESTED, actor=actor, now=now, reason=reason, refund=refund)
    return refund


def _reopen(refund: Refund) -> None:
    """Undo that a refund was processed (unwritten but for the units): its money is with us, and on its way back."""
    refund.order.refunded_minor -= refund.amount_minor
    refund.order.refund_pending_minor += refund.amount_minor
    _count_units(refund, by=-1)


def _settle(refund: Refund, state: State, *, actor: str, now: datetime) -> Refund:
    refund.order.refund_pending_minor -= refund.amount_minor
    refund.state = state
    refund.settled_at = now
    refund.settled_by = actor
    refund.save()
    kind = Kind.REFUND_PROCESSED if state == State.PROCESSED else Kind.REFUND_FAILED
    record(refund.order, kind, actor=actor, now=now, reason=refund.failure_message or refund.reason, refund=refund)
    return refund


def _lock(refund_id: str) -> Refund:
    """A refund whose order is held until the transaction ends. Raises Refund.DoesNotExist."""
    order = lock(Refund.objects.values_list("order__public_id", flat=True).get(public_id=refund_id))
    refund = order.refunds.select_related("payment", "goods_return").get(public_id=refund_id)
    refund.order = order
    return refund


def _require_requested(refund: Refund) -> None:
    if refund.state != State.REQUESTED:
        of = f" ({refund.gateway_reference})" if refund.gateway_reference else ""
        raise InvalidTransition(f"Refund {refund} is {refund.state}{of}, not {State.REQUESTED}.")


def _require_new(refund: Refund, gateway_reference: str) -> None:
    same = Refund.objects.filter(
        gateway=refund.gateway, gateway_reference=gateway_reference, state=State.PROCESSED
    ).first()
    if same is not None:
        raise RefundMismatch(f"{gateway_reference} is the reference of the refund {same} already.")


def _choose_payment(order: Order, amount_minor: int, payment_id: str | None) -> Payment:
    """The newest payment that has the amount left. Raises NotRefundable."""
    rooms = [(payment, room) for payment, room in _rooms(order) if payment_id in {None, payment.public_id}]
    for payment, room_minor in rooms:
        if 1 <= amount_minor <= room_minor:
            return payment
    most, asked = (
        display(minor, order.currency) for minor in (max((room for _, room in rooms), default=0), amount_minor)
    )
    of_one = " of any one payment" if len(rooms) > 1 else ""
    raise NotRefundable(f"Order {order} is {order.payment_status}: {most}{of_one} can be refunded, not {asked}.")


def _rooms(order: Order) -> Iterator[tuple[Payment, int]]:
    """The payments that brought money in, newest first, each with what is left of it to give back."""
    live = Q(refunds__state__in=[State.REQUESTED, State.PROCESSED])
    payments = order.payments.filter(Payment.INCOME).annotate(given_minor=Sum("refunds__amount_minor", filter=live))
    for payment in payments.order_by("-pk"):
        if room_minor := payment.amount_minor - (payment.given_minor or 0):
            yield payment, room_minor


def _unrefunded_units(order: Order, goods_return: Return | None) -> dict[str, int]:
    """Of a return, or without one of what is cancelled: the units that no other refund is for, by line public id."""
    if goods_return is None:
        units = Counter({line.public_id: line.cancelled for line in order.items})
    else:
        goods_return.order = order
        units = Counter({content.line.public_id: content.kept for content in goods_return.contents})
    for counted in order.refunds.filter(goods_return=goods_return).exclude(state=State.FAILED):
        units -= Counter(counted.units)
    return dict(+units)


def _with_failed(order: Order, units: Mapping[str, int]) -> dict[str, int]:
    """These cancelled units, and those whose refund has failed: as far as no other refund is for them."""
    failed = order.refunds.filter(goods_return=None, state=State.FAILED).values_list("units", flat=True)
    wanted = sum(map(Counter, failed), Counter(units))
    return dict(wanted & Counter(_unrefunded_units(order, None))) if wanted else {}


def _count_units(refund: Refund, *, by: int = 1) -> None:
    lines = [find_line(refund.order, line_id) for line_id in refund.units]
    for line in lines:
        line.refunded += by * refund.units[line.public_id]
    OrderLine.objects.bulk_update(lines, ["refunded"])
