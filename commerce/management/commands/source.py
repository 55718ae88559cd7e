"""`manage.py source`: who may tell us things at `/api/v1/inbound/NAME/`."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from commerce import database
from commerce.inbound import sources
from commerce.models import InboundSource
from inventory.models import Warehouse


class Command(BaseCommand):
    help = "Register an inbound source, or give one that is there another secret, and print its address."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="the end of its address, such as dhl or berlin-3pl")
        parser.add_argument("--scheme", required=True, choices=InboundSource.Scheme.values, help="how it signs")
        parser.add_argument(
            "--secret", required=True, action="append", help="that it signs with; several are live at once"
        )
        parser.add_argument("--warehouse", default="", help="code of the only warehouse it speaks for")
        parser.add_argument("--header", default="", help="of hmac: the header that holds the signature")
        parser.add_argument("--algorithm", default="sha256", choices=InboundSource.Algorithm.values, help="of hmac")
        parser.add_argument("--encoding", default="hex", choices=InboundSource.Encoding.values, help="of hmac")
        parser.add_argument("--prefix", default="", help="of hmac: what stands before the signature, such as sha256=")

    def handle(self, *, name: str, scheme: str, secret: list[str], warehouse: str, **options: Any) -> None:
        database.require_migrated()
        if warehouse and not Warehouse.objects.filter(code=warehouse).exists():
            raise CommandError(f"There is no warehouse {warehouse}.")
        how = {key: options[key] for key in ("header", "algorithm", "encoding", "prefix")}
        try:
            source = InboundSource.objects.filter(name=name).first()
            if source is None:
                source = sources.create(
                    name, scheme=scheme, secrets=secret, now=timezone.now(), warehouse=warehouse, **how
                )
            elif source.scheme == scheme:
                for each in secret:
                    sources.add_secret(source, each, now=timezone.now())
            else:
                raise CommandError(f"The source {name} is of the scheme {source.scheme}, not {scheme}.")
        except sources.InvalidSource as error:
            raise CommandError(str(error)) from None
        count = len(source.secrets)
        self.stdout.write(f"Source {name}: {scheme}, {count} live secret{'' if count == 1 else 's'}. Its address:")
        self.stdout.write(source.url)
