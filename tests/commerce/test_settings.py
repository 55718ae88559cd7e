"""A wrong or missing environment variable stops the program with a sentence that names it."""

import base64
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.conf import settings

pytestmark = [pytest.mark.processes, pytest.mark.once]

GOOD_KEY = base64.urlsafe_b64encode(b"k" * 32).decode()
PRODUCTION = {
    "SECRET_KEY": "a-text-of-more-than-thirty-two-characters",
    "ENCRYPTION_KEYS": GOOD_KEY,
    "DATABASE_URL": "sqlite:///:memory:",
}
DEVELOPMENT_KEY = "ZGV2ZWxvcG1lbnQtb25seS1uZXZlci1pbi1wcm9kISE="
WRONG = [
    ("SECRET_KEY", None),
    ("SECRET_KEY", ""),
    ("SECRET_KEY", "short"),
    ("SECRET_KEY", "development-only-never-in-production"),
    ("ENCRYPTION_KEYS", None),
    ("ENCRYPTION_KEYS", "junk"),
    ("ENCRYPTION_KEYS", DEVELOPMENT_KEY),
    ("ENCRYPTION_KEYS", f"{GOOD_KEY},junk"),
    ("DEBUG", "maybe"),
    ("DATABASE_URL", "mysql://localhost/shop"),
    ("DATABASE_URL", "junk"),
    ("DATABASE_URL", "postgres://localhost:port/shop"),
    ("DATABASE_URL", "sqlite:////dev/null/nowhere/shop.sqlite3"),
    ("BASE_URL", "shop.example.com"),
    ("BASE_URL", "ftp://shop.example.com"),
    ("EMAIL_URL", "pigeon://loft"),
    ("EMAIL_URL", "junk"),
    ("WEBHOOK_ALLOWED_NETWORKS", "10.0.0.0/8,everything"),
    ("WEBHOOK_ALLOWED_NETWORKS", "10.0.0.1/8"),
    ("ALLOWED_HOSTS", "https://shop.example"),
    ("THROTTLE_PUBLIC", "many"),
    ("THROTTLE_TOKEN", "0/min"),
    ("THROTTLE_TOKEN", "10/fortnight"),
    ("WORKERS", "0"),
    ("WORKERS", "two"),
    ("WORKERS", "1000"),
    ("LOG_FORMAT", "xml"),
]


def check(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=settings.BASE_DIR,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="module")
def outcomes() -> dict[tuple[str, str | None], subprocess.CompletedProcess[str]]:
    """Every wrong environment, tried two at a time."""

    def attempt(wrong: tuple[str, str | None]) -> subprocess.CompletedProcess[str]:
        name, value = wrong
        environment = {key: kept for key, kept in PRODUCTION.items() if key != name}
        return check(environment | ({} if value is None else {name: value}))

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(WRONG, pool.map(attempt, WRONG), strict=True))


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: f"{wrong[0]}={wrong[1]}")
def test_stops_with_one_sentence_that_names_it(
    outcomes: dict[tuple[str, str | None], subprocess.CompletedProcess[str]], wrong: tuple[str, str | None]
) -> None:
    outcome = outcomes[wrong]

    assert outcome.returncode == 1
    assert outcome.stderr.startswith(f"The environment variable {wrong[0]} must ")
    assert len(outcome.stderr.splitlines()) == 1


def test_starts_with_the_least_that_production_needs() -> None:
    outcome = check(PRODUCTION)

    assert (outcome.returncode, outcome.stderr) == (0, "")
