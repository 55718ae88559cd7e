"""What staff are asked when an order moves on."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.http import QueryDict
from django.utils import timezone

from orders.fulfilment import UNTRACKED
from orders.models import Customer, Hold, Shipment


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
        return estimate

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = super().clean() or {}
        is_untracked = given.pop("is_untracked", False)
        if is_untracked and given.get("tracking_number"):
            self.add_error("is_untracked", "There is a tracking number: is it tracked or not?")
        elif not is_untracked and not given.get("tracking_number") and "tracking_number" not in self.errors:
            self.add_error("tracking_number", "Give the tracking number, or tick that there is none.")
        return given | ({"tracking_number": UNTRACKED} if is_untracked else {})


class HoldForm(forms.Form):
    kind = forms.ChoiceField(choices=Hold.Kind.choices, initial=Hold.Kind.MANUAL, help_text="What has to be looked at.")
    reason = forms.CharField(
        max_length=500, help_text="What is to be found out or done before its release. Told to every system that hears."
    )


class CancelForm(forms.Form):
    reason = forms.CharField(
        max_length=500, help_text="Kept in the history, and told to every system that hears of the order."
    )


class CustomerForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = Customer
        fields = ("email", "name", "phone", "locale", "accepts_marketing")

    def clean_email(self) -> str:
        return str(self.cleaned_data["email"]).lower()
