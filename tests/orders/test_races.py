"""Who comes second is refused, in words that name the order's state, and nothing of it is left behind.

`python -m benchmarks.races` runs a thousand of each.
"""

from datetime import timedelta

import pytest
from django.utils import timezone

from commerce.audit import audit
from orders.models import Payment, Refund
from tests.orders import races
from tests.orders.races import RACES
from webhooks.models import Event

ROUNDS = 30


@pytest.mark.django_db(transaction=True)
class TestRaces:
    @pytest.mark.parametrize("name", RACES)
    def test_end_in_one_of_the_ways_they_may(self, name: str) -> None:
        races.stock_up()

        ended = races.run(RACES[name], ROUNDS)

        assert ended.total() == ROUNDS
        assert audit(now=timezone.now() + timedelta(hours=1)).findings == []

    def test_a_callback_told_twice_is_kept_and_told_once(self) -> None:
        races.stock_up()

        races.run(RACES["a callback twice"], ROUNDS)

        assert Payment.objects.count() == ROUNDS
        for event_type in ("payment.success", "order.confirmed"):
            assert Event.objects.filter(type=event_type).count() == ROUNDS

    def test_a_late_payment_is_refunded_once(self) -> None:
        races.stock_up()

        ended = races.run(RACES["expire against pay"], ROUNDS)

        assert Refund.objects.count() == ended[races.DONE, races.DONE]
