"""The page of messages to shoppers: one part for each event that can be told of, and a preview of what is kept."""

from typing import Any

from django import forms

from webhooks import messages, subscriptions
from webhooks.admin.fields import ProjectWidget
from webhooks.admin.forms import DeliveryForm, refusals_in_words
from webhooks.catalogue import EventType
from webhooks.messages import MAX_SUBJECT, Message
from webhooks.models import Subscription


class MessagesWidget(ProjectWidget):
    template_name = "admin/webhooks/widgets/messages.html"
    use_fieldset = True
    # Whose parts are shown open: there is something wrong in one of them.
    is_refused = False

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        return super().get_context(name, None, attrs) | {
            "rows": [self._row(each, messages.find(value or (), each.name)) for each in messages.on_offer()],
            "max_subject": MAX_SUBJECT,
            "is_refused": self.is_refused,
        }

    def _row(self, event_type: EventType, message: Message | None) -> dict[str, Any]:
        is_shown = message is not None and not self.is_refused
        return {
            "event": event_type,
            "message": message,
            "placeholders": sorted(messages.placeholders(event_type.name)),
            "preview": messages.render(message, event_type.example) if message and is_shown else None,
        }

    def value_from_datadict(self, data: Any, files: Any, name: str) -> list[Message]:
        """Of what was left empty, nothing."""
        written = [_typed(data, f"{name}-{each.name}", each.name) for each in messages.on_offer()]
        return [message for message in written if message["subject"] or message["text"]]

    def id_for_label(self, id_: str) -> str:
        return ""


def _typed(data: Any, prefix: str, event_type: str) -> Message:
    status, subject, text = (data.get(f"{prefix}-{part}", "").strip() for part in ("status", "subject", "text"))
    return Message(event_type=event_type, status=status, subject=subject, text=text.replace("\r\n", "\n"))


class MessagesField(forms.Field):
    widget = MessagesWidget

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(list(initial or ()) != data)

    def clean(self, value: list[Message]) -> list[Message]:
        try:
            with refusals_in_words():
                subscriptions.check_messages(value)
        except forms.ValidationError:
            self.widget.is_refused = True
            raise
        return value


class MessagesForm(DeliveryForm):
    name = forms.CharField(
        max_length=100,
        help_text="As your colleagues find it in the delivery log.",
        widget=forms.TextInput(attrs={"class": "vTextField"}),
    )
    messages = MessagesField(
        label="What shoppers are told",
        help_text="Plain text. {order_number} stands for the order's number, and so on; what stands after a bar is used"
        " where there is nothing: {customer_name|there}. An event without a subject and a text is not told.",
    )

    class Meta:
        model = Subscription
        fields = ("name", "messages", "retry_schedule", "max_in_flight", "max_per_second")

    def clean_messages(self) -> list[Message]:
        written: list[Message] = self.cleaned_data["messages"]
        messages.adopt(self.instance, written)
        return written
