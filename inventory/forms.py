"""Forms of the admin that say money and countries as people write them."""

import re
from collections.abc import Iterable
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from inventory.models import Product, StockLevel, StockMovement, Warehouse, validate_countries, validate_transit
from inventory.money import MoneyError, from_text, to_text


class ProductForm(forms.ModelForm):  # type: ignore[type-arg]
    price = forms.CharField(max_length=32, help_text="Such as 12.50.")

    class Meta:
        model = Product
        fields = ("sku", "name", "currency", "weight_grams", "is_active")

    field_order = ("sku", "name", "price")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            self.initial["price"] = to_text(self.instance.price_minor, self.instance.currency)

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = super().clean() or {}
        if "price" in given and "currency" in given:
            try:
                self.instance.price_minor = from_text(given["price"], given["currency"])
            except MoneyError as error:
                self.add_error("price", str(error))
        return given


class CountriesField(forms.CharField):
    """A list of countries, written `DE, AT, CH`."""

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        return [country.strip().upper() for country in str(value or "").split(",") if country.strip()]

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(self.to_python(data) != (initial or []))

    def validate(self, value: Any) -> None:
        validate_countries(value)

    def run_validators(self, value: Any) -> None:
        """Those of a text have no say in a list."""


class TransitField(forms.CharField):
    """Days on the road by country, written `AT 2-4, CH 3-6`."""

    _ENTRY = re.compile(r"([A-Z]{2})\s*:?\s*(\d{1,3})\s*[-–]\s*(\d{1,3})")

    def prepare_value(self, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return ", ".join(f"{country} {soonest}-{latest}" for country, (soonest, latest) in value.items())

    def to_python(self, value: Any) -> Any:
        entries = [entry.strip().upper() for entry in str(value or "").split(",") if entry.strip()]
        found = [(entry, self._ENTRY.fullmatch(entry)) for entry in entries]
        if wrong := [entry for entry, match in found if match is None]:
            raise ValidationError(f"{wrong[0]!r} is not a country and its days, such as AT 2-4.")
        return {match[1]: [int(match[2]), int(match[3])] for _, match in found if match}

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(self.prepare_value(initial or {}) != data)

    def validate(self, value: Any) -> None:
        validate_transit(value)

    def run_validators(self, value: Any) -> None:
        """Those of a text have no say in days."""


class WarehouseForm(forms.ModelForm):  # type: ignore[type-arg]
    ships_to = CountriesField(required=False, help_text="Such as DE, AT, CH. Empty: everywhere.")
    time_zone = forms.CharField(
        max_length=50, required=False, help_text="Of the cut-off, such as Europe/Berlin. Empty: UTC."
    )
    transit_days = TransitField(
        label="Days on the road",
        required=False,
        help_text="Working days at best and at worst, by country, such as AT 2-4, CH 3-6. "
        "Others: 1-3 in its own country, 3-8 elsewhere.",
    )

    class Meta:
        model = Warehouse
        fields = (
            "code",
            "name",
            "country",
            "priority",
            "handling_days",
            "cutoff",
            "time_zone",
            "transit_days",
            "ships_to",
            "is_active",
        )

    def clean_time_zone(self) -> str:
        return self.cleaned_data["time_zone"] or "UTC"


class NewLevelForm(forms.ModelForm):  # type: ignore[type-arg]
    product = forms.ModelChoiceField(
        Product.objects.all(),
        label="SKU",
        to_field_name="sku",
        widget=forms.TextInput,
        help_text="Of the product, in full.",
        error_messages={"invalid_choice": "There is no product with this SKU."},
    )

    class Meta:
        model = StockLevel
        fields = ("product", "warehouse")


class LevelForm(forms.ModelForm):  # type: ignore[type-arg]
    safety_stock = forms.IntegerField(
        min_value=0, max_value=10**9, help_text="Units that are kept back from every channel but the till (pos)."
    )
    low_stock_threshold = forms.IntegerField(
        min_value=0,
        max_value=10**9,
        required=False,
        help_text="inventory.low is told when what is available falls to it. Empty: never.",
    )

    class Meta:
        model = StockLevel
        fields = ("safety_stock", "low_stock_threshold")


class AdjustmentForm(forms.Form):
    """How many units to add to, or take off, each of some levels, for one reason."""

    reason = forms.ChoiceField(choices=[(reason.value, reason.label) for reason in StockMovement.ADJUSTMENTS])
    reference = forms.CharField(max_length=100, required=False, help_text="Such as a delivery note. May be empty.")

    def __init__(self, *args: Any, levels: Iterable[StockLevel], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.levels = {f"delta_{level.pk}": level for level in levels}
        for name, level in self.levels.items():
            self.fields[name] = forms.IntegerField(
                label=str(level),
                required=False,
                min_value=-(10**9),
                max_value=10**9,
                help_text=f"{level.on_hand} on hand, {level.reserved} reserved. Such as 12 or -3.",
            )

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = super().clean() or {}
        if not self.errors and not any(given[name] for name in self.levels):
            raise ValidationError("Say for at least one of them how many units to add or to take off.")
        return given

    def deltas(self) -> list[tuple[StockLevel, int]]:
        """Of a valid form: those that change."""
        return [(level, delta) for name, level in self.levels.items() if (delta := self.cleaned_data[name])]
