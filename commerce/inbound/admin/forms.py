"""The form of a source: secrets are written and never shown; paths and words are lines, never JSON."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from django import forms
from django.utils import timezone

from commerce.inbound import paths, sources
from commerce.models import InboundSource
from inventory.models import Warehouse
from orders.models.shipment import TrackingStatus
from webhooks import signing
from webhooks.admin import wording

LONGEST = 200
HELP_WITH_ANOTHER = (
    "Both verify until you remove the old one, so that nothing is refused while the sender changes over."
)
PATHS_EXAMPLE = """tracking_number = data.parcel.barcode
status = data.events.-1.code
occurred_at = data.events.-1.time"""


class PairsField(forms.CharField):
    """`left = right`, one in each line; a dict. `ours` are the words that may stand on the side `ours_on_the_left`."""

    def __init__(self, *, ours: Collection[str], ours_on_the_left: bool, example: str, **kwargs: Any) -> None:
        self.ours, self.ours_on_the_left = ours, ours_on_the_left
        attrs = {"rows": 7, "class": "vLargeTextField", "placeholder": example, "spellcheck": "false"}
        super().__init__(required=False, widget=forms.Textarea(attrs), **kwargs)

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(f"{left} = {right}" for left, right in value.items()) if isinstance(value, dict) else value

    def to_python(self, value: Any) -> Any:
        if isinstance(value, dict):
            return value
        lines = [line for line in str(value or "").splitlines() if line.strip()]
        pairs = [line.partition("=") if self.ours_on_the_left else line.rpartition("=") for line in lines]
        read = {left.strip(): right.strip() for left, _, right in pairs}
        for line, (left, right) in zip(lines, read.items(), strict=False):
            ours, theirs = (left, right) if self.ours_on_the_left else (right, left)
            if ours not in self.ours or not theirs or len(theirs) > LONGEST:
                raise forms.ValidationError(
                    f"“{line.strip()[:80]}” is not understood. The words of ours are {', '.join(self.ours)}."
                )
        return read

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(self.prepare_value(initial or {}) != (data or "").strip())


class SourceForm(forms.ModelForm):  # type: ignore[type-arg]
    scheme = forms.ChoiceField(label="Sender", choices=InboundSource.Scheme.choices, widget=forms.RadioSelect)
    new_secret = forms.CharField(
        label="Signing secret",
        required=False,
        max_length=sources.LONGEST_SECRET,
        widget=forms.TextInput({"class": "vTextField", "autocomplete": "off", "spellcheck": "false"}),
        help_text="As the sender shows it, or as you have entered it there. Empty, for Standard Webhooks: one is made.",
    )
    removed = forms.TypedMultipleChoiceField(
        label="Remove secrets",
        coerce=int,
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="Messages signed with one that you remove are refused from then on.",
    )
    warehouse = forms.ModelChoiceField(
        Warehouse.objects.all(),
        to_field_name="code",
        required=False,
        empty_label="All warehouses",
        help_text="Of a 3PL: it packs, ships and counts there alone.",
    )
    paths = PairsField(
        label="Where things stand in its messages",
        ours=paths.FIELDS,
        ours_on_the_left=True,
        example=PATHS_EXAMPLE,
        help_text=f"One line for each of {', '.join(paths.REQUIRED)}, and for message, location, estimated_delivery_at "
        "and id if it tells them. -1 is the last of a list. Empty: it speaks our own words.",
    )
    words = PairsField(
        label="Its words for a status",
        ours=TrackingStatus.values,
        ours_on_the_left=False,
        example="ZUGESTELLT = delivered\nIN_ZUSTELLUNG = out_for_delivery",
        help_text=f"One in each line, ours on the right: {', '.join(TrackingStatus.values)}.",
    )

    class Meta:
        model = InboundSource
        fields = (
            *("scheme", "name", "warehouse", "is_active"),
            *("header", "algorithm", "encoding", "prefix", "paths", "words"),
        )

    # A secret that was made here, to be shown once.
    made_secret = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk and "removed" in self.fields:
            self.fields["removed"].choices = _removable(self.instance)  # type: ignore[attr-defined]
            self.fields["new_secret"].label = "Another secret"
            self.fields["new_secret"].help_text = HELP_WITH_ANOTHER

    def clean_warehouse(self) -> str:
        warehouse: Warehouse | None = self.cleaned_data["warehouse"]
        return warehouse.code if warehouse else ""

    def clean_paths(self) -> dict[str, str]:
        told: dict[str, str] = self.cleaned_data["paths"]
        if told and (missing := [field for field in paths.REQUIRED if field not in told]):
            raise forms.ValidationError(f"Without {' and '.join(missing)} a message says nothing.")
        return told

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]
        if self.errors:
            return
        try:
            self._change_secrets(self.cleaned_data["new_secret"].strip())
        except sources.InvalidSource as error:
            self.add_error("new_secret", str(error))
            return
        try:
            sources.check(self.instance)
        except sources.InvalidSource as error:
            self.add_error("new_secret" if not self.instance.secrets else None, str(error))

    def _change_secrets(self, secret: str) -> None:
        """Raises InvalidSource."""
        source = self.instance
        removed = set(self.cleaned_data.get("removed", ()))
        kept = [each for place, each in enumerate(source.secrets) if place not in removed]
        if not secret and not source.secrets and source.scheme == InboundSource.Scheme.STANDARD:
            secret = self.made_secret = signing.new_secret()
        if not secret and not kept and source.secrets:
            raise sources.InvalidSource("Give the new secret before you remove the last one, or switch the source off.")
        source.secrets = kept
        if secret:
            sources.keep_secret(source, secret, now=timezone.now())


def _removable(source: InboundSource) -> list[tuple[int, str]]:
    """Told apart by their age, and by the end of those that it gives nothing away of."""
    now = timezone.now()
    return [
        (place, f"{_end(kept['secret'])}added {_age(kept['added_at'], now)}")
        for place, kept in enumerate(source.secrets)
    ]


def _end(secret: str) -> str:
    return f"…{secret[-4:]}, " if len(secret) >= 20 else ""


def _age(added_at: str, now: datetime) -> str:
    return f"{wording.distance((now - datetime.fromisoformat(added_at)).total_seconds())} ago"
