"""What staff are asked when an order moves on."""

import secrets
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.http import QueryDict
from django.utils import timezone

from inventory.money import MoneyError, display, from_text
from orders.fulfilment import UNTRACKED
from orders.models import Customer, Hold, Order, OrderLine, Refund, ReturnLine, Shipment, ShipmentLine
from orders.models.returns import Condition
from orders.models.shipment import Fate, TrackingStatus
from orders.promises import ESTIMATES_WITHIN
from orders.returns import Receipt, Wish


class ShipForm(forms.Form):
    """How one parcel leaves."""

    carrier = forms.CharField(max_length=60, help_text="Such as DHL.")
    tracking_number = forms.CharField(max_length=80, required=False)
    is_untracked = forms.BooleanField(label="This parcel goes without a tracking number", required=False)
    tracking_url = forms.URLField(
        label="Tracking link", max_length=500, required=False, assume_scheme="https", help_text="May be empty."
    )
    estimated_delivery_at = forms.DateTimeField(
        label="Estimated delivery (UTC)",
        required=False,
        widget=forms.DateTimeInput({"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
        help_text="May be empty.",
    )

    def __init__(self, data: QueryDict | None, *, parcel: Shipment, may_be_empty: bool) -> None:
        super().__init__(data, prefix=parcel.public_id, empty_permitted=may_be_empty, use_required_attribute=False)
        self.parcel = parcel

    def clean_estimated_delivery_at(self) -> Any:
        estimate = self.cleaned_data["estimated_delivery_at"]
        if estimate is not None and estimate < timezone.now():
            raise ValidationError("This moment has passed.")
        if estimate is not None and estimate > timezone.now() + ESTIMATES_WITHIN:
            raise ValidationError("This moment is more than a year ahead.")
        return estimate

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = super().clean() or {}
        is_untracked = given.pop("is_untracked", False)
        if is_untracked and given.get("tracking_number"):
            self.add_error("is_untracked", "There is a tracking number: is it tracked or not?")
        elif not is_untracked and not given.get("tracking_number") and "tracking_number" not in self.errors:
            self.add_error("tracking_number", "Give the tracking number, or tick that there is none.")
        return given | ({"tracking_number": UNTRACKED} if is_untracked else {})


class ScanForm(forms.Form):
    """What a courier said of a parcel, by telephone or on a page of its own."""

    status = forms.ChoiceField(choices=TrackingStatus.choices, initial=TrackingStatus.IN_TRANSIT)
    occurred_at = forms.DateTimeField(
        label="When (UTC)",
        initial=timezone.now,
        widget=forms.DateTimeInput({"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
        help_text="When it happened. What is older than the latest update moves nothing back.",
    )
    location = forms.CharField(max_length=200, required=False, help_text="May be empty.")
    message = forms.CharField(max_length=500, required=False, help_text="The shopper reads it. May be empty.")

    def clean_occurred_at(self) -> Any:
        moment = self.cleaned_data["occurred_at"]
        if moment > timezone.now():
            raise ValidationError("This moment has not come yet.")
        return moment


class HoldForm(forms.Form):
    kind = forms.ChoiceField(choices=Hold.Kind.choices, initial=Hold.Kind.MANUAL, help_text="What has to be looked at.")
    reason = forms.CharField(
        max_length=500, help_text="What is to be found out or done before its release. Told to every system that hears."
    )


class CancelForm(forms.Form):
    reason = forms.CharField(
        max_length=500, help_text="Kept in the history, and told to every system that hears of the order."
    )


class PayForm(forms.Form):
    """Money that came by another way than a gateway that tells of it."""

    METHODS = (
        ("bank_transfer", "Bank transfer"),
        ("card", "Card, at a terminal or by telephone"),
        ("cash", "Cash"),
        ("other", "Another way"),
    )

    method = forms.ChoiceField(label="How", choices=METHODS)
    amount = forms.CharField(max_length=32, required=False, help_text="Such as 49.90. Empty: all that is still open.")
    reference = forms.CharField(
        max_length=100, help_text="Of the bank or the terminal, to find it by. The same reference is counted once."
    )


def _new_receipt() -> str:
    return f"cash-{secrets.token_hex(4)}"


class CollectForm(forms.Form):
    amount = forms.CharField(
        max_length=32, required=False, help_text="Such as 49.90. Empty: all that is still open, of each order."
    )
    reference = forms.CharField(
        label="Receipt", max_length=100, initial=_new_receipt, help_text="The same receipt is counted once."
    )


class PackForm(forms.Form):
    package_count = forms.IntegerField(label="Packages", min_value=1, max_value=1_000, initial=1)
    weight_grams = forms.IntegerField(
        label="Weight in grams", min_value=1, max_value=10**9, required=False, help_text="May be empty."
    )


class OpenReturnForm(forms.Form):
    reason = forms.CharField(
        max_length=500, help_text="Kept with the return, and told to every system that hears of the order."
    )


class LineForm(forms.Form):
    """How many units of a line a step is about, of those that are `left` for it."""

    words = "{} left."
    quantity = forms.IntegerField(min_value=0, required=False, initial=0)

    def __init__(self, data: QueryDict | None, *, line: OrderLine, left: int) -> None:
        super().__init__(data, prefix=line.public_id, use_required_attribute=False)
        self.line, self.left = line, left
        self.fields["quantity"].help_text = self.words.format(left)


class ReturnLineForm(LineForm):
    words = "{} can be sent back."
    reason = forms.CharField(label="Its own reason", max_length=500, required=False, help_text="May be empty.")

    @property
    def wish(self) -> Wish | None:
        quantity = self.cleaned_data["quantity"]
        return Wish(self.line.public_id, quantity, self.cleaned_data["reason"]) if quantity else None


class ReceiveForm(forms.Form):
    """How many units of a returned line came, in each condition."""

    sellable = forms.IntegerField(min_value=0, required=False, help_text="On sale again.")
    damaged = forms.IntegerField(min_value=0, required=False, initial=0, help_text="Written off.")

    def __init__(self, data: QueryDict | None, *, content: ReturnLine) -> None:
        initial = {Condition.SELLABLE.value: content.awaited}
        super().__init__(data, prefix=f"line-{content.pk}", initial=initial, use_required_attribute=False)
        self.content = content

    @property
    def receipts(self) -> list[Receipt]:
        came = ((condition, self.cleaned_data[condition]) for condition in Condition)
        return [Receipt(self.content.line.public_id, units, condition) for condition, units in came if units]


class BringBackForm(forms.Form):
    """What has become of the units of a line in a parcel that did not reach its customer."""

    sellable = forms.IntegerField(min_value=0, required=False, help_text="Came back, and on sale again.")
    damaged = forms.IntegerField(min_value=0, required=False, initial=0, help_text="Came back, and written off.")
    lost = forms.IntegerField(min_value=0, required=False, help_text="Did not come back, and written off.")

    def __init__(self, data: QueryDict | None, *, content: ShipmentLine, parcel: Shipment) -> None:
        likely = Fate.LOST if parcel.tracking_status == TrackingStatus.LOST else Fate.SELLABLE
        initial = {fate.value: content.quantity if fate == likely else 0 for fate in Fate}
        super().__init__(data, prefix=f"line-{content.pk}", initial=initial, use_required_attribute=False)
        self.content = content

    def clean(self) -> dict[str, Any]:
        told: dict[str, Any] = super().clean() or {}
        units = sum(told.get(fate) or 0 for fate in Fate)
        if units != self.content.quantity and not self.errors:
            inside = self.content.quantity
            self.add_error(Fate.SELLABLE, f"{inside} are in the parcel, and this says what became of {units}.")
        return told

    @property
    def receipts(self) -> list[Receipt]:
        found = ((fate, self.cleaned_data[fate]) for fate in Fate)
        return [Receipt(self.content.line.public_id, units, fate) for fate, units in found if units]


class RefundForm(forms.Form):
    amount = forms.CharField(max_length=32)
    reason = forms.CharField(
        max_length=500, help_text="Kept with the refund, and told to every system that hears of the order."
    )
    return_id = forms.ChoiceField(label="For the return", required=False)

    def __init__(self, data: QueryDict | None, *, order: Order, initial: dict[str, Any]) -> None:
        super().__init__(data, initial=initial, use_required_attribute=False)
        self.order = order
        most = display(order.refundable_minor, order.currency)
        self.fields["amount"].help_text = f"Such as 24.95. At most {most}, in {order.currency}."
        choices = [("", "None"), *((each.public_id, str(each)) for each in order.returns.order_by("pk"))]
        self.fields["return_id"].choices = choices  # type: ignore[attr-defined]

    def clean_amount(self) -> int:
        try:
            return from_text(self.cleaned_data["amount"].strip(), self.order.currency)
        except MoneyError as error:
            raise ValidationError(str(error)) from error


class SettleForm(forms.Form):
    """What came of a refund."""

    result = forms.ChoiceField(
        choices=[("", "Nothing yet"), (Refund.State.PROCESSED, "It is processed"), (Refund.State.FAILED, "It failed")],
        required=False,
    )
    gateway_reference = forms.CharField(
        label="Reference", max_length=200, required=False, help_text="The gateway's, or of your own transfer."
    )
    failure_message = forms.CharField(
        label="Why it failed", max_length=500, required=False, help_text="Empty if it did not."
    )

    def __init__(self, data: QueryDict | None, *, refund: Refund) -> None:
        super().__init__(data, prefix=refund.public_id, use_required_attribute=False)
        self.refund = refund

    def clean(self) -> dict[str, Any]:
        told: dict[str, Any] = super().clean() or {}
        if told.get("result") == Refund.State.PROCESSED and not told.get("gateway_reference"):
            self.add_error("gateway_reference", "Give the reference under which it can be found.")
        return told


class CustomerForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = Customer
        fields = ("email", "name", "phone", "locale", "accepts_marketing")

    def clean_email(self) -> str:
        return str(self.cleaned_data["email"]).lower()
