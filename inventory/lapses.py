"""Units that are still reserved although their time is over: nobody paid, and nothing has released them yet.

They are for sale, whether or not a timer runs. Who reserves for a time registers here; `inventory` knows no orders.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from django.db.models import IntegerField, Value
from django.db.models.expressions import Combinable


class Keeper(Protocol):
    """Who knows until when units are reserved."""

    def units(self, now: datetime) -> Combinable:
        """The lapsed units of the stock level `OuterRef("pk")`, for a query of levels."""

    def reclaim(self, wanted: Mapping[int, int], *, now: datetime) -> None:
        """Release so many lapsed units of each level (by its key), or what there is of them.

        The caller writes all of these levels next, also those of which it wants none released: a keeper that locks
        any level locks these with it, in the order of their keys.
        """


_KEEPERS: list[Keeper] = []


def register(keeper: Keeper) -> None:
    _KEEPERS.append(keeper)


def units(now: datetime) -> Combinable:
    total: Combinable = Value(0, output_field=IntegerField())
    for keeper in _KEEPERS:
        total = total + keeper.units(now)
    return total


def reclaim(wanted: Mapping[int, int], *, now: datetime) -> None:
    for keeper in _KEEPERS:
        keeper.reclaim(wanted, now=now)
