"""What unpaid orders have reserved for too long is taken back by whoever needs it, should the timer be late or dead.

Orders are locked before levels, and both in the order of their keys, as everywhere: nobody waits in a circle.
"""

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime

from django.db import transaction
from django.db.models import OuterRef, QuerySet, Subquery, Sum
from django.db.models.expressions import Combinable
from django.db.models.functions import Coalesce

from inventory import stock
from orders import checkout
from orders.models import Allocation, Order
from orders.transitions import InvalidTransition, lock


class UnpaidOrders:
    """An `inventory.lapses.Keeper`."""

    def units(self, now: datetime) -> Combinable:
        lapsed = _lapsed(now).filter(level=OuterRef("pk")).order_by()
        return Coalesce(Subquery(lapsed.values("level").annotate(total=Sum("quantity")).values("total")), 0)

    @transaction.atomic
    def reclaim(self, wanted: Mapping[int, int], *, now: datetime) -> None:
        orders = [lock(order_id) for order_id in _longest_lapsed(wanted, now)]
        if not orders:
            # Nor is anything locked: at sell-out most buyers come to here, and the others go on.
            return
        levels = Allocation.objects.filter(line__order__in=orders).values_list("level", flat=True)
        stock.lock({*wanted, *levels})
        for order in orders:
            # It may have been paid or given up while its lock was waited for.
            with suppress(InvalidTransition):
                checkout.lapse(order, now=now)


def _lapsed(now: datetime) -> QuerySet[Allocation]:
    """Those whose order `checkout.lapse` would give up."""
    return Allocation.objects.filter(
        expires_at__lte=now,
        quantity__gt=0,
        line__order__state=Order.State.PENDING,
        line__order__hold_expires_at__lte=now,
    )


def _longest_lapsed(wanted: Mapping[int, int], now: datetime) -> list[str]:
    """The orders to give up, in the order of their keys: of each level those that are past their time the longest."""
    chosen: dict[int, str] = {}
    for level_id, missing in wanted.items():
        if not missing:
            continue
        # Each of them holds a unit at least.
        rows = _lapsed(now).filter(level=level_id).order_by("expires_at", "pk")[:missing]
        still = missing
        for held, key, order_id in rows.values_list("quantity", "line__order", "line__order__public_id"):
            if still > 0:
                chosen[key] = order_id
                still -= held
    return [chosen[key] for key in sorted(chosen)]
