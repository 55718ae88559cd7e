import json
import os
import subprocess
import sys

import pytest
from django.conf import settings

TIMERS = """
import django, json
django.setup()
from webhooks import timers
print(json.dumps({timer.path: timer.seconds for timer in timers.registered}))
"""


@pytest.mark.processes
def test_a_cluster_does_all_of_this_by_itself() -> None:
    """In a process that has imported no more than a cluster does; in seconds, how often."""
    ran = subprocess.run(
        [sys.executable, "-c", TIMERS],
        cwd=settings.BASE_DIR,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"},
        capture_output=True,
        check=True,
    )

    assert json.loads(ran.stdout) == {
        "commerce.tasks.beat": 5,
        "commerce.tasks.audit": 300,
        "commerce.tasks.look_for_alarms": 60,
        "commerce.tasks.forget_old_alarms": 3600,
        "commerce.tasks.forget_old_answers": 3600,
        "commerce.tasks.forget_old_messages": 300,
        "commerce.tasks.take_in": 2,
        "orders.checkout.expire_due": 5,
        "webhooks.admin.setup.purge_drafts": 3600,
        "webhooks.notices.tick": 5,
        "webhooks.parking.tick": 5,
        "webhooks.replay.advance": 2,
        "webhooks.retention.prune": 300,
        "webhooks.tallies.tick": 10,
        "webhooks.tallies.fold": 3600,
    }
