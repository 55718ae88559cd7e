import os
import re
import subprocess
import sys
from collections.abc import Iterable
from typing import Any

import pytest
from django.conf import settings

from commerce.ledger import RECEIVERS, Arrival, Ledger


def arrival(receiver: str = "OMS", **values: object) -> Arrival:
    told = {
        "type": "order.packed",
        "subject": "ord_1",
        "label": "1001",
        "sequence": 1,
        "verified": True,
        "is_duplicate": False,
        "in_order": True,
        "latency_ms": 9,
    }
    return Arrival(receiver, **(told | values))  # type: ignore[arg-type]


def ledger(*arrivals: Arrival) -> Ledger:
    """`order.packed` is owed to all four."""
    made = Ledger()
    made.expect(["order.packed"])
    made.arrivals.extend(arrivals)
    return made


def all_told(*names: str) -> Iterable[Arrival]:
    return [arrival(name) for name in names or ("OMS", "ERP", "Shipping app", "Notifier")]


class TestLedger:
    def test_finds_no_fault_when_everybody_was_told_once(self) -> None:
        assert ledger(*all_told()).faults() == []

    def test_names_who_was_not_told_of_what(self) -> None:
        assert ledger(*all_told("OMS", "ERP", "Notifier")).faults() == [
            "Shipping app was not told of order.packed (1 missing)."
        ]

    @pytest.mark.parametrize(
        ("values", "fault"),
        [
            ({"verified": False}, "OMS: order.packed, sequence 1, has a signature that does not verify."),
            ({"is_duplicate": True}, "OMS: order.packed, sequence 1, arrived twice."),
            ({"in_order": False}, "OMS: order.packed, sequence 1, arrived out of sequence."),
            ({"sequence": 2}, "OMS has a gap in the order's sequence: [2]."),
        ],
    )
    def test_says_what_is_wrong_with_a_delivery(self, values: dict[str, Any], fault: str) -> None:
        others = all_told("ERP", "Shipping app", "Notifier")

        assert ledger(*others, arrival(**values)).faults() == [fault]

    def test_says_what_nobody_should_have_been_told(self) -> None:
        assert ledger(*all_told(), arrival("ERP", type="order.cancelled", sequence=2)).faults() == [
            "ERP was told of order.cancelled 1 times too often."
        ]


@pytest.mark.processes
@pytest.mark.once
def test_the_walk_tells_everybody_of_every_step() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}

    demo = subprocess.run(
        [sys.executable, "manage.py", "demo"],
        cwd=settings.BASE_DIR,
        env={**environment, "DEBUG": "true"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (demo.returncode, demo.stderr) == (0, "")
    assert "\x1b" not in demo.stdout
    assert all(sequences_told_to(name, demo.stdout) == list(range(1, 10)) for name in RECEIVERS)
    assert "All 40 deliveries arrived, each once, verified and in sequence." in demo.stdout


def sequences_told_to(name: str, table: str) -> list[int]:
    """The order's numbers in the verified rows of one receiver, as they came."""
    row = rf"^   (?:order|payment)\S+ +1001 +{name} +yes +\d+ ms +(\d+)$"
    return [int(number) for number in re.findall(row, table, re.MULTILINE)]
