"""What programs send to the API."""

from copy import deepcopy
from typing import Any

ADDRESS = {
    "name": "Ada Lee",
    "line1": "Torstrasse 1",
    "city": "Berlin",
    "postal_code": "10119",
    "country": "DE",
}
CART: dict[str, Any] = {
    "customer": {"email": "ada@example.com", "name": "Ada Lee"},
    "lines": [{"sku": "MUG", "quantity": 1}],
    "shipping_address": ADDRESS,
    "payment": {"method": "card", "gateway": "stripe"},
}
# With most of what else there can be in one.
FULL_CART: dict[str, Any] = {
    "customer": {"email": "Ada@example.com", "name": "Ada Lee", "phone": "+4930123456", "locale": "de"},
    "lines": [{"sku": "MUG", "quantity": 2}],
    "shipping_address": ADDRESS | {"line2": None},
    "payment": {"method": "card", "gateway": "stripe", "reference": "pi_1"},
}
# All that FULL_CART costs.
CAPTURE = {
    "result": "success",
    "kind": "capture",
    "amount": "49.90",
    "currency": "EUR",
    "method": "card",
    "gateway": "stripe",
    "gateway_reference": "ch_1",
}


def put(body: dict[str, Any], field: str, value: object) -> dict[str, Any]:
    """A copy with the value at a field such as `lines.0.sku`."""
    changed = deepcopy(body)
    *parents, name = field.split(".")
    place: Any = changed
    for parent in parents:
        place = place[int(parent) if parent.isdigit() else parent]
    place[name] = value
    return changed
