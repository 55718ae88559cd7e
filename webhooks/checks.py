"""What would break delivery silently is refused at the start."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

REQUIRED = {"ack_failures": True, "max_attempts": 1, "save_limit": -1}


@register("webhooks")
def check_queue(**_: Any) -> list[CheckMessage]:
    """django-q2's defaults send a task again while it still runs, and keep failed ones on the queue for ever."""
    queue: dict[str, Any] = settings.Q_CLUSTER
    faults: list[CheckMessage] = [
        Error(f'Q_CLUSTER["{name}"] must be {value!r}.', id="webhooks.E001")
        for name, value in REQUIRED.items()
        if queue.get(name) != value
    ]
    if not queue.get("timeout") or queue["timeout"] >= queue.get("retry", 0):
        faults.append(Error('Q_CLUSTER["timeout"] must be set, and less than "retry".', id="webhooks.E002"))
    return faults
