"""Money: whole minor units and an ISO currency inside, decimal text at the edges, never a float."""

import re
from collections.abc import Callable
from decimal import Decimal
from functools import cached_property
from operator import attrgetter
from typing import Any

from babel.core import get_global
from babel.numbers import format_currency, get_currency_precision
from django.core.exceptions import ValidationError
from rest_framework import serializers
from rest_framework.fields import get_attribute

from webhooks.errors import DomainError

CURRENCIES: frozenset[str] = frozenset(
    code
    for spans in get_global("territory_currencies").values()
    for code, _, until, is_tender in spans
    if is_tender and until is None
)
# A thousand of the dearest thing still fits the database's 64 bits, and a JSON reader's 53.
MAX_MINOR = 10**12

_AMOUNT = re.compile(r"[0-9]{1,15}(\.[0-9]{1,15})?")


class MoneyError(DomainError):
    """A text that is not an amount of its currency."""

    code = "invalid_amount"


def to_text(minor: int, currency: str) -> str:
    """`4990, "EUR"` -> `"49.90"`; as many digits as the currency has."""
    return f"{_decimal(minor, currency):f}"


def from_text(text: str, currency: str) -> int:
    """`"49.9", "EUR"` -> `4990`. Raises MoneyError on junk, a sign, too many digits or too much."""
    if not _AMOUNT.fullmatch(text):
        raise MoneyError(f"{text!r} is not an amount such as 49.90.")
    minor = Decimal(text).scaleb(get_currency_precision(currency))
    if minor != int(minor):
        raise MoneyError(f"{text} has more digits than {currency} has: {get_currency_precision(currency)}.")
    if minor > MAX_MINOR:
        raise MoneyError(f"{text} {currency} is more than the {to_text(MAX_MINOR, currency)} an amount can be.")
    return int(minor)


def display(minor: int, currency: str, locale: str = "en") -> str:
    """For people: `€49.90`."""
    return format_currency(_decimal(minor, currency), currency, locale=locale)


def _decimal(minor: int, currency: str) -> Decimal:
    return Decimal(minor).scaleb(-get_currency_precision(currency))


def validate_currency(code: str) -> None:
    if code not in CURRENCIES:
        raise ValidationError(f"{code!r} is not a current ISO 4217 code such as EUR.", code="invalid_currency")


class CurrencyField(serializers.CharField):
    """An ISO 4217 code in capitals, of money that is in use today."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(validators=[validate_currency], **kwargs)


class AmountField(serializers.CharField):
    """Decimal text outside, the minor units of its `source` inside, in the currency of its sibling `currency`.

    Read, `currency` may be a path such as "order.currency". Written, the currency is taken from the same body, or
    from the row that is being changed.
    """

    schema_format = "decimal"

    def __init__(self, *, currency: str = "currency", **kwargs: Any) -> None:
        self.currency = currency
        super().__init__(**kwargs)

    def get_attribute(self, instance: Any) -> str | None:
        try:
            minor, currency = self._find(instance)
        except (AttributeError, KeyError):
            # DRF knows what else the path may lead through.
            minor = super().get_attribute(instance)
            currency = None if minor is None else get_attribute(instance, self._currency_attrs)
        return None if minor is None else to_text(minor, currency)

    @cached_property
    def _currency_attrs(self) -> list[str]:
        return [*self.source_attrs[:-1], *self.currency.split(".")]

    @cached_property
    def _find(self) -> Callable[[Any], tuple[Any, Any]]:
        return attrgetter(".".join(self.source_attrs), ".".join(self._currency_attrs))

    def to_internal_value(self, data: Any) -> int:  # type: ignore[override]
        if not isinstance(data, str):
            raise serializers.ValidationError('An amount is a decimal text such as "49.90".', code="invalid")
        currency = self._written_currency()
        if currency not in CURRENCIES:
            return 0  # Never kept: the currency's own field refuses the body.
        try:
            return from_text(data, currency)
        except MoneyError as error:
            raise serializers.ValidationError(str(error), code=error.code) from error

    def _written_currency(self) -> str:
        serializer: Any = self.parent
        return str(serializer.initial_data.get(self.currency, getattr(serializer.instance, self.currency, "")))
