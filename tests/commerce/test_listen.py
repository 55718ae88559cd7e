import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from commerce.management.commands import listen
from tests.migrated import migrated_sqlite
from webhooks.models import Subscription


@pytest.mark.django_db
class TestSubscribe:
    def test_asks_for_the_events_that_were_named(self) -> None:
        made = listen.subscribe(["order.*", " payment.success"], 9_999)

        assert made.event_types == ["order.*", "payment.success"]
        assert made.url == "http://127.0.0.1:9999/"

    def test_refuses_an_event_that_does_not_exist(self) -> None:
        with pytest.raises(CommandError, match=r"There is no event called order\.eaten"):
            call_command("listen", "--events", "order.eaten")

        assert not Subscription.objects.exists()


@pytest.mark.processes
@pytest.mark.once
class TestListen:
    def test_prints_what_comes_and_takes_its_subscription_away(self, tmp_path: Path) -> None:
        environment = {**os.environ, "DEBUG": "true", "DATABASE_URL": migrated_sqlite(tmp_path / "listen.sqlite3")}
        started = partial(
            subprocess.Popen[str], cwd=settings.BASE_DIR, env=environment, stdout=subprocess.PIPE, text=True
        )

        def manage(*arguments: str) -> str:
            with started([sys.executable, "manage.py", *arguments]) as process:
                return process.communicate(timeout=60)[0]

        with (
            started([sys.executable, "manage.py", "qcluster"]) as cluster,
            started([sys.executable, "manage.py", "listen", "--events", "product.*"]) as listener,
        ):
            assert listener.stdout is not None
            greeting = listener.stdout.readline()
            manage("seed")
            lines = [listener.stdout.readline() for _ in range(8)]
            for process in (listener, cluster):
                process.send_signal(signal.SIGINT)

        assert greeting.startswith("Listening for product.* on port ")
        assert all("  verified  product.created " in line and line.endswith("#1\n") for line in lines)
        left = manage(
            "shell",
            "--no-imports",
            "-c",
            "from webhooks.models import *; print(list(Subscription.objects.filter(channel='webhook')))",
        )
        assert left == "[]\n"
