"""What a message to a shopper may say, and how its placeholders are filled."""

import pytest

from orders import events
from webhooks import messages
from webhooks.messages import InvalidMessage, Message

EXAMPLE = dict(events.ORDER_SHIPPED.example)


def message(text: str = "It left.", subject: str = "Order {order_number}", status: str = "") -> Message:
    return Message(event_type="order.shipped", status=status, subject=subject, text=text)


class TestRender:
    def test_puts_the_events_values_in(self) -> None:
        subject, text = messages.render(message("With {carrier}: {tracking_number}."), EXAMPLE)

        assert (subject, text) == ("Order 1042", "With DHL: 00340434161094015902.")

    @pytest.mark.parametrize("nothing", [None, ""])
    def test_puts_what_follows_a_bar_where_there_is_nothing(self, nothing: str | None) -> None:
        _, text = messages.render(message("Hello {customer_name|there},"), EXAMPLE | {"customer_name": nothing})

        assert text == "Hello there,"

    def test_writes_moments_and_dates_as_people_do(self) -> None:
        _, text = messages.render(message("Left on {shipped_at}."), EXAMPLE)
        confirmed = Message(event_type="order.confirmed", status="", subject="", text="{promised_delivery_to}")

        assert text == "Left on 24 November 2026, 15:30 UTC."
        assert messages.render(confirmed, events.ORDER_CONFIRMED.example)[1] == "30 November 2026"

    def test_reaches_into_an_address(self) -> None:
        confirmed = Message(event_type="order.confirmed", status="", subject="", text="To {shipping_address.city}")

        assert messages.render(confirmed, events.ORDER_CONFIRMED.example)[1] == "To Berlin"

    @pytest.mark.parametrize("name", ["{order_number}", "{{ 7 * 7 }}{% debug %}", "{0.__class__}", "<b>Ann</b>"])
    def test_does_not_read_what_a_shopper_has_written(self, name: str) -> None:
        _, text = messages.render(message("Hello {customer_name},"), EXAMPLE | {"customer_name": name})

        assert text == f"Hello {name},"

    def test_keeps_the_subject_in_one_line(self) -> None:
        named = EXAMPLE | {"customer_name": "Ann\r\nBcc: everybody@example.com"}

        subject, _ = messages.render(message(subject="For {customer_name}"), named)

        assert subject == "For Ann Bcc: everybody@example.com"


class TestCheck:
    def test_lets_the_suggested_ones_pass(self) -> None:
        suggested = messages.suggested()

        messages.check(suggested)

        assert [(each["event_type"], each["status"]) for each in suggested] == [
            ("order.confirmed", ""),
            ("order.packed", ""),
            ("order.shipped", ""),
            ("order.delivered", ""),
            ("order.tracking.updated", "out_for_delivery"),
        ]
        assert all("{tracking_page_url}" in each["text"] for each in suggested)

    @pytest.mark.parametrize(
        ("wrong", "words"),
        [
            (message("{colour}"), r"order\.shipped: there is no \{colour\} in this event\. It has carrier, .*tracking"),
            (message("{lines}"), "there is no {lines}"),
            (message("{order.customer.password}"), "there is no {order.customer.password}"),
            (message(subject="Order {order_number"), "a brace without its other half"),
            (message("{{order_number}}"), "a brace without its other half"),
            (message(""), "needs both a subject and a text"),
            (message(subject=" "), "needs both a subject and a text"),
            (message(subject="x" * 151), "one line of at most 150"),
            (message("x" * 5_001), "at most 5,000"),
            (message(status="x" * 201), "the value for status must be a text"),
        ],
    )
    def test_says_what_is_wrong(self, wrong: Message, words: str) -> None:
        with pytest.raises(InvalidMessage, match=words):
            messages.check([wrong])

    def test_wants_at_least_one(self) -> None:
        with pytest.raises(InvalidMessage, match="at least one"):
            messages.check([])
