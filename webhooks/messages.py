"""Messages to shoppers: for each chosen event a subject and a plain text, with `{placeholders}` for its `data`.

A placeholder is a field's name and, after a bar, what stands there if the field is empty: `{customer_name|there}`.
Nothing else is replaced, and what was put in is not read again: no shopper's name can ask for anything.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, TypedDict

from webhooks import catalogue, conditions
from webhooks.catalogue import EventType
from webhooks.conditions import Condition, InvalidCondition, Kind, Operator
from webhooks.models import Subscription

# The field of `data` that says whom to write to: events that have it can be told of.
RECIPIENT = "customer_email"
STATUS, PREVIOUS_STATUS = "status", "previous_status"
MAX_SUBJECT, MAX_TEXT = 150, 5_000
# What a subscription is told of follows from its messages.
DERIVED = ("event_types", "conditions")
_PLACEHOLDER = re.compile(r"\{([^{}|]*)(?:\|([^{}]*))?\}")

Data = Mapping[str, Any]


class InvalidMessage(ValueError):
    """A message that could never be written as it was meant."""


class Message(TypedDict):
    """An empty `status`: it is sent whatever the event's `status` is."""

    event_type: str
    status: str
    subject: str
    text: str


def on_offer() -> list[EventType]:
    return [each for each in catalogue.all_types() if RECIPIENT in placeholders(each.name)]


def suggested() -> list[Message]:
    """Those of the catalogue, in its order."""
    return [
        Message(event_type=each.name, status=wording.status, subject=wording.subject, text=wording.text)
        for each in on_offer()
        if (wording := each.wording)
    ]


def placeholders(event_type: str) -> Mapping[str, Kind]:
    return conditions.fields_of([event_type])


def find(messages: Iterable[Message], event_type: str) -> Message | None:
    return next((each for each in messages if each["event_type"] == event_type), None)


def adopt(subscription: Subscription, messages: Sequence[Message]) -> None:
    """Make these its messages, and have it told of their events."""
    subscription.messages = list(messages)
    subscription.event_types = [each["event_type"] for each in messages]
    subscription.conditions = [condition for each in messages for condition in _conditions(each)]


def _conditions(message: Message) -> list[Condition]:
    """That the event's status is that of the message, and, where the event says so, that it was not that before."""
    event_type, status = message["event_type"], message["status"]
    asked = {STATUS: Operator.EQ, PREVIOUS_STATUS: Operator.NE} if status else {}
    known = placeholders(event_type)
    return [
        Condition(field=field, operator=compared, value=status, event_type=event_type)
        for field, compared in asked.items()
        if field in known
    ]


# When they are saved


def check(messages: Sequence[Message]) -> None:
    """Raises InvalidMessage."""
    if not messages:
        raise InvalidMessage("Write at least one message.")
    for message in messages:
        if fault := _fault(message):
            raise InvalidMessage(f"{message['event_type']}: {fault}")


def _fault(message: Message) -> str:
    """What is wrong with it; nothing if it can be written."""
    if not message["subject"].strip() or not message["text"].strip():
        return "a message needs both a subject and a text."
    if len(message["subject"]) > MAX_SUBJECT or "\n" in message["subject"]:
        return f"the subject must be one line of at most {MAX_SUBJECT} characters."
    if len(message["text"]) > MAX_TEXT:
        return f"the text can have at most {MAX_TEXT:,} characters."
    return _misplaced(message) or _never_met(message)


def _misplaced(message: Message) -> str:
    known = placeholders(message["event_type"])
    for part in (message["subject"], message["text"]):
        for name, _ in _PLACEHOLDER.findall(part):
            if name not in known:
                return f"there is no {{{name}}} in this event. It has {', '.join(sorted(known))}."
        if not {"{", "}"}.isdisjoint(_PLACEHOLDER.sub("", part)):
            return "a brace without its other half: write placeholders like {order_number}."
    return ""


def _never_met(message: Message) -> str:
    try:
        conditions.check(_conditions(message), [message["event_type"]])
    except InvalidCondition as error:
        return str(error)
    return ""


# When one is sent


def render(message: Message, data: Data) -> tuple[str, str]:
    """The subject, in one line, and the text."""
    known = placeholders(message["event_type"])

    def fill(found: re.Match[str]) -> str:
        name, instead = found.groups(default="")
        value = conditions.find(data, name)
        return instead if value in (None, "") else _in_words(value, known.get(name))

    subject, text = _PLACEHOLDER.sub(fill, message["subject"]), _PLACEHOLDER.sub(fill, message["text"])
    return " ".join(subject.split()), text


def _in_words(value: Any, kind: Kind | None) -> str:
    if kind is conditions.DATE:
        return f"{date.fromisoformat(value):%-d %B %Y}"
    if kind is conditions.MOMENT:
        return f"{datetime.fromisoformat(value):%-d %B %Y, %H:%M} UTC"
    return str(value)
