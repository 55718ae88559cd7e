"""Whatever a sender puts into its message, we have a reason in words, and never a failure of our own."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from commerce.models import InboundMessage
from tests.factories import pack_order, ship_order
from tests.inbound.conftest import make_source, take_in
from tests.inbound.senders import BODIES, load

NAMES = sorted(path.stem for path in BODIES.glob("*.json"))
JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=-(10**40), max_value=10**40),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.sampled_from(
        ["", "\0", "x" * 600, "9999-12-31T23:59:59-14:00", "0001-01-01", "1e999", "ord_1", "1001", "delivered"]
    ),
    st.just([]),
    st.just({}),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.sampled_from(["id", "object", "data", "order_id"]), st.none(), max_size=2),
)


def places(body: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value in a body."""
    steps = body.items() if isinstance(body, dict) else enumerate(body) if isinstance(body, list) else ()
    return [place for step, value in steps for place in ((*path, step), *places(value, (*path, step)))]


PLACES = [(name, place) for name in NAMES for place in places(load(name))]


def put(body: Any, place: tuple[Any, ...], value: object) -> None:
    *way, last = place
    for step in way:
        body = body[step]
    body[last] = value


class TestFuzz(TestCase):
    """Hypothesis needs a transaction per example, which its own TestCase gives."""

    @settings(deadline=None, max_examples=12)
    @given(places=st.lists(st.tuples(st.sampled_from(PLACES), JUNK), min_size=20, max_size=20))
    def test_is_never_our_failure(self, places: list[tuple[tuple[str, tuple[Any, ...]], object]]) -> None:
        order = pack_order().order
        shipment = ship_order(("MUG", 1))
        type(shipment).objects.filter(pk=shipment.pk).update(tracking_number="00340434161094042557")
        sources = {scheme: make_source(scheme) for scheme in ("standard", "aftership", "easypost", "stripe", "hmac")}
        for n, ((name, place), value) in enumerate(places):
            body = load(name)
            put(body, place, value)
            source = sources[name.partition("_")[0]]
            sent = json.dumps(body).replace('"1001"', f'"{order}"').replace("ord_placeholder", order.public_id)
            InboundMessage.objects.create(source=source, sender_id=str(n), body=sent.encode())

        take_in()

        for message in InboundMessage.objects.all():
            assert message.attempt_count == 1
            assert message.effect or message.reason
            assert "our side" not in message.reason, (message.reason, bytes(message.body))
