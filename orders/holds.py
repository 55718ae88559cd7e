"""Holds: while one is open, an order is neither confirmed nor packed."""

from collections.abc import Collection
from datetime import datetime

from orders import promises
from orders.acceptance import accept
from orders.models import Hold, HoldRule, Order, OrderTransition
from orders.transitions import InvalidTransition, Kind, lock, record, require
from webhooks.sources import together


@together()
def place(order_id: str, *, kind: str, reason: str, actor: str, now: datetime) -> OrderTransition:
    """Stop an order, for a reason that whoever releases it can read. Raises InvalidTransition."""
    return hold(lock(order_id), kind=kind, reason=reason, actor=actor, now=now)


def hold(
    order: Order, *, kind: str, reason: str, rule: HoldRule | None = None, actor: str, now: datetime
) -> OrderTransition:
    """`place`, for a caller that has the order's lock."""
    require(order, Kind.HELD)
    already = open_kinds(order)
    if kind in already:
        raise InvalidTransition(f"Order {order} is {order.status}: it has an open hold of this kind ({kind}) already.")
    held = Hold.objects.create(
        order=order, kind=Hold.Kind(kind), reason=reason, rule=rule, placed_by=actor, placed_at=now
    )
    order.on_hold = True
    details = {"hold_id": held.public_id, "kind": kind, "kinds": [kind], "open_kinds": sorted({*already, kind})}
    return record(order, Kind.HELD, actor=actor, now=now, reason=reason, details=details)


@together()
def release(order_id: str, *, kinds: Collection[str] | None = None, actor: str, now: datetime) -> OrderTransition:
    """End an order's holds, or those of `kinds`, and confirm it when nothing else keeps it from that.

    Raises InvalidTransition when none of them is open.
    """
    order = lock(order_id)
    require(order, Kind.RELEASED)
    still = open_kinds(order)
    ended = [kind for kind in still if kinds is None or kind in kinds]
    if not ended:
        which = f"{' or '.join(sorted(kinds))} " if kinds else ""
        raise InvalidTransition(f"Order {order} is {order.status}: it has no open {which}hold.")
    order.holds.open().filter(kind__in=ended).update(released_by=actor, released_at=now)
    left = sorted(set(still) - set(ended))
    order.on_hold = bool(left)
    details = {"kinds": ended, "open_kinds": left}
    fact = record(order, Kind.RELEASED, actor=actor, now=now, details=details)
    if not order.on_hold:
        promises.renew(order, actor=actor, now=now)
    if order.can_be_confirmed:
        accept(order, actor=actor, now=now)
    return fact


def open_kinds(order: Order) -> list[str]:
    return list(order.holds.open().order_by("kind").values_list("kind", flat=True))
