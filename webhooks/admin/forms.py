"""The forms of the four steps, and the one of the change page that holds the same fields."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django import forms

from webhooks import subscriptions
from webhooks.admin.fields import EventTypesField, HeadersField, RetryScheduleField
from webhooks.models import Subscription
from webhooks.subscriptions import InvalidSubscription


@contextmanager
def refusals_in_words() -> Iterator[None]:
    try:
        yield
    except InvalidSubscription as error:
        raise forms.ValidationError(str(error), code=error.code) from error


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


class EventsForm(forms.ModelForm):  # type: ignore[type-arg]
    event_types = EventTypesField(label="Events", error_messages={"required": "Choose at least one event."})

    class Meta:
        model = Subscription
        fields = ("event_types",)

    def clean_event_types(self) -> list[str]:
        event_types: list[str] = self.cleaned_data["event_types"]
        with refusals_in_words():
            subscriptions.check_event_types(event_types)
        return event_types


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
    """The last step asks nothing."""

    class Meta:
        model = Subscription
        fields = ()


class SubscriptionForm(AddressForm, EventsForm, HeadersForm):
    retry_schedule = RetryScheduleField(
        required=False,
        help_text="Seconds to wait after each failure, with commas between. Empty: ten attempts over three days.",
        widget=forms.TextInput(attrs={"class": "vTextField", "placeholder": "5, 300, 1800, 7200, 18000"}),
    )

    class Meta:
        model = Subscription
        fields = (
            "name",
            "url",
            "event_types",
            "headers",
            "ordering",
            "retry_schedule",
            "max_in_flight",
            "max_per_second",
        )

    def clean_retry_schedule(self) -> list[int] | None:
        schedule: list[int] | None = self.cleaned_data["retry_schedule"]
        with refusals_in_words():
            subscriptions.check_retry_schedule(schedule)
        return schedule
