"""`manage.py token`: a new API token, shown once."""

import argparse
from datetime import UTC, datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from commerce import database, tokens
from inventory.models import Warehouse
from orders.models import Order


def scope_list(text: str) -> list[str]:
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise argparse.ArgumentTypeError(f"name at least one of {', '.join(tokens.SCOPES)}")
    if unknown := sorted(set(names) - set(tokens.SCOPES)):
        raise argparse.ArgumentTypeError(
            f"there is no scope {', '.join(unknown)}; there are {', '.join(tokens.SCOPES)}"
        )
    return names


def moment(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a date such as 2027-01-01") from None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    if at <= timezone.now():
        raise argparse.ArgumentTypeError(f"{text} has passed")
    return at


class Command(BaseCommand):
    help = "Make an API token and print it, once, alone on the last line."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="who will use it")
        parser.add_argument(
            "--scopes", type=scope_list, required=True, help=f"comma list of {', '.join(tokens.SCOPES)}"
        )
        parser.add_argument("--warehouse", default="", help="code of the only warehouse it works for")
        parser.add_argument("--channel", default="", choices=Order.Channel.values, help="of the orders it places")
        parser.add_argument("--expires", type=moment, help="date or moment (UTC)")

    def handle(self, *, name: str, scopes: list[str], warehouse: str, **options: Any) -> None:
        database.require_migrated()
        if warehouse and not Warehouse.objects.filter(code=warehouse).exists():
            raise CommandError(f"There is no warehouse {warehouse}.")
        try:
            secret = tokens.issue(
                name, scopes=scopes, warehouse=warehouse, channel=options["channel"], expires=options["expires"]
            )
        except ValidationError as error:
            faults = [f"{field}: {' '.join(words)}" for field, words in error.message_dict.items()]
            raise CommandError(" ".join(faults)) from None
        self.stdout.write(f"Token {name}: {', '.join(scopes)}. Keep it: it is not shown again.")
        self.stdout.write(secret)
