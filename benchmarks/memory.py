"""Idle memory of web and cluster together, as the machine sees it: shared pages are counted once."""

import subprocess
import sys
import time
import urllib.request

import psutil

from benchmarks import harness

PORT = 8765


def measure(kind: str) -> float:
    """Megabytes (proportional set size) of `manage.py up` with two workers, ten seconds after it is ready."""
    with harness.database(kind) as environment:
        command = [sys.executable, "manage.py", "up", "--port", str(PORT)]
        running = subprocess.Popen(
            command, cwd=harness.ROOT, env={**environment, "WORKERS": "2"}, stdout=subprocess.DEVNULL
        )
        try:
            _wait_until_ready()
            time.sleep(10)
            process = psutil.Process(running.pid)
            family = [process, *process.children(recursive=True)]
            return float(sum(member.memory_full_info().pss for member in family)) / 1e6
        finally:
            running.terminate()
            running.wait(15)


def _wait_until_ready() -> None:
    ends = time.monotonic() + 30
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{PORT}/readyz", timeout=5)
        except OSError:
            if time.monotonic() > ends:
                raise
            time.sleep(0.3)
        else:
            return
