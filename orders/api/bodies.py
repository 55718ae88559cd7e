"""What callers may send."""

from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone
from rest_framework import serializers
from rest_framework.fields import empty

from inventory.models import is_country
from inventory.money import AmountField, CurrencyField
from orders import fulfilment, promises
from orders.models import Customer, Hold, Order, Payment
from orders.models.returns import Condition
from orders.models.shipment import Fate, TrackingStatus
from orders.returns import Receipt, Wish
from orders.verdicts import Verdict
from webhooks.bodies import Body, Moment

MOST_LINES = 100
# With MOST_LINES and the dearest price there can be, the total still fits the database's 64 bits.
MOST_UNITS = 10_000
# How far the clock of a courier or a warehouse may be ahead of ours.
CLOCK_SKEW = timedelta(minutes=5)


class OptionalText(serializers.CharField):
    """May be absent, empty or null: all mean that nothing is there."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(required=False, allow_blank=True, allow_null=True, **kwargs)

    def run_validation(self, data: Any = empty) -> Any:
        return super().run_validation("" if data is None else data)


class OptionalUrl(OptionalText, serializers.URLField):
    pass


class LocaleField(serializers.RegexField):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(r"\A[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*\Z", max_length=20, **kwargs)


class EmailInLowerCase(serializers.EmailField):
    def to_internal_value(self, data: Any) -> str:
        return str(super().to_internal_value(data)).lower()


class PastMoment(Moment):
    def to_internal_value(self, value: Any) -> datetime:
        moment: datetime = super().to_internal_value(value)
        if moment > timezone.now() + CLOCK_SKEW:
            raise serializers.ValidationError("This moment has not come yet.", code="in_the_future")
        return moment


class ExpectedMoment(Moment):
    def to_internal_value(self, value: Any) -> datetime:
        moment: datetime = super().to_internal_value(value)
        if moment > timezone.now() + promises.ESTIMATES_WITHIN:
            raise serializers.ValidationError("This moment is more than a year ahead.", code="too_far_ahead")
        return moment


class CartContact(Body):
    email = serializers.EmailField(max_length=254)
    name = OptionalText(max_length=200)
    phone = OptionalText(max_length=40)
    locale = LocaleField(required=False)


class CartLine(Body):
    sku = serializers.CharField(max_length=64)
    quantity = serializers.IntegerField(min_value=1, max_value=MOST_UNITS)


class CartAddress(Body):
    name = serializers.CharField(max_length=200)
    line1 = serializers.CharField(max_length=200)
    line2 = OptionalText(max_length=200)
    city = serializers.CharField(max_length=100)
    region = OptionalText(max_length=100)
    postal_code = serializers.CharField(max_length=20)
    country = serializers.CharField(validators=[is_country])
    phone = OptionalText(max_length=40)


class CartPayment(Body):
    method = serializers.CharField(max_length=40, help_text="Such as card; cod is cash on delivery.")
    gateway = OptionalText(max_length=40)
    reference = OptionalText(max_length=200, help_text="What the gateway calls this checkout.")


class PlaceOrder(Body):
    customer = CartContact()
    lines = CartLine(many=True, allow_empty=False, max_length=MOST_LINES)  # type: ignore[call-arg]
    shipping_address = CartAddress()
    payment = CartPayment()
    channel = serializers.ChoiceField(
        Order.Channel.choices,
        required=False,
        allow_blank=True,
        allow_null=True,
        error_messages={"invalid_choice": f"There is no such channel. There are: {', '.join(Order.Channel.values)}."},
        help_text="A token's own channel, if it has one; without a token, web alone. Absent, empty or null: the same.",
    )

    def validate_channel(self, channel: str | None) -> str:
        token = self.context["request"].auth
        own = token.channel if token else Order.Channel.WEB
        if own and channel and channel != own:
            seller = "This token sells" if token else "Who has no token orders"
            raise serializers.ValidationError(f"{seller} on the channel {own} alone.", code="other_channel")
        return channel or ""


class Nothing(Body):
    """A verb that says it all by itself."""


class LineChoice(Body):
    line_id = serializers.CharField(max_length=40)
    quantity = serializers.IntegerField(min_value=1, max_value=MOST_UNITS * MOST_LINES)


class ChoosesLines(Body):
    """Read, its `lines` are the units by line, as the verbs take them."""

    lines = LineChoice(  # type: ignore[call-arg]
        many=True,
        required=False,
        allow_empty=False,
        max_length=MOST_LINES,
        help_text="Without them: all that is not packed yet.",
    )

    def validate_lines(self, lines: list[dict[str, Any]]) -> dict[str, int]:
        quantities = {line["line_id"]: line["quantity"] for line in lines}
        if len(quantities) < len(lines):
            raise serializers.ValidationError("Name each line once.")
        return quantities


class CancelOrder(ChoosesLines):
    reason = serializers.CharField(max_length=500)


class HoldOrder(Body):
    kind = serializers.ChoiceField(Hold.Kind.choices)
    reason = serializers.CharField(max_length=500)


class ReleaseOrder(Body):
    kind = serializers.ChoiceField(Hold.Kind.choices, required=False, help_text="Without it: all of its holds.")


class GiveVerdict(Body):
    verdict = serializers.ChoiceField(
        Verdict.choices, help_text="`accept` ends its fraud and verification holds, `reject` cancels it as fraud."
    )


class WishToReturn(LineChoice):
    reason = OptionalText(max_length=500)

    def validate(self, attrs: dict[str, Any]) -> Any:
        return Wish(**attrs)


class OpenReturn(Body):
    """Read, its `lines` are the wishes that the verbs take."""

    reason = serializers.CharField(max_length=500)
    lines = WishToReturn(many=True, allow_empty=False, max_length=MOST_LINES)  # type: ignore[call-arg]

    def validate_lines(self, wishes: list[Wish]) -> list[Wish]:
        if len({wish.line_id for wish in wishes}) < len(wishes):
            raise serializers.ValidationError("Name each line once.")
        return wishes


class ReceiveLine(LineChoice):
    condition = serializers.ChoiceField(Condition.choices)

    def validate(self, attrs: dict[str, Any]) -> Any:
        return Receipt(**attrs)


class ReceiveReturn(Body):
    """Read, its `lines` are the receipts that the verb takes. A line may come in both conditions."""

    lines = ReceiveLine(many=True, allow_empty=False, max_length=2 * MOST_LINES)  # type: ignore[call-arg]


class RequestRefund(Body):
    amount = AmountField(source="amount_minor")
    currency = CurrencyField()
    reason = serializers.CharField(max_length=500)
    return_id = serializers.CharField(max_length=40, required=False, allow_null=True)


class SettleRefund(Body):
    result = serializers.ChoiceField(Payment.TOLD)
    gateway_reference = OptionalText(
        max_length=200, help_text="Of a success, required. The same again, with the same result, has no further effect."
    )
    failure_code = OptionalText(max_length=60)
    failure_message = OptionalText(max_length=500)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs["result"] == Payment.Result.SUCCESS and not attrs.get("gateway_reference"):
            raise serializers.ValidationError({"gateway_reference": "A success needs the gateway's reference."})
        return attrs


class RecordPayment(Body):
    result = serializers.ChoiceField(Payment.TOLD)
    kind = serializers.ChoiceField(Payment.Kind.choices)
    amount = AmountField(source="amount_minor")
    currency = CurrencyField()
    method = serializers.CharField(max_length=40)
    gateway = serializers.CharField(max_length=40)
    gateway_reference = serializers.CharField(
        max_length=200, help_text="The same again, with the same kind and result, has no further effect."
    )
    failure_code = OptionalText(max_length=60)
    failure_message = OptionalText(max_length=500)


class PackOrder(ChoosesLines):
    package_count = serializers.IntegerField(min_value=1, max_value=1_000, required=False)
    weight_grams = serializers.IntegerField(min_value=1, max_value=10**9, required=False, allow_null=True)


class ShipParcel(Body):
    carrier = serializers.CharField(max_length=60)
    carrier_service = OptionalText(max_length=60)
    tracking_number = serializers.CharField(
        max_length=80, help_text=f'"{fulfilment.UNTRACKED}" for a parcel that goes without one.'
    )
    tracking_url = OptionalUrl(max_length=500)
    estimated_delivery_at = ExpectedMoment(required=False, allow_null=True)


class TrackParcel(Body):
    status = serializers.ChoiceField(TrackingStatus.choices)
    occurred_at = PastMoment()
    message = OptionalText(max_length=500)
    location = OptionalText(max_length=200)
    estimated_delivery_at = ExpectedMoment(required=False, allow_null=True)


class BroughtBackLine(LineChoice):
    condition = serializers.ChoiceField(Fate.choices)

    def validate(self, attrs: dict[str, Any]) -> Any:
        return Receipt(**attrs)


class BringBackParcel(Body):
    """Read, its `lines` are the receipts that the verb takes. They are of all that is in the parcel."""

    lines = BroughtBackLine(many=True, allow_empty=False, max_length=3 * MOST_LINES)  # type: ignore[call-arg]


class DeliverParcel(Body):
    """Made for an order, whose currency the cash is in."""

    delivered_at = PastMoment(required=False, help_text="Without it: now.")
    received_by = OptionalText(max_length=150)
    cod_collected_amount = AmountField(
        source="collected_minor", required=False, allow_null=True, help_text="The cash that the courier took."
    )
    currency = CurrencyField(required=False)

    def validate_currency(self, currency: str) -> str:
        order: Any = self.instance
        if currency != order.currency:
            raise serializers.ValidationError(f"Order {order} is in {order.currency}.")
        return currency


class WriteCustomer(Body, serializers.ModelSerializer[Customer]):
    email = EmailInLowerCase(max_length=254)
    name = OptionalText(max_length=200)
    phone = OptionalText(max_length=40)
    locale = LocaleField(required=False)

    class Meta:
        model = Customer
        fields = ("email", "name", "phone", "locale", "accepts_marketing")
