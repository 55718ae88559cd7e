"""The proof after a storm finds what it is there to find."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.chaos.receivers import Receipt
from tests.chaos.verdict import Owed, Try, differences

BEGAN = datetime(2026, 11, 23, 10, tzinfo=UTC)


def at(second: float) -> datetime:
    return BEGAN + timedelta(seconds=second)


def owed(sequence: int, *reasons: str, state: str = "delivered") -> Owed:
    """An event of one order whose attempts, a second apart, ended with these reasons."""
    tries = {number: Try(reason, at(number)) for number, reason in enumerate(reasons or [""], start=1)}
    return Owed(f"evt_{sequence}", "ord_1", sequence, state, tries)


def came(sequence: int, attempt: int = 1, *, second: float = 5) -> Receipt:
    return Receipt(f"evt_{sequence}", attempt, "ord_1", sequence, at(second))


def found(receipts: list[Receipt], log: list[Owed], *, strict: bool = False) -> list[str]:
    return list(differences(receipts, log, strict=strict))


def test_finds_nothing_where_every_request_is_an_attempt_and_the_last_one_arrived() -> None:
    log = [owed(1, "worker_lost", "http_5xx", ""), owed(2)]

    assert found([came(1), came(1, 2), came(1, 3), came(2)], log) == []


@pytest.mark.parametrize(
    ("receipts", "log", "finding"),
    [
        ([], [owed(1)], "evt_1 never came; it is delivered."),
        ([came(1), came(2)], [owed(1)], "evt_2 came and is not owed."),
        ([came(1)], [owed(1, "http_5xx", state="parked")], "evt_1 came and is parked, after ['http_5xx']."),
        ([came(1), came(1, 2)], [owed(1, "", "")], "evt_1 came and is delivered, after ['', '']."),
        ([came(1), came(1)], [owed(1)], "evt_1 came 2 times as attempt 1."),
        ([came(1), came(1, 2)], [owed(1)], "evt_1 came as attempt 2, which the log does not know."),
        ([came(2), came(1)], [owed(1), owed(2)], "evt_2 (ord_1, 2) came before 1."),
    ],
)
def test_finds_what_was_lost_doubled_or_overtaken(receipts: list[Receipt], log: list[Owed], finding: str) -> None:
    assert found(receipts, log) == [finding]


class TestAnEventThatFailed:
    LOG = [owed(1, "connect", ""), owed(2)]

    def test_may_be_overtaken(self) -> None:
        assert found([came(2), came(1, 2)], self.LOG) == []

    def test_may_not_be_overtaken_under_strict_ordering(self) -> None:
        assert found([came(2), came(1, 2)], self.LOG, strict=True) == ["evt_2 (ord_1, 2) came before 1."]

    def test_may_not_be_overtaken_before_it_had_failed(self) -> None:
        early = replace(came(2), at=at(0.5))

        assert found([early, came(1, 2)], self.LOG) == ["evt_2 (ord_1, 2) came before 1."]
