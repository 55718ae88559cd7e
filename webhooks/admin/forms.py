"""The forms of the four steps, and the one of the change page that holds the same fields."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django import forms
from django.utils.functional import lazy
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from webhooks import catalogue, subscriptions
from webhooks.admin.condition_fields import ConditionsField
from webhooks.admin.fields import EventTypesField, HeadersField, RetryScheduleField
from webhooks.models import Subscription
from webhooks.signing import Scheme
from webhooks.subscriptions import InvalidSubscription

# Parts for experts: the title, and the fields.
OPTIONS = ("Conditions and latest wins", ("conditions", "compact"))
SIGNATURE = ("How it is signed", ("signature",))


@contextmanager
def refusals_in_words() -> Iterator[None]:
    try:
        yield
    except InvalidSubscription as error:
        raise forms.ValidationError(str(error), code=error.code) from error


def folded(title: str, fields: tuple[str, ...], subscription: Subscription | None) -> Any:
    """A part of a page that an expert opens, and that is open where it is in use."""
    in_use = any(getattr(subscription, field, None) for field in fields)
    return title, {"fields": fields, "classes": () if in_use else ("collapse",)}


class AddressForm(forms.ModelForm):  # type: ignore[type-arg]
    name = forms.CharField(
        max_length=100,
        help_text="The system that listens there, as your colleagues call it: “Warehouse”, “Newsletter”.",
        widget=forms.TextInput(attrs={"class": "vTextField"}),
    )
    url = forms.CharField(
        label="Callback URL",
        max_length=2000,
        help_text="Each event is sent there by an HTTP POST. We look the address up when you save.",
        widget=forms.URLInput(
            attrs={"class": "vURLField", "placeholder": "https://example.com/webhooks", "spellcheck": "false"}
        ),
    )

    class Meta:
        model = Subscription
        fields = ("name", "url")

    def clean_url(self) -> str:
        url: str = self.cleaned_data["url"]
        if url != self.initial.get("url"):
            with refusals_in_words():
                subscriptions.check_url(url)
        return url


def _latest_wins() -> SafeString:
    """Not before it is shown: the catalogue is not whole while this is read."""
    return format_html(
        "After an outage or a pause only the newest event of each subject is sent, and the older ones are recorded as"
        " superseded. That is for events that tell a whole state: {}. Not for a receiver that adds up changes.",
        format_html_join(", ", "<code>{}</code>", ((name,) for name in catalogue.snapshots())),
    )


class EventsForm(forms.ModelForm):  # type: ignore[type-arg]
    event_types = EventTypesField(label="Events", error_messages={"required": "Choose at least one event."})
    conditions = ConditionsField(
        label="Send only if",
        required=False,
        help_text="All of these must hold. A condition speaks of the events that have its field; the others are sent as"
        " without it. Commas separate the values of a list; no value stands for a field that holds nothing. Write"
        " amounts like 49.90, dates like 2026-11-23, and true or false.",
    )
    compact = forms.BooleanField(label="Latest wins", required=False, help_text=lazy(_latest_wins, str)())

    class Meta:
        model = Subscription
        fields = ("event_types", "conditions", "compact")

    def clean_event_types(self) -> list[str]:
        event_types: list[str] = self.cleaned_data["event_types"]
        with refusals_in_words():
            subscriptions.check_event_types(event_types)
        return event_types

    def clean(self) -> dict[str, Any]:
        """Conditions fit some choices of events only."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if "event_types" in cleaned and "conditions" in cleaned:
            try:
                subscriptions.check_conditions(cleaned["conditions"], cleaned["event_types"])
            except InvalidSubscription as error:
                self.add_error(error.field, str(error))
        return cleaned


class HeadersForm(forms.ModelForm):  # type: ignore[type-arg]
    headers = HeadersField(label="Authentication headers")

    class Meta:
        model = Subscription
        fields = ("headers",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "headers" in self.fields:
            self.fields["headers"].remember(self.instance.headers)  # type: ignore[attr-defined]

    def clean_headers(self) -> dict[str, str]:
        headers: dict[str, str] = self.cleaned_data["headers"]
        with refusals_in_words():
            subscriptions.check_headers(headers)
        return headers


class SaveForm(forms.ModelForm):  # type: ignore[type-arg]
    """The last step asks nothing of a beginner."""

    signature = forms.ChoiceField(
        label="Signed with",
        choices=Scheme.choices,
        initial=Scheme.HMAC,
        required=False,
        widget=forms.RadioSelect,
        help_text="Every library for Standard Webhooks knows the shared secret. With a key pair the receiver holds"
        " nothing that could be used to forge a delivery.",
    )

    def clean_signature(self) -> Scheme:
        return Scheme(self.cleaned_data["signature"] or Scheme.HMAC)

    class Meta:
        model = Subscription
        fields = ()


class DeliveryForm(forms.ModelForm):  # type: ignore[type-arg]
    retry_schedule = RetryScheduleField(
        required=False,
        help_text="Seconds to wait after each failure, with commas between. Empty: ten attempts over three days.",
        widget=forms.TextInput(attrs={"class": "vTextField", "placeholder": "5, 300, 1800, 7200, 18000"}),
    )

    class Meta:
        model = Subscription
        fields = ("retry_schedule", "max_in_flight", "max_per_second")

    def clean_retry_schedule(self) -> list[int] | None:
        schedule: list[int] | None = self.cleaned_data["retry_schedule"]
        with refusals_in_words():
            subscriptions.check_retry_schedule(schedule)
        return schedule


class SubscriptionForm(AddressForm, EventsForm, HeadersForm, DeliveryForm):
    class Meta:
        model = Subscription
        fields = (
            "name",
            "url",
            "event_types",
            "conditions",
            "compact",
            "headers",
            "ordering",
            "retry_schedule",
            "max_in_flight",
            "max_per_second",
        )
