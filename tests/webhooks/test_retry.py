from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhooks import retry

NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)


def wait_after(failures: int, *, retry_after: datetime | None = None) -> float:
    due = retry.next_attempt_at(failures, steps=retry.LADDER, failed_at=NOW, retry_after=retry_after)
    assert due is not None
    return (due - NOW).total_seconds()


class TestLadder:
    def test_makes_ten_attempts_over_75_hours_and_35_minutes(self) -> None:
        assert retry.LADDER == (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
        assert sum(retry.LADDER) == 5 + (75 * 60 + 35) * 60

    @pytest.mark.parametrize(("failures", "step"), enumerate(retry.LADDER, start=1))
    def test_waits_at_least_its_step_and_at_most_a_tenth_more(self, failures: int, step: int) -> None:
        waits = [wait_after(failures) for _ in range(200)]

        assert step <= min(waits) <= max(waits) <= step * 1.1

    def test_spreads_what_failed_together(self) -> None:
        assert len({wait_after(9) for _ in range(50)}) > 40

    def test_ends_after_its_last_step(self) -> None:
        assert retry.next_attempt_at(10, steps=retry.LADDER, failed_at=NOW) is None

    def test_follows_the_steps_of_a_subscription(self) -> None:
        assert retry.schedule(None) == retry.LADDER
        assert retry.schedule([7]) == [7]
        assert retry.next_attempt_at(2, steps=[7], failed_at=NOW) is None


class TestRetryAfter:
    def test_lengthens_a_wait(self) -> None:
        assert wait_after(1, retry_after=NOW + timedelta(minutes=2)) == 120

    def test_never_shortens_one(self) -> None:
        assert wait_after(2, retry_after=NOW + timedelta(seconds=1)) >= 300
        assert wait_after(2, retry_after=NOW - timedelta(days=400)) >= 300

    def test_counts_for_ten_hours_at_most(self) -> None:
        assert wait_after(1, retry_after=NOW + timedelta(days=30)) == 36_000

    def test_does_not_add_an_attempt(self) -> None:
        assert (
            retry.next_attempt_at(10, steps=retry.LADDER, failed_at=NOW, retry_after=NOW + timedelta(hours=1)) is None
        )

    @pytest.mark.parametrize(
        ("value", "seconds"),
        [
            ("0", 0),
            ("120", 120),
            (" 120 ", 120),
            ("99999999999999999999", 36_000),
            ("Mon, 23 Nov 2026 10:05:00 GMT", 300),
            ("Monday, 23-Nov-26 10:05:00 GMT", 300),
            ("Mon Nov 23 10:05:00 2026", 300),
            ("Mon, 23 Nov 2026 09:00:00 GMT", -3600),
        ],
    )
    def test_is_read_in_seconds_or_as_a_date(self, value: str, seconds: int) -> None:
        assert retry.parse_retry_after(value, now=NOW) == NOW + timedelta(seconds=seconds)

    @pytest.mark.parametrize(
        "value",
        [
            "",
            "soon",
            "-5",
            "1.5",
            "1e9",
            "٣",
            "²",
            "5, 10",
            "\x00",
            "Mon, 99 Nov 2026 10:05:00 GMT",
            "Mon, 23 Nov 99999 10:05:00 GMT",
            "Mon, 23 Nov 2026 10:05:00 +99999999999999999999",
            "9" * 10_000 + "x",
        ],
    )
    def test_that_is_junk_is_ignored(self, value: str) -> None:
        assert retry.parse_retry_after(value, now=NOW) is None

    @given(st.text() | st.from_regex(r"(Mon, )?[0-9]{1,5} Nov [0-9]{1,6} [0-9:]{1,9} [+-][0-9]{1,30}", fullmatch=True))
    def test_never_breaks_the_schedule(self, value: str) -> None:
        moment = retry.parse_retry_after(value, now=NOW)

        assert 5 <= wait_after(1, retry_after=moment) <= 36_000
