"""benchmarks/results.md: the last measurement of each figure, and when and how busy a machine it was made on."""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

PATH = Path(__file__).with_name("results.md")
HEAD = ("figure", "measured", "bar", "reached", "when (UTC), load before, machine")

Row = tuple[str, ...]


def stamp(load: float, machine: str) -> str:
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M}, {load:.1f}, {machine}"


def read() -> dict[str, Row]:
    """The rows by the name of their figure; none where there is no table of these columns."""
    lines = PATH.read_text().splitlines() if PATH.exists() else []
    rows = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines if line.startswith("|")]
    return {row[0]: row for row in rows[2:] if len(row) == len(HEAD)}


def write(rows: Iterable[Row]) -> None:
    table = [HEAD, ("---",) * len(HEAD), *rows]
    head = "# Results\n\nEach figure as it was measured last, by `make bench` or a part of it.\n\n"
    PATH.write_text(head + "".join(f"| {' | '.join(row)} |\n" for row in table))
