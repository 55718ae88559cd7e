"""The README is the front door: what it says to type, works."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from commerce.processes import free_port, is_listening

pytestmark = [pytest.mark.processes, pytest.mark.once]

README = (settings.BASE_DIR / "README.md").read_text()
CI = (settings.BASE_DIR / ".ci" / "run").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)


def block_with(language: str, words: str) -> str:
    [found] = [block for block in blocks(language) if words in block]
    return found


def shell(script: str, environment: dict[str, str]) -> str:
    script = script.replace(".venv/bin/python", sys.executable)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=settings.BASE_DIR,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, dict[str, str]]]:
    """What `make up` starts, on a free port and an empty database of its own: the port and the environment."""
    port, folder = free_port(), tmp_path_factory.mktemp("readme")
    environment = {**os.environ, "DEBUG": "true", "DATABASE_URL": f"sqlite:///{folder}/readme.sqlite3"}
    command = [sys.executable, "manage.py", "up", "--demo", "--port", str(port)]
    running = subprocess.Popen(command, cwd=settings.BASE_DIR, env=environment, stdout=subprocess.DEVNULL)
    try:
        wait_for_port(port)
        yield port, environment
    finally:
        running.terminate()
        running.wait(15)


def wait_for_port(port: int) -> None:
    ends = time.monotonic() + 30
    while not is_listening(port):
        assert time.monotonic() < ends, f"nothing listens on {port}"
        time.sleep(0.1)


def answers(output: str) -> list[Any]:
    """The JSON documents that the commands printed one after the other."""
    decoder, found = json.JSONDecoder(), []
    while output := output.strip():
        document, end = decoder.raw_decode(output)
        found.append(document)
        output = output[end:]
    return found


def post(address: str, body: dict[str, Any], token: str, environment: dict[str, str]) -> Any:
    headers = f"-H 'Authorization: Bearer {token}' -H 'Content-Type: application/json'"
    return answers(shell(f"curl -s {address} {headers} -d '{json.dumps(body)}'", environment))[0]


class TestReadme:
    def test_every_make_target_it_names_is_run_by_ci(self) -> None:
        named = set(re.findall(r"^make (\w+)$", "\n".join(blocks("sh")), flags=re.MULTILINE))

        # `make up` does not end by itself: its command is run below, by `shop`.
        assert named - {"up"} == {"demo", "check", "test"}
        assert all(f"make {target}" in CI for target in named - {"up"})

    def test_the_api_takes_the_order_it_shows(self, shop: tuple[int, dict[str, str]]) -> None:
        port, environment = shop
        script = block_with("sh", "Idempotency-Key").replace("localhost:8000", f"localhost:{port}")

        products, order = answers(shell(script, environment))

        assert "MUG-BLUE" in {product["sku"] for product in products["results"]}
        assert (order["status"], order["total_amount"], order["currency"]) == ("pending", "14.90", "EUR")

    def test_the_receiver_it_shows_verifies_what_the_engine_sends(
        self, shop: tuple[int, dict[str, str]], tmp_path: Path
    ) -> None:
        port, environment = shop
        listens_on = free_port()
        token = shell(".venv/bin/python manage.py token t --scopes webhooks,catalogue | tail -1", environment).strip()

        def api(path: str, body: dict[str, Any]) -> Any:
            return post(f"localhost:{port}/api/v1/{path}", body, token, environment)

        made = api(
            "webhooks/subscriptions/",
            {"name": "Mine", "url": f"http://127.0.0.1:{listens_on}/", "event_types": ["product.*"], "headers": {}},
        )
        script = tmp_path / "receiver.py"
        script.write_text(block_with("python", "Webhook("))
        receiver = subprocess.Popen(
            [sys.executable, str(script)],
            env={**os.environ, "WEBHOOK_SECRET": made["secret"], "PORT": str(listens_on)},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            wait_for_port(listens_on)
            product = api("products/", {"sku": "NEW", "name": "New", "price_amount": "1.00", "currency": "EUR"})
            assert receiver.stdout is not None
            printed = receiver.stdout.readline()
        finally:
            receiver.terminate()
            receiver.communicate()

        assert printed == f"product.created {product['product_id']} 1\n"

    def test_the_settings_for_real_pass_the_deployment_check(self) -> None:
        bare = {name: value for name, value in os.environ.items() if name not in {"DEBUG", "DATABASE_URL"}}

        shell(block_with("sh", "check --deploy"), bare)
