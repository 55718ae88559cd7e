"""Child processes kept running: started, restarted with a growing pause when they die, stopped together."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from threading import Event
from typing import Any

from django.conf import settings

from commerce.sharing import Port

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0
# A child that lived this long was well: its next death starts with the first pause again.
WELL_AFTER_S = 60.0
STOP_WITHIN_S = 8.0


class Child:
    """One process in a session of its own, so that a Ctrl-C in the terminal reaches only its parent."""

    def __init__(self, name: str, module: Sequence[str], *, env: Mapping[str, str] | None = None, **popen: Any) -> None:
        self.name = name
        self._command = [sys.executable, "-m", *module]
        self._env = {"DJANGO_SETTINGS_MODULE": "commerce.settings", **os.environ, **(env or {})}
        self._popen = popen
        self._pause = FIRST_PAUSE_S
        self.start()

    def start(self) -> None:
        self._started = time.monotonic()
        self._restart_at: float | None = None
        self.process = subprocess.Popen(  # noqa: S603
            self._command,
            cwd=settings.BASE_DIR,
            env=self._env,
            start_new_session=True,
            **self._popen,
        )

    def revive(self) -> str | None:
        """Start it again if it has died and its pause is over. The sentence to tell the operator, if there is one."""
        if self.process.poll() is None:
            return None
        now = time.monotonic()
        if self._restart_at is None:
            if now - self._started > WELL_AFTER_S:
                self._pause = FIRST_PAUSE_S
            self._restart_at = now + self._pause
            self._pause = min(self._pause * 2, LONGEST_PAUSE_S)
            return f"{self.name} ended with code {self.process.returncode}; starting it again."
        if now >= self._restart_at:
            self._kill()
            self.start()
        return None

    def terminate(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()

    def finish(self, *, deadline: float) -> None:
        """Wait until `deadline` (monotonic), then end it and whatever it has started itself."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(max(deadline - time.monotonic(), 0))
        self._kill()
        self.process.wait()

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)


def stop(children: Sequence[Child]) -> None:
    for child in children:
        child.terminate()
    deadline = time.monotonic() + STOP_WITHIN_S
    for child in children:
        child.finish(deadline=deadline)


def stop_event() -> Event:
    """Set by SIGTERM, by Ctrl-C, or when the terminal is closed."""
    event = Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: event.set())
    return event


def free_port() -> int:
    """A port on 127.0.0.1 that is free now, as is the next one, where `up --demo` puts its receiver.

    Taken from below the range that outgoing connections are given, any of which could take it meanwhile.
    """
    while True:
        port = random.randrange(20_000, 32_000)  # noqa: S311
        if _is_free(port) and _is_free(port + 1):
            return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def is_listening(port: int, host: str = "127.0.0.1") -> bool:
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


class SharingChild(Child):
    """A web server that is handed its connections."""

    def __init__(self, port: Port) -> None:
        self.port = port
        super().__init__("web", ["commerce.web"])

    def start(self) -> None:
        """Each time by a channel of its own, which ends with the process."""
        with self.port.share() as channel:
            self._popen = {"pass_fds": [channel.fileno()]}
            self._command = [sys.executable, "-m", "commerce.web", "--channel", str(channel.fileno())]
            super().start()


def web(*, host: str, port: int, count: int = 1) -> Sequence[Child]:
    """`count` web servers, who share the port if there are several. Raises OSError where it is taken."""
    if count == 1:
        return [Child("web", ["commerce.web", "--host", host, "--port", str(port)])]
    shared = Port(host, port)
    return [SharingChild(shared) for _ in range(count)]


def cluster() -> Child:
    return Child("queue cluster", ["django", "qcluster"])


def receiver(name: str, *, port: int, secret: str, inbox: bool = False, **popen: int) -> Child:
    options = ["--name", name, "--port", str(port), *(["--inbox"] if inbox else [])]
    return Child(name, ["commerce.receivers", *options], env={"RECEIVER_SECRET": secret}, **popen)
