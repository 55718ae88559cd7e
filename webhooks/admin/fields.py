"""Form fields of our own: the choice of events, headers whose values are write-only, a retry schedule."""

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django import forms
from django.template.loader import render_to_string
from django.utils.safestring import SafeString, mark_safe

from webhooks import catalogue
from webhooks.events import TEST

BLANK_ROWS = 2


class ProjectWidget(forms.Widget):
    """Rendered from the project's templates, which the form renderer does not look into."""

    template_name: str

    def render(self, name: str, value: Any, attrs: dict[str, Any] | None = None, renderer: Any = None) -> SafeString:
        return mark_safe(render_to_string(self.template_name, self.get_context(name, value, attrs)))  # noqa: S308


class EventTypesWidget(ProjectWidget):
    template_name = "admin/webhooks/widgets/event_types.html"
    use_fieldset = True

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        chosen = list(value or [])
        groups = [_group(prefix, types, chosen) for prefix, types in catalogue.groups().items()]
        offered = {group["pattern"] for group in groups} | {
            event["name"] for group in groups for event in group["events"]
        }
        return super().get_context(name, value, attrs) | {
            "everything": catalogue.EVERYTHING in chosen,
            "groups": [group for group in groups if group["events"]],
            "others": [pattern for pattern in chosen if pattern not in offered and pattern != catalogue.EVERYTHING],
        }

    def value_from_datadict(self, data: Any, files: Any, name: str) -> list[str]:
        chosen: list[str] = data.getlist(name)
        return chosen

    def id_for_label(self, id_: str) -> str:
        return ""


def _group(prefix: str, types: Iterable[catalogue.EventType], chosen: list[str]) -> dict[str, Any]:
    """The test event is not offered: it goes to the subscription it is asked for, and to no other."""
    return {
        "prefix": prefix,
        "pattern": f"{prefix}.*",
        "is_chosen": f"{prefix}.*" in chosen,
        "events": [
            {
                "name": event_type.name,
                "summary": event_type.summary,
                "example": json.dumps(event_type.example, indent=2, ensure_ascii=False),
                "is_chosen": event_type.name in chosen,
            }
            for event_type in types
            if event_type is not TEST
        ],
    }


class EventTypesField(forms.Field):
    widget = EventTypesWidget

    def clean(self, value: Any) -> list[str]:
        """Without what a chosen group, or everything, covers already."""
        chosen = list(dict.fromkeys(super().clean(value)))
        return [
            pattern
            for pattern in chosen
            if not catalogue.matches([other for other in chosen if other != pattern], pattern)
        ]


@dataclass
class TypedHeaders:
    """What was typed into the headers' part of a form; `stored` headers without a new value are kept."""

    scheme: str = ""
    preset: dict[str, str] = field(default_factory=dict)
    rows: list[tuple[str, str]] = field(default_factory=list)
    removed: set[str] = field(default_factory=set)


_PRESET_INPUTS = ("bearer_token", "basic_username", "basic_password", "api_key_name", "api_key_value")


class HeadersWidget(ProjectWidget):
    """A preset (Bearer, Basic, API key), the stored headers with their values masked, and blank rows."""

    template_name = "admin/webhooks/widgets/headers.html"
    use_fieldset = True

    def __init__(self, attrs: dict[str, Any] | None = None) -> None:
        super().__init__(attrs)
        self.stored: Mapping[str, str] = {}

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        typed = value if isinstance(value, TypedHeaders) else TypedHeaders()
        new_values = dict(typed.rows)
        return super().get_context(name, None, attrs) | {
            "scheme": typed.scheme,
            "preset": {"api_key_name": "X-API-Key"} | typed.preset,
            "stored": [(header, new_values.get(header, ""), header in typed.removed) for header in self.stored],
            "rows": [row for row in typed.rows if row[0] not in self.stored and any(row)] + [("", "")] * BLANK_ROWS,
        }

    def value_from_datadict(self, data: Any, files: Any, name: str) -> TypedHeaders:
        names = [typed.strip() for typed in data.getlist(f"{name}-name")]
        values = [typed.strip() for typed in data.getlist(f"{name}-value")]
        return TypedHeaders(
            scheme=data.get(f"{name}-scheme", ""),
            preset={part: data.get(f"{name}-{part}", "").strip() for part in _PRESET_INPUTS},
            rows=list(zip(names, values, strict=False)),
            removed=set(data.getlist(f"{name}-remove")),
        )

    def id_for_label(self, id_: str) -> str:
        return ""


class HeadersField(forms.Field):
    """Cleans to the whole of the subscription's headers. `remember` tells it those it has."""

    widget = HeadersWidget

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**({"required": False} | kwargs))
        self.stored: Mapping[str, str] = {}

    def remember(self, headers: Mapping[str, str]) -> None:
        self.stored = self.widget.stored = headers

    def has_changed(self, initial: Any, data: Any) -> bool:
        return data.scheme != "" or bool(data.removed) or any(value for _, value in data.rows)

    def clean(self, value: TypedHeaders) -> dict[str, str]:
        headers = self._typed_rows(value)
        preset = _preset_header(value.scheme, value.preset)
        if preset is not None:
            # A preset takes the place of the stored header of its name, not of one typed just now.
            typed_now = {name.lower() for name, text in value.rows if text}
            if preset[0].lower() in typed_now:
                raise forms.ValidationError(f"{preset[0]} is given twice: by the scheme and in a row of its own.")
            headers = {name: text for name, text in headers.items() if name.lower() != preset[0].lower()}
            headers[preset[0]] = preset[1]
        return headers

    def _typed_rows(self, value: TypedHeaders) -> dict[str, str]:
        headers: dict[str, str] = {}
        for name, text in value.rows:
            if name in value.removed or not (name or text):
                continue
            if not name:
                raise forms.ValidationError("A header value was typed without a name.")
            if not text and name not in self.stored:
                raise forms.ValidationError(f"Enter a value for {name}.")
            if name.lower() in {known.lower() for known in headers}:
                raise forms.ValidationError(f"{name} is given twice; upper and lower case are the same.")
            headers[name] = text or self.stored[name]
        return headers


def _preset_header(scheme: str, preset: Mapping[str, str]) -> tuple[str, str] | None:
    """The header a scheme stands for; None where none was chosen."""
    if scheme == "":
        return None
    if scheme == "bearer":
        return "Authorization", f"Bearer {_need(preset, 'bearer_token', 'the token').removeprefix('Bearer ')}"
    if scheme == "basic":
        return "Authorization", f"Basic {_basic_credentials(preset)}"
    if scheme == "api_key":
        return _need(preset, "api_key_name", "the header's name"), _need(preset, "api_key_value", "the API key")
    raise forms.ValidationError("Choose one of the schemes.")


def _basic_credentials(preset: Mapping[str, str]) -> str:
    username = _need(preset, "basic_username", "the user name")
    if ":" in username:
        raise forms.ValidationError("The user name of Basic authentication cannot hold a colon.")
    return base64.b64encode(f"{username}:{_need(preset, 'basic_password', 'the password')}".encode()).decode()


def _need(preset: Mapping[str, str], part: str, words: str) -> str:
    if not preset[part]:
        raise forms.ValidationError(f"Enter {words}.")
    return preset[part]


class RetryScheduleField(forms.CharField):
    """`5, 300, 1800` in a form; a list of seconds, or None for the default."""

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(f"{step:g}" for step in value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        if isinstance(value, list) or not str(value or "").strip():
            return value or None
        try:
            return [int(step) for step in str(value).split(",")]
        except ValueError:
            raise forms.ValidationError("Give whole seconds with commas between, such as 5, 300, 1800.") from None

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(self.prepare_value(initial or "") != (data or "").strip())
