"""`make bench`: every figure, measured now, on this machine; also written to benchmarks/results.md.

`python -m benchmarks throughput latency` measures only these; the others stay there as they were measured last.
"""

import os
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks import (
    api_paging,
    audits,
    dead_subscriber,
    harness,
    isolation,
    kills,
    latency,
    log_browser,
    memory,
    orders,
    races,
    results,
    statements,
    streams,
    throughput,
)
from benchmarks.rival import race

DATABASES = {"postgres": "PostgreSQL", "sqlite": "SQLite"}


@dataclass(frozen=True)
class Figure:
    """`is_reached` None: it could not be measured here, and `measured` says why."""

    name: str
    measured: str
    bar: str
    is_reached: bool | None

    @property
    def cells(self) -> tuple[str, ...]:
        reached = "left out" if self.is_reached is None else "yes" if self.is_reached else "no"
        return self.name, self.measured, self.bar, reached


def deliveries_per_second() -> Iterator[Figure]:
    for kind, name in DATABASES.items():
        ours, bare, ratio = throughput.compare(kind)
        measured = f"{ours:,.0f}/s; the bare loop {bare:,.0f}/s; ratio {ratio:.2f}"
        yield Figure(f"deliveries per second, {name}", measured, "ratio >= 0.75", ratio >= 0.75)


def against_the_rival() -> Iterator[Figure]:
    name, bar = "deliveries per second against django-webhook + Celery + Redis", ">= 15 times"
    try:
        found = race.compare()
    except race.NotAvailable as reason:
        yield Figure(name, f"LEFT OUT: {reason}", bar, None)
        return
    measured = f"{found.ours:,.0f}/s; theirs at best {found.theirs:,.0f}/s ({found.setup}); {found.ratio:.1f} times"
    yield Figure(name, measured, bar, found.ratio >= 15)


def commit_to_receipt() -> Iterator[Figure]:
    for kind, (most_p50, most_p99) in {"postgres": (8, 20), "sqlite": (60, 150)}.items():
        found = latency.measure(kind)
        overall, steady = found.overall, found.steady
        yield Figure(
            f"commit to receipt at 30 events/s, {DATABASES[kind]}",
            f"p50 {overall.p50:.1f} ms, p99 {overall.p99:.1f} ms; of the {found.share:.0%} during which the machine"
            f" itself was not slow p50 {steady.p50:.1f} ms, p99 {steady.p99:.1f} ms",
            f"p50 <= {most_p50} ms, p99 <= {most_p99} ms",
            overall.p50 <= most_p50 and overall.p99 <= most_p99,
        )


def sql_statements() -> Iterator[Figure]:
    for kind, name in DATABASES.items():
        emitting, sending = statements.measure(kind)
        yield Figure(
            f"SQL statements per event and delivery, backlog of 1,000, {name}",
            f"{emitting} in the emitting transaction, {sending:.2f} in the worker",
            "<= 4, <= 1",
            emitting <= 4 and sending <= 1,
        )


def beside_one_that_hangs() -> Iterator[Figure]:
    for kind, name in DATABASES.items():
        without, beside, ratio = isolation.compare(kind)
        measured = (
            f"p99 {without:.1f} ms; beside it {beside:.1f} ms; ratio {ratio:.2f}; medians of {isolation.ROUNDS} rounds"
        )
        yield Figure(f"healthy subscribers, one of 20 hangs, {name}", measured, "<= 1.5", ratio <= 1.5)


def beside_one_that_is_dead() -> Iterator[Figure]:
    for kind, name in DATABASES.items():
        found = dead_subscriber.measure(kind)
        yield Figure(
            f"claims beside {dead_subscriber.BACKLOG:,} pending deliveries of a dead subscriber, {name}",
            f"{found.without:.1f} ms; with them {found.beside:.1f} ms; ratio {found.ratio:.2f};"
            f" median of {dead_subscriber.ROUNDS} rounds",
            f"<= {dead_subscriber.BAR}",
            found.ratio <= dead_subscriber.BAR,
        )


def killed_workers() -> Iterator[Figure]:
    for kind, name in DATABASES.items():
        toll = kills.measure(kind)
        is_clean = toll.lost == 0 and toll.copies == toll.accounted
        yield Figure(f"kill -9 during {kills.COUNT:,} events, {name}", str(toll), "0 lost, all accounted for", is_clean)


def the_log() -> Iterator[Figure]:
    ratio = log_browser.slowest(log_browser.compare())
    name = f"log browser's slowest page at {log_browser.LARGE * log_browser.SYSTEMS:,} deliveries, PostgreSQL"
    yield Figure(name, f"{ratio:.2f} times that at {log_browser.SMALL * log_browser.SYSTEMS:,}", "<= 1.5", ratio <= 1.5)


def the_audit() -> Iterator[Figure]:
    took = audits.measure()
    name = f"manage.py audit of {audits.EVENTS:,} events, PostgreSQL"
    yield Figure(name, f"{took:.1f} s", f"<= {audits.BAR_S:.0f} s", took <= audits.BAR_S)


def idle_memory() -> Iterator[Figure]:
    for kind, name in DATABASES.items():
        used = memory.measure(kind)
        yield Figure(f"idle memory, web + cluster of 2 workers, {name}", f"{used:.0f} MB", "< 350 MB", used < 350)


def orders_over_http() -> Iterator[Figure]:
    for kind, name in DATABASES.items():
        measured = orders.measure(kind)
        for what, (words, bar) in orders.FIGURES.items():
            rate, p95 = measured[what]
            is_reached = rate >= 100 and p95 < 150 if bar == orders.PLACING else rate >= 800
            yield Figure(f"{words}, {name}", f"{rate:,.0f}/s, p95 {p95:.0f} ms", bar, is_reached)


def open_streams() -> Iterator[Figure]:
    for kind, name in DATABASES.items():
        found = streams.measure(kind)
        p50, p99 = harness.percentile(found.waits, 0.5), harness.percentile(found.waits, 0.99)
        yield Figure(
            f"commit to visible on a stream, {streams.PAGES + streams.FEEDS} open, {name}",
            f"p50 {p50:.0f} ms, p99 {p99:.0f} ms",
            "p99 <= 1,000 ms",
            p99 <= 1000,
        )
        yield Figure(
            f"{streams.OPEN_IN_ALL:,} streams open on one process, {name}",
            f"{found.kilobytes:.0f} KB each; {found.threads} threads and {found.connections} connections in all",
            "<= 50 KB, <= 20, <= 15",
            found.kilobytes <= 50 and found.threads <= 20 and found.connections <= 15,
        )


def api_pages() -> Iterator[Figure]:
    ratio, page = api_paging.slowest(api_paging.compare())
    name = f"API's slowest page of {api_paging.LARGE:,} orders, PostgreSQL"
    yield Figure(name, f"{ratio:.2f} times that of {api_paging.SMALL:,} ({page})", "<= 1.5", ratio <= api_paging.BAR)


def races_for_one_order() -> Iterator[Figure]:
    """One that ends as it must not ends the benchmark."""
    for kind, name in DATABASES.items():
        ended = races.measure(kind)
        seconds = sum(ends["seconds"] for ends in ended.values())
        yield Figure(
            f"{len(ended)} races of two verbs for one order, {races.ROUNDS:,} of each, {name}",
            f"one winner each, a clean audit; {len(ended) * races.ROUNDS / seconds:,.0f}/s",
            "one winner each",
            True,
        )


PARTS: dict[str, Callable[[], Iterator[Figure]]] = {
    "throughput": deliveries_per_second,
    "latency": commit_to_receipt,
    "rival": against_the_rival,
    "statements": sql_statements,
    "isolation": beside_one_that_hangs,
    "dead": beside_one_that_is_dead,
    "kills": killed_workers,
    "memory": idle_memory,
    "orders": orders_over_http,
    "races": races_for_one_order,
    "streams": open_streams,
    "log": the_log,
    "audit": the_audit,
    "paging": api_pages,
}


def machine() -> str:
    model = platform.processor() or platform.machine()
    with open("/proc/cpuinfo") as cpuinfo:
        model = next((line.partition(":")[2].strip() for line in cpuinfo if line.startswith("model name")), model)
    gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return f"{os.cpu_count()} cores ({model}), {gigabytes:.0f} GB, Python {platform.python_version()}"


def main(chosen: list[str]) -> int:
    if unknown := set(chosen) - set(PARTS):
        print(f"There is no part {', '.join(sorted(unknown))}: choose from {', '.join(PARTS)}.", file=sys.stderr)
        return 2
    # One that is measured no more goes with a whole run.
    rows = results.read() if chosen else {}
    for part in chosen or PARTS:
        load = os.getloadavg()[0]
        for figure in PARTS[part]():
            print(" | ".join(figure.cells), flush=True)
            rows[figure.name] = (*figure.cells, results.stamp(load, machine()))
            results.write(rows.values())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
