from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from hypothesis import given
from hypothesis import strategies as st
from rest_framework import serializers

from inventory.money import (
    CURRENCIES,
    MAX_MINOR,
    AmountField,
    CurrencyField,
    MoneyError,
    display,
    from_text,
    to_text,
    validate_currency,
)


class TestToText:
    @pytest.mark.parametrize(
        ("minor", "currency", "text"),
        [
            (4990, "EUR", "49.90"),
            (0, "EUR", "0.00"),
            (5, "USD", "0.05"),
            (-1250, "EUR", "-12.50"),
            (4990, "JPY", "4990"),
            (4990, "KWD", "4.990"),
            (123456789012345678, "EUR", "1234567890123456.78"),
        ],
    )
    def test_has_the_digits_of_the_currency(self, minor: int, currency: str, text: str) -> None:
        assert to_text(minor, currency) == text


class TestFromText:
    @pytest.mark.parametrize(
        ("text", "currency", "minor"),
        [
            ("49.90", "EUR", 4990),
            ("49.9", "EUR", 4990),
            ("49", "EUR", 4900),
            ("0", "EUR", 0),
            ("007.50", "EUR", 750),
            ("4990", "JPY", 4990),
            ("4.990", "KWD", 4990),
            ("10000000000.00", "EUR", MAX_MINOR),
        ],
    )
    def test_counts_minor_units(self, text: str, currency: str, minor: int) -> None:
        assert from_text(text, currency) == minor

    @pytest.mark.parametrize(
        "text",
        [
            "",
            " ",
            "abc",
            "1,50",
            "1.",
            ".5",
            "+1",
            "-1",
            "1e3",
            "NaN",
            "Infinity",
            "1_000",
            " 1",
            "1\n",
            "٣",
            "1.5.0",
            "0x1",
        ],
    )
    def test_refuses_what_is_not_an_amount(self, text: str) -> None:
        with pytest.raises(MoneyError, match="is not an amount"):
            from_text(text, "EUR")

    @pytest.mark.parametrize(("text", "currency"), [("1.001", "EUR"), ("1.5", "JPY"), ("1.0001", "KWD")])
    def test_refuses_more_digits_than_the_currency_has_rather_than_rounding(self, text: str, currency: str) -> None:
        with pytest.raises(MoneyError, match="more digits than"):
            from_text(text, currency)

    def test_refuses_more_than_an_amount_can_be(self) -> None:
        with pytest.raises(MoneyError, match=r"more than the 10000000000\.00"):
            from_text("10000000000.01", "EUR")

    @given(st.integers(min_value=0, max_value=MAX_MINOR), st.sampled_from(sorted(CURRENCIES)))
    def test_reads_back_what_was_written(self, minor: int, currency: str) -> None:
        assert from_text(to_text(minor, currency), currency) == minor


@pytest.mark.parametrize(
    ("minor", "currency", "locale", "text"),
    [(4990, "EUR", "en", "€49.90"), (4990, "EUR", "de", "49,90\xa0€"), (1234567, "JPY", "en", "¥1,234,567")],
)
def test_display_is_for_people(minor: int, currency: str, locale: str, text: str) -> None:
    assert display(minor, currency, locale) == text


class TestValidateCurrency:
    @pytest.mark.parametrize("code", ["EUR", "USD", "JPY", "KWD", "INR"])
    def test_takes_money_in_use(self, code: str) -> None:
        validate_currency(code)

    @pytest.mark.parametrize("code", ["", "eur", "EURO", "DEM", "XXX", "ZZZ", "€"])
    def test_refuses_all_else(self, code: str) -> None:
        with pytest.raises(ValidationError, match="not a current ISO 4217 code"):
            validate_currency(code)


class PriceSerializer(serializers.Serializer[Any]):
    amount = AmountField(source="price_minor")
    currency = CurrencyField()


class LineSerializer(serializers.Serializer[Any]):
    unit_amount = AmountField(source="unit_minor", currency="order.currency", allow_null=True)
    order_amount = AmountField(source="order.total_minor")


class TestAmountField:
    def test_is_written_in_the_currency_beside_it(self) -> None:
        row = SimpleNamespace(price_minor=4990, currency="KWD")

        assert PriceSerializer(row).data == {"amount": "4.990", "currency": "KWD"}

    def test_finds_a_currency_further_away(self) -> None:
        order = SimpleNamespace(total_minor=500, currency="JPY")

        data = LineSerializer(SimpleNamespace(unit_minor=250, order=order)).data

        assert data == {"unit_amount": "250", "order_amount": "500"}

    def test_is_null_where_there_is_nothing(self) -> None:
        order = SimpleNamespace(total_minor=500, currency="EUR")

        assert LineSerializer(SimpleNamespace(unit_minor=None, order=order)).data["unit_amount"] is None

    def test_is_read_in_the_currency_of_the_same_body(self) -> None:
        serializer = PriceSerializer(data={"amount": "4.99", "currency": "EUR"})

        assert serializer.is_valid(), serializer.errors
        assert serializer.validated_data == {"price_minor": 499, "currency": "EUR"}

    def test_is_read_in_the_currency_of_the_row_that_is_changed(self) -> None:
        row = SimpleNamespace(price_minor=1, currency="JPY")
        serializer = PriceSerializer(row, data={"amount": "500"}, partial=True)

        assert serializer.is_valid(), serializer.errors
        assert serializer.validated_data == {"price_minor": 500}

    @pytest.mark.parametrize("amount", [4.99, 5, True, None, ["4.99"], {"amount": "4.99"}, "4.999", "", "-1", "four"])
    def test_refuses_anything_but_a_decimal_text(self, amount: object) -> None:
        serializer = PriceSerializer(data={"amount": amount, "currency": "EUR"})

        assert not serializer.is_valid()
        assert list(serializer.errors) == ["amount"]

    @pytest.mark.parametrize("currency", ["eur", "", None, 978, ["EUR"], {}])
    def test_leaves_a_wrong_currency_to_the_currency_field(self, currency: object) -> None:
        serializer = PriceSerializer(data={"amount": "4.99", "currency": currency})

        assert not serializer.is_valid()
        assert list(serializer.errors) == ["currency"]


def test_no_amount_ever_becomes_a_float() -> None:
    assert sum(from_text("1234567.89", "EUR") for _ in range(20_000)) == 2_469_135_780_000
    assert Decimal(to_text(2_469_135_780_000, "EUR")) == Decimal("24691357800.00")
