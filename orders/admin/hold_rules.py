"""The rules by which orders are held, made by staff in words they use themselves."""

from typing import Any

from django import forms
from django.contrib import admin
from django.core.validators import EMPTY_VALUES
from django.utils.html import format_html
from django.utils.safestring import SafeString

from inventory.forms import CountriesField
from inventory.money import MoneyError, from_text, to_text, validate_currency
from orders.models import HoldRule
from webhooks.wording import badge

# The form's fields that are a threshold, as its errors name them.
WORDS = {"count": "number", "amount": "amount", "countries": "countries"}


class HoldRuleForm(forms.ModelForm):  # type: ignore[type-arg]
    amount = forms.CharField(
        max_length=32, required=False, help_text="Only for a first order of at least an amount. Such as 250.00."
    )
    currency = forms.CharField(max_length=3, required=False, help_text="Of the amount. Such as EUR.")
    countries = CountriesField(required=False, help_text="Only for a rule about countries. Such as DE, AT, CH.")

    class Meta:
        model = HoldRule
        fields = ("name", "test", "count", "currency", "countries", "kind", "is_active")
        help_texts = {"count": "Only for failed payments and for orders from one address."}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.amount_minor is not None:
            self.initial["amount"] = to_text(self.instance.amount_minor, self.instance.currency)

    def clean_currency(self) -> str:
        currency = str(self.cleaned_data["currency"]).upper()
        if currency:
            validate_currency(currency)
        return currency

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = super().clean() or {}
        self.instance.amount_minor = None
        if test := given.get("test"):
            needed = HoldRule.THRESHOLDS[test].removesuffix("_minor")
            for name in WORDS:
                self._check(name, given.get(name), is_needed=name == needed)
            if needed == "amount":
                self._read_amount(given.get("amount", ""), given.get("currency", ""))
            else:
                given["currency"] = ""
        return given

    def _check(self, name: str, value: Any, *, is_needed: bool) -> None:
        is_given = value not in EMPTY_VALUES
        if is_needed and not is_given and name not in self.errors:
            self.add_error(name, f"This rule needs the {WORDS[name]}.")
        elif is_given and not is_needed:
            self.add_error(name, f"This rule has no use for the {WORDS[name]}: leave it empty.")

    def _read_amount(self, amount: str, currency: str) -> None:
        if not currency and "currency" not in self.errors:
            self.add_error("currency", "An amount needs its currency.")
        if not (amount and currency):
            return
        try:
            self.instance.amount_minor = from_text(amount, currency)
        except MoneyError as error:
            self.add_error("amount", str(error))
        if self.instance.amount_minor == 0:
            self.add_error("amount", "The amount must be more than 0.")


@admin.register(HoldRule)
class HoldRuleAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    form = HoldRuleForm
    fieldsets = (
        (None, {"fields": ("name", "is_active")}),
        ("Which orders", {"fields": ("test", "count", ("amount", "currency"), "countries")}),
        (
            "What happens",
            {
                "fields": ("kind",),
                "description": "The order is put on hold with the rule's name as its reason, and every system that "
                "hears of orders is told. Staff release it, or the fraud desk gives its verdict.",
            },
        ),
    )
    list_display = ("rule", "holds", "kind_badge", "is_active")
    list_display_links = None
    ordering = ("name",)
    sortable_by = ()
    show_full_result_count = False

    class Media:
        css = {"all": ["orders/admin.css"]}

    @admin.display(description="Rule")
    def rule(self, rule: HoldRule) -> SafeString:
        return format_html('<a class="row-title" href="{}">{}</a>', f"{rule.pk}/change/", rule)

    @admin.display(description="Holds orders on")
    def holds(self, rule: HoldRule) -> str:
        return rule.in_words

    @admin.display(description="Kind of hold")
    def kind_badge(self, rule: HoldRule) -> SafeString:
        return badge(rule.kind, rule.get_kind_display())
