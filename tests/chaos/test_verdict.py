"""The proof after a storm finds what it is there to find."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from inventory.models import StockLevel
from orders.models import Order
from tests import factories
from tests.chaos.receivers import Receipt
from tests.chaos.shoppers import Clerk, Shopper
from tests.chaos.storm import Storm
from tests.chaos.verdict import (
    Copies,
    Owed,
    Try,
    broken_promises,
    count_copies,
    differences,
    read_log,
    shop_differences,
    untold,
)
from tests.receiver import Answer, Receiver
from tests.webhooks.factories import crank, happen, make_due, make_subscription
from webhooks import replay
from webhooks.models import Delivery

BEGAN = datetime(2026, 11, 23, 10, tzinfo=UTC)


def at(second: float) -> datetime:
    return BEGAN + timedelta(seconds=second)


def owed(sequence: int, *reasons: str, state: str = "delivered") -> Owed:
    """An event of one order whose attempts, a second apart, ended with these reasons."""
    tries = {number: Try(reason, at(number)) for number, reason in enumerate(reasons or [""], start=1)}
    return Owed(f"evt_{sequence}", "ord_1", sequence, state, tries)


def came(sequence: int, attempt: int = 1, *, second: float = 5) -> Receipt:
    return Receipt(f"evt_{sequence}", attempt, "ord_1", sequence, at(second))


def found(receipts: list[Receipt], log: list[Owed], *, strict: bool = False) -> list[str]:
    return list(differences(receipts, log, strict=strict))


def test_finds_nothing_where_every_request_is_an_attempt_and_the_last_one_arrived() -> None:
    log = [owed(1, "worker_lost", "http_5xx", ""), owed(2)]

    assert found([came(1), came(1, 2), came(1, 3), came(2)], log) == []


@pytest.mark.parametrize(
    ("receipts", "log", "finding"),
    [
        ([], [owed(1)], "evt_1 never came; it is delivered."),
        ([came(1), came(2)], [owed(1)], "evt_2 came and is not owed."),
        ([came(1)], [owed(1, "http_5xx", state="parked")], "evt_1 came and is parked, after ['http_5xx']."),
        ([came(1)], [owed(1, "", state="pending")], "evt_1 came and is pending, after ['']."),
        ([came(1), came(1, 2)], [owed(1, "", "")], "evt_1 had arrived, and attempt 2 is no resend."),
        ([came(1), came(1)], [owed(1)], "evt_1 came 2 times as attempt 1."),
        ([came(1), came(1, 2)], [owed(1)], "evt_1 came as attempt 2, which the log does not know."),
        ([came(2), came(1)], [owed(1), owed(2)], "evt_2 (ord_1, 2) came before 1."),
    ],
)
def test_finds_what_was_lost_doubled_or_overtaken(receipts: list[Receipt], log: list[Owed], finding: str) -> None:
    assert found(receipts, log) == [finding]
    # The table above the findings must not stand in their way.
    assert isinstance(count_copies(receipts, log), Copies)


class TestAnEventThatFailed:
    LOG = [owed(1, "connect", ""), owed(2)]

    def test_may_be_overtaken(self) -> None:
        assert found([came(2), came(1, 2)], self.LOG) == []

    def test_may_not_be_overtaken_under_strict_ordering(self) -> None:
        assert found([came(2), came(1, 2)], self.LOG, strict=True) == ["evt_2 (ord_1, 2) came before 1."]

    def test_may_not_be_overtaken_before_it_had_failed(self) -> None:
        early = replace(came(2), at=at(0.5))

        assert found([early, came(1, 2)], self.LOG) == ["evt_2 (ord_1, 2) came before 1."]


def resent(sequence: int, *reasons: str) -> Owed:
    """An event that arrived at the first attempt, and whose later ones are marked as redeliveries."""
    one = owed(sequence, "", *reasons)
    marked = {n: replace(tried, is_redelivery=n > 1 and bool(reasons)) for n, tried in one.tries.items()}
    return replace(one, tries=marked, delivery_id=f"dlv_{sequence}", is_resent=True)


def came_again(sequence: int, attempt: int, *, second: float = 5) -> Receipt:
    return replace(came(sequence, attempt, second=second), is_redelivery=True)


class TestAnEventThatWasResent:
    def test_comes_again_until_that_has_arrived_too(self) -> None:
        log = [resent(1, "http_5xx", "")]

        assert found([came(1), came_again(1, 2), came_again(1, 3)], log) == []
        assert count_copies([came(1), came_again(1, 2), came_again(1, 3)], log) == Copies(1, resent=1, lost=0, failed=1)

    def test_may_have_been_held_by_a_worker_that_was_lost(self) -> None:
        """Nothing is left of the headers it sent."""
        log = [resent(1, "worker_lost", "")]
        log[0].tries[2] = Try("worker_lost", at(2))

        assert found([came(1), came_again(1, 2), came_again(1, 3)], log) == []

    def test_is_marked_in_the_log(self) -> None:
        unmarked = replace(owed(1, "", ""), is_resent=True)

        assert found([came(1), came(1, 2)], [unmarked]) == ["evt_1 had arrived, and attempt 2 is no resend."]
        assert found([came_again(1, 1)], [owed(1)]) == ["evt_1 came as a redelivery, and nobody resent it."]

    def test_must_come_again_after_that_was_promised(self) -> None:
        log, promised = [resent(1, "")], {"dlv_1": at(3)}

        def broken(*receipts: Receipt) -> list[str]:
            return list(broken_promises(receipts, log, asked=promised, promised=promised))

        assert broken(came(1), came_again(1, 2, second=4)) == []
        assert broken(came(1), came(1, 2, second=4)) == ["evt_1 was to come again, and did not."]
        assert broken(came(1), came_again(1, 2, second=2)) == ["evt_1 was to come again, and did not."]

    def test_is_one_that_somebody_asked_for(self) -> None:
        found = broken_promises([], [resent(1, "")], asked={}, promised={})

        assert list(found) == ["evt_1 is called resent, and nobody asked for it."]

    @pytest.mark.django_db(transaction=True)
    def test_is_read_so_from_the_products_own_log(self, receiver: Receiver, now: datetime) -> None:
        subscription = make_subscription(receiver.url)
        happen()
        crank()
        receiver.answers = [Answer(500)]
        replay.resend(Delivery.objects.get(), by="ann", now=now)
        for _ in range(2):
            crank()
            make_due()

        [one] = read_log(subscription)

        assert (one.is_resent, one.reasons, one.state) == (True, ["", "http_5xx", ""], "delivered")
        assert [tried.is_redelivery for _, tried in sorted(one.tries.items())] == [False, True, True]


@pytest.mark.django_db
class TestTheShop:
    @pytest.fixture
    def shopper(self) -> Shopper:
        """Has walked one order of two mugs, of which there were ten, to the door."""
        order = factories.deliver_order()
        shopper = Shopper("shopper", ports=[], token="", seed="1")
        shopper.order_ids, shopper.sold = [order.public_id], Counter({"MUG": 2})
        return shopper

    def found(self, shopper: Shopper) -> list[str]:
        return list(shop_differences([shopper], stocked=10))

    def test_is_as_the_shoppers_left_it(self, shopper: Shopper) -> None:
        assert self.found(shopper) == []

    def test_has_an_order_that_nobody_was_answered(self, shopper: Shopper) -> None:
        order_id = shopper.order_ids.pop()

        assert self.found(shopper) == [f"{order_id} is there and nobody was answered it."]

    def test_lacks_an_order_that_was_answered(self, shopper: Shopper) -> None:
        shopper.order_ids.append("ord_lost")

        assert self.found(shopper) == ["ord_lost was answered and is not there."]

    def test_has_an_order_that_stopped_half_way(self, shopper: Shopper) -> None:
        Order.objects.update(status="packed")

        assert self.found(shopper) == [f"{shopper.order_ids[0]} is packed."]

    @pytest.mark.parametrize("wrong", [{"on_hand": 7}, {"on_hand": 8, "reserved": 1}])
    def test_has_units_where_they_must_not_be(self, shopper: Shopper, wrong: dict[str, int]) -> None:
        StockLevel.objects.update(**wrong)

        [finding] = self.found(shopper)
        assert finding.startswith(f"MUG: {wrong['on_hand']} on hand and ")

    def test_has_an_event_that_a_subscriber_was_not_owed(self) -> None:
        subscription = make_subscription(event_types=["webhook.*"])
        event = happen()
        assert list(untold(subscription, read_log(subscription))) == []
        Delivery.objects.all().delete()

        found = untold(subscription, read_log(subscription))

        assert list(found) == [f"{event.public_id} (webhook.test) is owed to ERP, which has no delivery of it."]


def test_a_storm_says_what_it_has_not_done_yet() -> None:
    clerk = Clerk("clerk", ports=[], token="", seed="1")
    storm = Storm("1", [], [], clerk, [], [], server=object())
    assert storm.missing() == [
        "workers killed",
        "clusters killed",
        "web servers killed",
        "databases crashed",
        "deliveries resent",
    ]

    storm.faults.update(storm.missing()[:4])
    clerk.promised["dlv_1"] = BEGAN

    assert storm.missing() == []
