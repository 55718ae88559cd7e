"""Orders of two lines placed over HTTP, and read again by id and by tracking token; at 8 clients, events written."""

import json
import multiprocessing
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks import harness
from commerce.processes import free_port
from tests.bodies import CART

CLIENTS = 8
WARM_UP, PLACED, READS = 240, 800, 4_000
PRODUCTS = 200
WEB_PROCESSES = 2
ALL_ANSWER_S = 2.0
PLACING, READING = ">= 100/s, p95 < 150 ms", ">= 800/s"
FIGURES = {
    "spread": (f"orders placed by {CLIENTS} clients on {PRODUCTS} products", PLACING),
    "same": (f"orders placed by {CLIENTS} clients on the same two", PLACING),
    "by_id": ("orders read by id", READING),
    "by_token": ("orders read by tracking token", READING),
    "by_id_again": ("orders read by id that were read before", READING),
    "by_token_again": ("orders read by tracking token that were read before", READING),
}
Reply = tuple[float, float]


@contextmanager
def web(environment: dict[str, str]) -> Iterator[int]:
    """The program's own web servers; their port."""
    port = free_port()
    options = ("--web-only", "--port", str(port), "--web-processes", str(WEB_PROCESSES))
    up = subprocess.Popen(
        [sys.executable, "manage.py", "up", *options], cwd=harness.ROOT, env=environment, stdout=subprocess.DEVNULL
    )
    try:
        _wait_for(up, port)
        yield port
    finally:
        up.terminate()
        up.wait(20)


def _wait_for(up: "subprocess.Popen[bytes]", port: int) -> None:
    """Until the first of them answers; the others do within moments."""
    ends = time.monotonic() + 60
    while not _answers(port):
        if time.monotonic() > ends or up.poll() is not None:
            raise TimeoutError("The web servers do not answer.")
        time.sleep(0.1)
    time.sleep(ALL_ANSWER_S)


def _answers(port: int) -> bool:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=10).close()
    except OSError:
        return False
    return True


def cart(n: int, *, one_sku: bool) -> bytes:
    skus = ["SKU-0", "SKU-1"] if one_sku else [f"SKU-{n % PRODUCTS}", f"SKU-{(n * 7 + 1) % PRODUCTS}"]
    shopper = {"email": f"shopper{n}@example.com", "name": "Ada Lee"}
    body = CART | {"customer": shopper, "lines": [{"sku": sku, "quantity": 1} for sku in skus]}
    return json.dumps(body).encode()


class Client:
    """One connection that is kept, as a shop's own back end keeps it; with as little of its own work as can be."""

    def __init__(self, port: int, token: str) -> None:
        self.connection = socket.create_connection(("127.0.0.1", port))
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.head = (
            f"HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"
            "Content-Type: application/json\r\nContent-Length: "
        )

    def ask(self, method: str, path: str, body: bytes = b"") -> bytes:
        """The body of the answer."""
        self.connection.sendall(f"{method} {path} {self.head}{len(body)}\r\n\r\n".encode() + body)
        received = b""
        while (end := received.find(b"\r\n\r\n")) < 0:
            received += self._receive()
        size = int(received[:end].lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        while len(received) < end + 4 + size:
            received += self._receive()
        if not received.startswith((b"HTTP/1.1 200", b"HTTP/1.1 201")):
            raise RuntimeError(f"{method} {path}: {received[:500]!r}")
        return received[end + 4 :]

    def _receive(self) -> bytes:
        received = self.connection.recv(65_536)
        if not received:
            raise ConnectionError("The web server has closed the connection.")
        return received


def _place(client: Client, share: range, one_sku: bool) -> list[tuple[float, float, str, str]]:
    done = []
    for n in share:
        body = cart(n, one_sku=one_sku)
        began = time.perf_counter()
        answer = client.ask("POST", "/api/v1/orders/", body)
        ended = time.perf_counter()
        order = json.loads(answer)
        done.append((began, ended, order["order_id"], order["tracking_token"]))
    return done


def _read(client: Client, paths: list[str]) -> list[Reply]:
    done = []
    for path in paths:
        began = time.perf_counter()
        client.ask("GET", path)
        done.append((began, time.perf_counter()))
    return done


def _job(work: Callable[..., list[Any]], port: int, token: str, arguments: tuple[Any, ...]) -> list[Any]:
    return work(Client(port, token), *arguments)


def _together(work: Callable[..., list[Any]], port: int, token: str, shares: list[tuple[Any, ...]]) -> list[Any]:
    """Each share by a client of its own, all at once."""
    with multiprocessing.get_context("spawn").Pool(len(shares)) as pool:
        found = pool.starmap(_job, [(work, port, token, share) for share in shares])
    return [each for share in found for each in share]


def pace(replies: list[Any]) -> tuple[float, float]:
    """Per second while all clients were at it, and the 95th percentile in milliseconds."""
    began, ended = min(reply[0] for reply in replies), max(reply[1] for reply in replies)
    taken = [(reply[1] - reply[0]) * 1000 for reply in replies]
    return len(replies) / (ended - began), harness.percentile(taken, 0.95)


def measure(kind: str) -> dict[str, tuple[float, float]]:
    """(per second, p95 in ms) of each of FIGURES, once connections are open and statements prepared."""
    with harness.FastReceiver() as receiver, harness.database(kind) as environment:
        token = harness.in_django(environment, "shop", PRODUCTS, receiver.url)
        with web(environment) as port:
            _together(_place, port, token, _shares(2 * PLACED, WARM_UP, one_sku=False))
            spread = _together(_place, port, token, _shares(0, PLACED, one_sku=False))
            same = _together(_place, port, token, _shares(PLACED, PLACED, one_sku=True))
            by_id = _paths([f"/api/v1/orders/{order_id}/" for _, _, order_id, _ in spread])
            by_token = _paths([f"/api/v1/track/{tracking}/" for _, _, _, tracking in spread])
            reads = {"by_id": by_id, "by_token": by_token, "by_id_again": by_id, "by_token_again": by_token}
            read = {name: pace(_together(_read, port, token, paths)) for name, paths in reads.items()}
            return {"spread": pace(spread), "same": pace(same), **read}


def _shares(first: int, count: int, *, one_sku: bool) -> list[tuple[Any, ...]]:
    each = count // CLIENTS
    return [(range(first + k * each, first + (k + 1) * each), one_sku) for k in range(CLIENTS)]


def _paths(paths: list[str]) -> list[tuple[Any, ...]]:
    each = READS // CLIENTS
    return [([paths[(k * each + n) % len(paths)] for n in range(each)],) for k in range(CLIENTS)]


if __name__ == "__main__":
    for name in sys.argv[1:] or ("postgres", "sqlite"):
        for what, (rate, p95) in measure(name).items():
            print(f"{name} {what}: {rate:,.0f}/s, p95 {p95:.0f} ms")
