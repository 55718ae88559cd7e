"""API tokens in the admin; what comes in has modules of its own."""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from rest_framework_api_key.admin import APIKeyModelAdmin
from rest_framework_api_key.models import APIKey

from commerce.inbound.admin import messages, sources
from commerce.models import ApiToken
from commerce.tokens import SCOPES
from inventory.models import Warehouse
from orders.models import Order

del messages, sources  # Imported for what they register.
# The library's own kind of key opens nothing here.
admin.site.unregister(APIKey)


class ApiTokenForm(forms.ModelForm):  # type: ignore[type-arg]
    scopes = forms.MultipleChoiceField(
        choices=[(scope, f"{scope}: {what}") for scope, what in SCOPES.items()], widget=forms.CheckboxSelectMultiple
    )
    # One field: the admin's own pair of a date and a time has no labels.
    expiry_date = forms.DateTimeField(
        label="Expires (UTC)",
        required=False,
        widget=forms.DateTimeInput({"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
        help_text="From then on it is refused. Empty: never.",
    )
    warehouse = forms.ModelChoiceField(
        Warehouse.objects.all(), to_field_name="code", required=False, empty_label="All warehouses"
    )

    channel = forms.ChoiceField(
        choices=[("", "As each order says"), *Order.Channel.choices],
        required=False,
        help_text="Of its orders and sales. At a till the safety stock is sold too.",
    )

    class Meta:
        model = ApiToken
        fields = ("name", "scopes", "warehouse", "channel", "expiry_date", "revoked")

    def clean_warehouse(self) -> str:
        warehouse: Warehouse | None = self.cleaned_data["warehouse"]
        return warehouse.code if warehouse else ""


@admin.register(ApiToken)
class ApiTokenAdmin(APIKeyModelAdmin):
    """The library's: it makes the secret on the first save and shows it once, in a message."""

    form = ApiTokenForm
    list_display = ("name", "prefix", "scope_list", "warehouse", "created", "expiry_date", "revoked")  # type: ignore[assignment]
    list_filter = ("revoked",)
    search_fields = ("name", "prefix__exact")

    @admin.display(description="scopes")
    def scope_list(self, token: ApiToken) -> str:
        return ", ".join(token.scopes)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """A revoked token stays as it was."""
        return self.form.Meta.fields if obj and obj.revoked else ()
