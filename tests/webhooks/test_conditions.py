"""Conditions on `data`: what they let through, what is refused, and that everything which asks agrees."""

import json
import operator
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st

from commerce import audit
from inventory.models import Product, StockMovement
from orders.models import Order
from tests.factories import make_product, place_order
from tests.webhooks.factories import make_subscription
from webhooks import catalogue, conditions, replay, subscriptions
from webhooks.conditions import Condition, InvalidCondition, Operator
from webhooks.models import Delivery, Event, Replay, Subscription
from webhooks.outbox import emit
from webhooks.subscriptions import InvalidSubscription

ORDER = catalogue.get("order.created")
STOCK = catalogue.get("inventory.updated")
SAID: dict[str, Any] = {
    "channel": "web",
    "total_amount": "49.90",
    "item_count": 3,
    "on_hold": False,
    "warehouse_code": None,
    "placed_at": "2026-11-23T18:04:05.123000Z",
    "promised_delivery_from": "2026-11-25",
    "shipping_address": {"country": "DE"},
}


def where(field: str, chosen: str, value: Any) -> Condition:
    return {"field": field, "operator": chosen, "value": value}


def holds(field: str, chosen: str, value: Any) -> bool:
    return conditions.hold([where(field, chosen, value)], ORDER, SAID)


class TestHold:
    @pytest.mark.parametrize(
        ("field", "chosen", "met", "unmet"),
        [
            ("channel", "eq", "web", "pos"),
            ("channel", "ne", "pos", "web"),
            ("channel", "in", ["pos", "web"], ["pos", "Web"]),
            ("channel", "not_in", ["pos"], ["pos", "web"]),
            ("item_count", "eq", 3, 3.5),
            ("item_count", "lt", 4, 3),
            ("item_count", "lte", 3, 2),
            ("item_count", "gt", 2.5, 3),
            ("item_count", "gte", 3, 4),
            ("item_count", "in", [1, 3], [1, 2]),
            ("on_hold", "eq", False, True),
            ("on_hold", "ne", True, False),
            ("total_amount", "eq", "49.9", "49.91"),
            ("total_amount", "lt", "100", "5"),
            ("total_amount", "gte", "49.900", "49.901"),
            ("total_amount", "in", ["1", "49.9"], ["4.99"]),
            ("placed_at", "gt", "2026-11-23T18:04:05Z", "2026-11-23T18:04:06Z"),
            ("placed_at", "eq", "2026-11-23T19:04:05.123+01:00", "2026-11-23T18:04:05Z"),
            ("promised_delivery_from", "lte", "2026-11-25", "2026-11-24"),
            ("warehouse_code", "eq", None, "BER"),
            ("warehouse_code", "ne", "BER", None),
            ("shipping_address.country", "in", ["DE", "AT"], ["FR"]),
        ],
    )
    def test_compares_each_field_as_what_it_holds(self, field: str, chosen: str, met: Any, unmet: Any) -> None:
        for value in (met, unmet):
            conditions.check([where(field, chosen, value)], ["order.created"])

        assert holds(field, chosen, met)
        assert not holds(field, chosen, unmet)

    @pytest.mark.parametrize("chosen", ["lt", "lte", "gt", "gte"])
    def test_nothing_is_neither_more_nor_less(self, chosen: str) -> None:
        for wanted in ("0", "100"):
            asked = [where("cod_amount", chosen, wanted)]
            assert not conditions.hold(asked, catalogue.get("order.delivered"), {"cod_amount": None})

    def test_asks_all_of_them(self) -> None:
        asked = [where("channel", "eq", "web"), where("item_count", "gt", 2)]

        assert conditions.hold(asked, ORDER, SAID)
        assert conditions.unmet([*asked, where("item_count", "lt", 3), where("channel", "eq", "x")], ORDER, SAID) == (
            where("item_count", "lt", 3)
        )

    def test_speaks_only_of_events_that_have_the_field(self) -> None:
        asked = [where("available", "lt", 5)]

        assert conditions.hold(asked, ORDER, SAID)
        assert not conditions.hold(asked, STOCK, {"available": 5})

    def test_reads_a_body_that_was_written_before_there_was_such_a_field_as_nothing(self) -> None:
        old = {name: value for name, value in SAID.items() if name not in {"channel", "shipping_address"}}

        assert not conditions.hold([where("channel", "eq", "web")], ORDER, old)
        assert conditions.hold([where("shipping_address.country", "ne", "DE")], ORDER, old)


MODEL: dict[str, Callable[[int, int], bool]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "lte": operator.le,
    "gt": operator.gt,
    "gte": operator.ge,
}
CENTS = st.integers(0, 10_000)


def money(cents: int) -> st.SearchStrategy[str]:
    """However many digits that is written with."""
    plain = f"{cents // 100}.{cents % 100:02}"
    shorter = plain.rstrip("0").rstrip(".")
    return st.sampled_from([plain, f"{plain}0", shorter])


class TestModel:
    @given(st.data(), CENTS, CENTS, st.sampled_from(sorted(MODEL)))
    def test_amounts_compare_as_their_cents_do(self, data: st.DataObject, said: int, wanted: int, chosen: str) -> None:
        asked = [where("total_amount", chosen, data.draw(money(wanted)))]

        told = conditions.hold(asked, ORDER, {"total_amount": data.draw(money(said))})

        assert told is MODEL[chosen](said, wanted)

    @given(st.integers(0, 5), st.lists(st.tuples(st.sampled_from(sorted(MODEL)), st.integers(0, 5)), max_size=4))
    def test_several_are_one_and_the_other(self, said: int, asked: list[tuple[str, int]]) -> None:
        wished = [where("available", chosen, wanted) for chosen, wanted in asked]

        assert conditions.hold(wished, STOCK, {"available": said}) is all(
            MODEL[chosen](said, wanted) for chosen, wanted in asked
        )

    @given(st.text(min_size=1, max_size=3), st.lists(st.text(min_size=1, max_size=3), min_size=1, max_size=4))
    def test_a_list_and_its_opposite_share_out_all_there_is(self, said: str, listed: list[str]) -> None:
        inside, outside = (
            conditions.hold([where("channel", chosen, listed)], ORDER, {"channel": said}) for chosen in ("in", "not_in")
        )

        assert inside is (said in listed)
        assert outside is not inside


class TestCheck:
    @pytest.mark.parametrize(
        ("field", "chosen", "value", "says"),
        [
            ("chanel", "eq", "web", "none of the chosen events has a field 'chanel'"),
            ("available", "lt", 5, "none of the chosen events has a field 'available'"),
            ("lines", "eq", "x", "none of the chosen events has a field 'lines'"),
            ("shipping_address", "eq", "x", "none of the chosen events has a field 'shipping_address'"),
            ("channel", "lt", "web", "'lt' does not fit channel, which holds a text of .*: use one of eq, ne, in, not"),
            ("channel", "like", "web", "'like' does not fit channel"),
            ("on_hold", "in", [True], "'in' does not fit on_hold, which holds true or false: use one of eq, ne"),
            ("channel", "eq", 5, "the value for channel must be a text"),
            ("channel", "eq", "", "must be a text of 1 to 200 characters"),
            ("channel", "eq", "x" * 201, "must be a text of 1 to 200 characters"),
            ("channel", "eq", "a\x00b", "must be a text of 1 to 200 characters"),
            ("channel", "in", "web", "'in' needs a list of 1 to 100 values"),
            ("channel", "in", [], "'in' needs a list of 1 to 100 values"),
            ("channel", "in", ["x"] * 101, "'in' needs a list of 1 to 100 values"),
            ("channel", "in", ["x", None], "each value for channel must be a text"),
            ("channel", "eq", ["x"], "the value for channel must be a text"),
            ("on_hold", "eq", "true", "must be true or false"),
            ("item_count", "eq", "3", "must be a number"),
            ("item_count", "eq", True, "must be a number"),
            ("item_count", "lt", None, "must be a number"),
            ("item_count", "lt", 10**16, "must be a number"),
            ("item_count", "lt", float("nan"), "must be a number"),
            ("total_amount", "gt", 100, 'must be an amount of money as a decimal text such as "49.90"'),
            ("total_amount", "gt", "1e3", "must be an amount of money"),
            ("total_amount", "gt", "٣", "must be an amount of money"),
            ("placed_at", "gt", "2026-11-23T18:04:05", "must be a moment with its zone"),
            ("placed_at", "gt", "yesterday", "must be a moment with its zone"),
            ("promised_delivery_from", "gt", "2026-02-30", "must be a date"),
            ("promised_delivery_from", "gt", "2026-W09-1", "must be a date"),
        ],
    )
    def test_refuses_in_words_what_could_never_be_checked(self, field: str, chosen: str, value: Any, says: str) -> None:
        fine = where("channel", "eq", "web")

        with pytest.raises(InvalidCondition, match=f"^Condition 2: .*{says}"):
            conditions.check([fine, where(field, chosen, value)], ["order.created"])

    def test_refuses_more_than_ten(self) -> None:
        with pytest.raises(InvalidCondition, match="At most 10 conditions"):
            conditions.check([where("channel", "eq", "web")] * 11, ["*"])

    def test_takes_a_field_that_only_one_of_the_chosen_events_has(self) -> None:
        conditions.check([where("available", "lt", 5)], ["order.*", "inventory.updated"])

    def test_of_a_subscription_names_the_field(self) -> None:
        with pytest.raises(InvalidSubscription) as refused:
            make_subscription(conditions=[where("chanel", "eq", "web")])

        assert refused.value.field == "conditions"


def test_a_name_means_the_same_in_every_event() -> None:
    """So a condition can be read without knowing which event it will meet."""
    kinds: dict[str, set[str]] = {}
    for event_type in catalogue.all_types():
        for field, kind in conditions.fields_of([event_type.name]).items():
            kinds.setdefault(field, set()).add(kind.words)

    assert {field: found for field, found in kinds.items() if len(found) > 1} == {}


def test_every_amount_is_compared_as_one() -> None:
    fields = conditions.fields_of(["*"])

    assert {kind for name, kind in fields.items() if name.endswith("amount")} == {conditions.AMOUNT}


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        (where("channel", "eq", "pos"), 'channel is "pos"'),
        (where("warehouse_code", "in", ["BER", "KÖL"]), 'warehouse_code is one of "BER", "KÖL"'),
        (where("available", "lt", 5), "available is less than 5"),
        (where("warehouse_code", "ne", None), "warehouse_code is not null"),
    ],
)
def test_are_told_in_words(condition: Condition, words: str) -> None:
    assert conditions.in_words(condition) == words


def test_every_operator_has_a_comparison() -> None:
    assert set(conditions._COMPARE) == set(Operator)


def by_channel(channel: str, name: str = "POS", **wishes: Any) -> Subscription:
    asked = [where("channel", "eq", channel)]
    options: dict[str, Any] = {"event_types": ["order.created"], "conditions": asked} | wishes
    return make_subscription(name=name, **options)


@pytest.mark.django_db
class TestWhenAnEventIsWritten:
    def test_it_is_owed_to_those_whose_conditions_hold(self) -> None:
        for channel in ("web", "pos"):
            by_channel(channel, name=channel)

        place_order()

        assert Delivery.objects.get().subscription.name == "web"

    def test_it_takes_four_statements_still(self) -> None:
        make_subscription(event_types=["inventory.updated"], conditions=[where("available", "lt", 5)])
        make_product(on_hand=1)
        movement = StockMovement.objects.latest("id")
        with transaction.atomic(), CaptureQueriesContext(connection) as statements:
            event = emit(STOCK, movement)

        written = [s["sql"] for s in statements if "SAVEPOINT" not in s["sql"] and "inventory_" not in s["sql"]]
        assert len(written) <= 4
        assert event.deliveries.count() == 1

    def test_what_is_frozen_and_what_is_checked_agree(self) -> None:
        place_order()

        for event in Event.objects.all():
            data = json.loads(event.body)["data"]
            for field, kind in conditions.fields_of([event.type]).items():
                said = conditions.find(data, field)
                if said is not None and kind is not conditions.TEXT:
                    assert kind.fits(said), (event.type, field, said)

    def test_of_several_changes_in_one_transaction_the_last_is_what_counts(self) -> None:
        make_subscription(name="cheap", event_types=["product.updated"], conditions=[where("price_amount", "lt", "10")])
        make_subscription(name="dear", event_types=["product.updated"], conditions=[where("price_amount", "gte", "10")])
        product = make_product()
        with transaction.atomic():
            for price in (500, 5_000):
                product.price_minor = price
                product.save()

        assert [row.subscription.name for row in Delivery.objects.filter(event_type="product.updated")] == ["dear"]


@pytest.mark.django_db
class TestWhoeverAsksLater:
    @pytest.fixture
    def pos(self, now: datetime) -> Subscription:
        """Connected for a day, of one till order among those of the web."""
        pos = by_channel("pos")
        place_order(now=now)
        till, *_ = [place_order(("MUG", 1), now=now) for _ in range(3)]
        rewrite_as("pos", till)
        Subscription.objects.update(wants_since=now - timedelta(days=1))
        return pos

    def test_the_audit_finds_only_what_meets_the_conditions(self, pos: Subscription, now: datetime) -> None:
        event = Event.objects.get(body__contains='"channel":"pos"', type="order.created")

        assert audit.audit(now=now).findings == [
            f"{event.public_id} (order.created, {event.label}) is not owed to POS, which wants it."
        ]

    def test_replay_counts_and_sends_only_what_meets_them(
        self, pos: Subscription, now: datetime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(replay, "LOOK_AHEAD", 2)
        since = now - timedelta(hours=1)
        assert replay.count_missing(pos, since=since) == 1

        started = replay.replay_missing(pos, since=since, by="ann", now=now)
        for n in range(4):
            replay.advance_one(started.pk, now=now + n * replay.PACE)

        assert '"channel":"pos"' in Delivery.objects.get().event.body
        ended = Replay.objects.get()
        assert (ended.total, ended.done, ended.finished_at is None) == (1, 1, False)
        assert replay.count_missing(pos, since=since) == 0
        assert audit.audit(now=now).findings == []

    def test_a_count_reads_only_so_many_events(
        self, pos: Subscription, now: datetime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Those of its types that were written then, whether they meet the conditions or not."""
        monkeypatch.setattr(replay, "COUNTED_TO", 3)

        planned = replay.plan("missing", pos, since=now - timedelta(hours=1))
        assert (planned.total, planned.is_exact) == (1, False)

        started = replay.replay_missing(pos, since=now - timedelta(hours=1), by="ann", now=now)
        replay.advance_one(started.pk, now=now)
        assert str(Replay.objects.get()) == "1 of 1"

    def test_a_replay_sends_no_more_than_a_batch_at_once(
        self, pos: Subscription, now: datetime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(replay, "BATCH", 2)
        pos.conditions = [where("channel", "eq", "web")]
        pos.save(update_fields=["conditions"])
        started = replay.replay_missing(pos, since=now - timedelta(hours=1), by="ann", now=now)

        sent = []
        for n in range(3):
            replay.advance_one(started.pk, now=now + n * replay.PACE)
            sent.append(Delivery.objects.count())
            Delivery.objects.update(state="delivered", next_attempt_at=None)

        assert sent == [2, 3, 3]
        assert Replay.objects.get().finished_at is not None

    def test_the_audit_cannot_tell_what_one_wanted_before_its_conditions_changed(
        self, pos: Subscription, now: datetime
    ) -> None:
        pos.conditions = [where("channel", "eq", "web")]
        pos.save(update_fields=["conditions"])

        assert audit.audit(now=now).findings == []


def rewrite_as(channel: str, order: Order) -> None:
    event = Event.objects.get(type="order.created", subject=order.public_id)
    event.body = event.body.replace('"channel":"web"', f'"channel":"{channel}"')
    event.save(update_fields=["body"])


@pytest.mark.django_db
def test_a_test_event_goes_out_whatever_the_conditions(now: datetime) -> None:
    subscription = by_channel("pos")

    delivery = subscriptions.send_test(subscription, by="ann", now=now)

    assert delivery.attempt_count == 1


@pytest.mark.django_db
def test_a_product_is_no_order() -> None:
    """A condition on the channel does not hide what has none."""
    by_channel("pos", event_types=["*"])

    make_product()

    assert Delivery.objects.filter(event_type="product.created").count() == Product.objects.count() == 1
