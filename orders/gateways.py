"""Payment gateways: what they tell of payments and refunds, as the API would be told of it."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from django.db.models import Q
from rest_framework import serializers

from orders import payments, refunds
from orders.models import Order, Payment, Refund
from orders.payments import Kind, PaymentMismatch, Result
from orders.trackers import Said
from webhooks.inbound import Effect, Ignored, Message, Unprocessable, adapter

# Stripe: https://docs.stripe.com/api/events/types

STRIPE = "stripe"
MOST_MINOR = 10**15


class _Amount(serializers.IntegerField):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(min_value=0, max_value=MOST_MINOR, **kwargs)


class _Metadata(serializers.Serializer[Any]):
    order_id = Said(limit=40)
    order_number = Said(limit=20)
    refund_id = Said(limit=40)


class _Error(serializers.Serializer[Any]):
    code = Said(limit=60)
    decline_code = Said(limit=60)
    message = Said(limit=500)
    charge = Said(limit=200)


class _Intent(serializers.Serializer[Any]):
    id = serializers.CharField(max_length=200)
    amount = _Amount()
    amount_received = _Amount(default=0)
    amount_capturable = _Amount(default=0)
    currency = serializers.CharField(max_length=3)
    metadata = _Metadata(required=False, allow_null=True)
    payment_method_types = serializers.ListField(child=Said(limit=40), required=False)
    last_payment_error = _Error(required=False, allow_null=True)


class _Refund(serializers.Serializer[Any]):
    id = serializers.CharField(max_length=200)
    amount = _Amount()
    currency = serializers.CharField(max_length=3)
    status = Said(limit=40)
    reason = Said(limit=100)
    failure_reason = Said(limit=60)
    payment_intent = Said(limit=200)
    charge = Said(limit=200)
    metadata = _Metadata(required=False, allow_null=True)


@adapter(STRIPE)
def read_stripe(message: Message, now: datetime) -> Effect:
    kind = message.body.get("type")
    tell = _KINDS.get(kind) if isinstance(kind, str) else None
    if tell is None:
        raise Ignored(f"An event of the type {kind} asks nothing of us.")
    data = message.body.get("data")
    sent = data.get("object") if isinstance(data, dict) else None
    if not isinstance(sent, dict):
        raise Unprocessable("The event holds no object.")
    return tell(message, sent, now)


def _succeeded(message: Message, sent: Mapping[str, Any], now: datetime) -> Effect:
    intent = _read(_Intent, sent)
    return _record(message, intent, Kind.CAPTURE, amount_minor=intent["amount_received"], now=now)


def _authorised(message: Message, sent: Mapping[str, Any], now: datetime) -> Effect:
    """Told again whenever a part is captured, with what is left: it is one authorisation all the same."""
    intent = _read(_Intent, sent)
    amount_minor = intent["amount_capturable"] + intent["amount_received"]
    return _record(message, intent, Kind.AUTHORISATION, amount_minor=amount_minor, now=now)


def _payment_failed(message: Message, sent: Mapping[str, Any], now: datetime) -> Effect:
    """An intent may be tried, and declined, several times: each try has a charge of its own."""
    intent = _read(_Intent, sent)
    error = intent.get("last_payment_error") or {}
    return _record(
        message,
        intent,
        Kind.CAPTURE,
        amount_minor=intent["amount"],
        result=Result.FAILED,
        gateway_reference=error.get("charge") or message.body.get("id") or intent["id"],
        failure_code=error.get("decline_code") or error.get("code") or "",
        failure_message=error.get("message") or "",
        now=now,
    )


def _record(message: Message, intent: Mapping[str, Any], kind: Kind, *, now: datetime, **told: Any) -> Effect:
    order = _order_of(intent)
    attempt = {
        "result": Result.SUCCESS,
        "gateway_reference": intent["id"],
        "currency": intent["currency"].upper(),
        "method": next(iter(intent.get("payment_method_types") or []), "") or order.payment_method,
    } | told
    try:
        payment = payments.record(order.public_id, kind=kind, gateway=STRIPE, actor=message.source, now=now, **attempt)
    except PaymentMismatch as mismatch:
        # It is kept with the order, which an exception would undo.
        return Effect(str(mismatch), order.public_id, is_refusal=True)
    return Effect(f"{payment.get_kind_display()}: {payment.get_result_display().lower()}", order.public_id)


def _refunded(message: Message, sent: Mapping[str, Any], now: datetime) -> Effect:
    told = _read(_Refund, sent)
    if told["status"] not in ("succeeded", "failed", "canceled"):
        raise Ignored(f"The refund is {told['status'] or 'of no known status'}: nothing has come of it yet.")
    payment = _payment_of(told)
    refund = _find(payment, told)
    if told["status"] == "succeeded":
        refund = refund or _ask(payment, told, actor=message.source, now=now)
        refunds.processed(refund.public_id, gateway_reference=told["id"], actor=message.source, now=now)
        return Effect(f"Refund {refund} processed", payment.order.public_id)
    if refund is None:
        raise Ignored("A refund that was not asked for here has failed: no money has moved.")
    refunds.failed(
        refund.public_id,
        gateway_reference=told["id"],
        failure_code=told["failure_reason"] or told["status"],
        failure_message=f"Stripe: {(told['failure_reason'] or told['status']).replace('_', ' ')}",
        actor=message.source,
        now=now,
    )
    return Effect(f"Refund {refund} failed", payment.order.public_id)


_KINDS: Mapping[str, Callable[[Message, Mapping[str, Any], datetime], Effect]] = {
    "payment_intent.succeeded": _succeeded,
    "payment_intent.amount_capturable_updated": _authorised,
    "payment_intent.payment_failed": _payment_failed,
    "refund.created": _refunded,
    "refund.updated": _refunded,
    "refund.failed": _refunded,
    "charge.refund.updated": _refunded,
}


def _order_of(intent: Mapping[str, Any]) -> Order:
    """By the metadata the checkout gave it, or as the payment the order was placed with."""
    named = intent.get("metadata") or {}
    if named.get("order_id"):
        mine = Q(public_id=named["order_id"])
    elif named.get("order_number"):
        mine = Q(number=named["order_number"])
    else:
        mine = Q(payment_reference=intent["id"])
    order = Order.objects.filter(mine).order_by("-pk").first()
    if order is None and not any(named.values()):
        raise Ignored("It is not a payment of any order here: it names none in its metadata.")
    if order is None:
        raise Order.DoesNotExist(f"There is no order {named['order_id'] or named['order_number']}.")
    return order


def _payment_of(told: Mapping[str, Any]) -> Payment:
    references = [reference for reference in (told["payment_intent"], told["charge"]) if reference]
    paid = Payment.objects.filter(Payment.INCOME, gateway=STRIPE, gateway_reference__in=references)
    payment: Payment | None = paid.select_related("order").first()
    if payment is None:
        raise Payment.DoesNotExist(f"There is no payment {' or '.join(references) or 'that this refund is of'}.")
    return payment


def _find(payment: Payment, told: Mapping[str, Any]) -> Refund | None:
    """The refund that is meant: by its reference, our id in its metadata, or its amount."""
    of_payment = payment.refunds.order_by("pk")
    named = (told.get("metadata") or {}).get("refund_id")
    return (
        of_payment.filter(gateway_reference=told["id"]).first()
        or (of_payment.filter(public_id=named).first() if named else None)
        or of_payment.filter(state=Refund.State.REQUESTED, amount_minor=told["amount"]).first()
    )


def _ask(payment: Payment, told: Mapping[str, Any], *, actor: str, now: datetime) -> Refund:
    """A refund that was made at the gateway, and is told here first."""
    return refunds.request(
        payment.order.public_id,
        amount_minor=told["amount"],
        payment_id=payment.public_id,
        currency=told["currency"].upper(),
        reason=told["reason"].replace("_", " ").capitalize() or "Refunded at the gateway",
        actor=actor,
        now=now,
    )


def _read(shape: type[serializers.Serializer[Any]], sent: Mapping[str, Any]) -> dict[str, Any]:
    serializer = shape(data=sent)
    serializer.is_valid(raise_exception=True)
    return dict(serializer.validated_data)
