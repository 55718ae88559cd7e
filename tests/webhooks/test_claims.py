"""The rate of a subscription, and that a lease is kept. What else a claim promises is told in test_delivery.py."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction

from tests.webhooks.factories import happen_often, make_subscription
from webhooks import claims
from webhooks.claims import Claimed
from webhooks.models import Delivery, Subscription

pytestmark = pytest.mark.django_db

SECOND = timedelta(seconds=1)


@pytest.fixture
def soon(now: datetime) -> datetime:
    """Everything the tests make is due by then."""
    return now + 10 * SECOND


def claim(now: datetime) -> list[Claimed]:
    return claims.claim(100, owner="w1", now=now)


def arrive() -> None:
    """So that the rate is the only limit."""
    Delivery.objects.filter(state="sending").update(state="delivered")


class TestRate:
    def test_lets_no_more_than_a_seconds_worth_begin_at_once(self, soon: datetime) -> None:
        make_subscription(max_per_second=5, max_in_flight=100)
        happen_often(20, subjects=20)

        assert len(claim(soon)) == 5
        arrive()
        assert claim(soon) == []

    def test_is_kept_over_time_whatever_the_claims_come_at(self, soon: datetime) -> None:
        make_subscription(max_per_second=10, max_in_flight=100)
        happen_often(60, subjects=60)

        begun = []
        for step in range(31):
            begun.append(len(claim(soon + step * SECOND / 10)))
            arrive()

        assert begun == [10] + [1] * 30

    def test_saves_nothing_up_while_there_is_nothing_to_send(self, soon: datetime) -> None:
        make_subscription(max_per_second=5, max_in_flight=100)
        happen_often(2, subjects=2)
        claim(soon)
        happen_often(20, subjects=20)
        arrive()

        assert len(claim(soon + 3600 * SECOND)) == 5

    def test_leaves_the_limit_in_flight_as_it_is(self, soon: datetime) -> None:
        make_subscription(max_per_second=50, max_in_flight=3)
        happen_often(20, subjects=20)

        assert len(claim(soon)) == 3
        assert claim(soon) == []

    def test_costs_one_statement_and_only_who_has_one(self, soon: datetime, django_assert_num_queries: Any) -> None:
        make_subscription(name="free", event_types=["webhook.*"])
        make_subscription(name="limited", event_types=["webhook.*"], max_per_second=5)
        happen_often(3, subjects=3)

        # The lock where there is more than one writer, the subscriptions, the taking, the rate; and the savepoint.
        with django_assert_num_queries(6 if connection.vendor == "postgresql" else 5):
            claim(soon)

        assert list(Subscription.objects.order_by("id").values_list("paced_until", flat=True)) == [
            None,
            soon + 3 * SECOND / 5,
        ]

    @pytest.mark.parametrize("rate", [0, 1001])
    def test_of_none_or_too_many_is_refused(self, rate: int) -> None:
        subscription = make_subscription()
        subscription.max_per_second = rate

        with pytest.raises(ValidationError):
            subscription.full_clean()
        with pytest.raises(IntegrityError), transaction.atomic():
            subscription.save()


def test_however_many_subscriptions_there_are_each_gets_its_turn(
    soon: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "SUBSCRIPTIONS_PER_CLAIM", 1)
    for name in ("one", "two", "three"):
        make_subscription(name=name, event_types=["webhook.*"], max_in_flight=1)
    happen_often(60, subjects=60)

    served = set()
    for _ in range(60):
        served |= {one.subscription.name for one in claim(soon)}
        arrive()

    assert served == {"one", "two", "three"}


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no server that could lose a commit")
class TestLease:
    def test_is_on_the_disk_before_anything_is_sent(self, soon: datetime) -> None:
        """Else a crash of the database forgets it, and the log never learns of the request."""
        make_subscription()
        happen_often(10, subjects=10)
        written = _position("pg_current_wal_insert_lsn")

        assert len(claim(soon)) == 8

        # The server flushes by itself only five times a second.
        assert _position("pg_current_wal_flush_lsn") > written


def _position(function: str) -> int:
    """In the write-ahead log, in bytes."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {function}() - '0/0'")
        return int(cursor.fetchone()[0])
