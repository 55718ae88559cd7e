from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from commerce.models import InboundSource
from tests.factories import make_warehouse
from tests.inbound.conftest import take_in
from tests.inbound.senders import Sender, load

pytestmark = pytest.mark.django_db


def source(*arguments: str) -> str:
    said = StringIO()
    call_command("source", *arguments, stdout=said)
    return said.getvalue()


class TestSource:
    def test_prints_its_address_on_the_last_line(self) -> None:
        said = source("dhl", "--scheme", "aftership", "--secret", "s3cret")

        assert said.splitlines()[-1] == "http://localhost:8000/api/v1/inbound/dhl/"
        assert "s3cret" not in said
        assert InboundSource.objects.get().live_secrets == ["s3cret"]

    def test_lets_its_sender_in(self, client: Any, now: Any) -> None:
        source("hmac", "--scheme", "hmac", "--secret", "hush", "--header", "X-Courier-Signature", "--prefix", "sha256=")

        sender = Sender(client, "hmac", int(now.timestamp()))

        assert sender.send(load("standard_tracking_updated")).status_code == 202
        take_in()

    def test_again_adds_another_live_secret(self) -> None:
        source("stripe", "--scheme", "stripe", "--secret", "old")

        said = source("stripe", "--scheme", "stripe", "--secret", "new", "--secret", "newer")

        assert "3 live secrets" in said
        assert InboundSource.objects.get().live_secrets == ["newer", "new", "old"]

    def test_takes_the_warehouse_it_speaks_for(self) -> None:
        make_warehouse("MUC")

        source("muc-3pl", "--scheme", "standard", "--secret", "whsec_" + "A" * 44, "--warehouse", "MUC")

        assert InboundSource.objects.get().warehouse == "MUC"

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (("dhl", "--scheme", "pigeon", "--secret", "s"), "invalid choice"),
            (("dhl", "--scheme", "stripe"), "--secret"),
            (("d h l", "--scheme", "stripe", "--secret", "s"), "name:"),
            (("dhl", "--scheme", "standard", "--secret", "short"), "16 random bytes"),
            (("dhl", "--scheme", "hmac", "--secret", "s"), "Name the header"),
            (("dhl", "--scheme", "stripe", "--secret", "s", "--warehouse", "GONE"), "no warehouse GONE"),
            (("there", "--scheme", "easypost", "--secret", "s"), "is of the scheme stripe, not easypost"),
        ],
    )
    def test_refuses_in_words(self, arguments: tuple[str, ...], words: str) -> None:
        source("there", "--scheme", "stripe", "--secret", "first")

        with pytest.raises(CommandError, match=words):
            source(*arguments)

        assert InboundSource.objects.get().live_secrets == ["first"]
