"""Where things stand in the body of a sender that does not speak our words."""

import re
from collections.abc import Mapping
from typing import Any

# What a scan is made of; a source that tells these is understood. `id` tells one message from another.
FIELDS = ("tracking_number", "status", "occurred_at", "message", "location", "estimated_delivery_at", "id")
REQUIRED = ("tracking_number", "status", "occurred_at")
_PLACE = re.compile(r"-?[0-9]{1,6}")


def find(body: Any, path: str) -> Any:
    """What stands at `data.events.-1.code`: names of objects, places in lists from 0, -1 the last. None: nothing."""
    for step in path.split("."):
        if isinstance(body, dict):
            body = body.get(step)
        elif isinstance(body, list) and _PLACE.fullmatch(step):
            place = int(step)
            body = body[place] if -len(body) <= place < len(body) else None
        else:
            return None
    return body


def translate(body: dict[str, Any], *, paths: Mapping[str, str], words: Mapping[str, str]) -> dict[str, Any]:
    """A sender's body as a scan in our words; without paths, as it is."""
    if not paths:
        return body
    scan = {field: find(body, path) for field, path in paths.items() if field != "id"}
    status = scan.get("status")
    if isinstance(status, str):
        scan["status"] = words.get(status, status)
    return {"type": "tracking.updated", "data": scan}
