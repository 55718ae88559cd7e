"""`make bench`: every figure, measured now, on this machine; also written to benchmarks/results.md."""

import os
import platform
import sys
from datetime import UTC, datetime

from benchmarks import harness, latency, memory, orders, throughput

DATABASES = {"postgres": "PostgreSQL", "sqlite": "SQLite"}


def machine() -> str:
    model = platform.processor() or platform.machine()
    with open("/proc/cpuinfo") as cpuinfo:
        model = next((line.partition(":")[2].strip() for line in cpuinfo if line.startswith("model name")), model)
    gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} cores ({model}), {gigabytes:.0f} GB, Python {platform.python_version()}, load {load:.1f}"


def rows() -> list[tuple[str, str, str]]:
    found = []
    for kind, name in DATABASES.items():
        ours, bare, ratio = throughput.compare(kind)
        figure = f"{ours:,.0f}/s; the bare loop {bare:,.0f}/s; ratio {ratio:.2f}"
        found.append((f"deliveries per second, {name}", figure, "ratio >= 0.75"))
    bars = {"postgres": "p50 <= 8 ms, p99 <= 20 ms", "sqlite": "p50 <= 60 ms, p99 <= 150 ms"}
    for kind, name in DATABASES.items():
        taken = latency.measure(kind)
        p50, p99 = harness.percentile(taken, 0.5), harness.percentile(taken, 0.99)
        found.append((f"commit to receipt at 30 events/s, {name}", f"p50 {p50:.1f} ms, p99 {p99:.1f} ms", bars[kind]))
    for kind, name in DATABASES.items():
        found.append((f"idle memory, web + cluster of 2 workers, {name}", f"{memory.measure(kind):.0f} MB", "< 350 MB"))
    for kind, name in DATABASES.items():
        measured = orders.measure(kind)
        for what, (words, bar) in orders.FIGURES.items():
            rate, p95 = measured[what]
            found.append((f"{words}, {name}", f"{rate:,.0f}/s, p95 {p95:.0f} ms", bar))
    return found


def main() -> int:
    table = ["| figure | measured | bar |", "|---|---|---|"]
    head = machine()
    table += [f"| {what} | {figure} | {bar} |" for what, figure, bar in rows()]
    text = "\n".join(table)
    print(text)
    with open(harness.ROOT / "benchmarks" / "results.md", "w") as results:
        results.write(f"# Results\n\nBy `make bench` on {datetime.now(UTC):%Y-%m-%d}: {head}.\n\n{text}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
