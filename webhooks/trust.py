"""How many of a worker's threads a subscription may keep busy.

Each hangs for as long as its receiver does. So one that has not just answered is tried with a few, and all of those
together leave a part of the worker to the others. What a worker knows of the answers is its own and costs no statement.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

# Of one that is tried.
TRIAL = 2
# A quarter is for those that are well, and no one of them gets that too.
KEPT_FREE = 4
# Who has answered nothing for so long, while something of it is under way, may hang.
SLOW = timedelta(seconds=1)
# Who has answered since then gets all it asks for.
RECENT = timedelta(seconds=2)

# By the public id of a subscription, its last success here.
_answered_at: dict[str, datetime] = {}


def answered(public_id: str, *, at: datetime) -> None:
    _answered_at[public_id] = at


def share_out(wanting: Sequence[Any], *, free: int, threads: int, now: datetime) -> None:
    """Set the `share` of each: how many more of this worker's `threads` it may have, of which so many are free.

    What it has is `mine`, and `hangs` if some of that is older than SLOW.
    """
    well = {each.pk for each in wanting if _is_well(each, now)}
    most = threads - threads // KEPT_FREE
    # Who has nothing more to send is not among them: it counts as one that is not well.
    untried = most - (threads - free - sum(each.mine for each in wanting if each.pk in well))
    for each in wanting:
        each.share = (most if each.pk in well and _has_just_answered(each, now) else TRIAL) - each.mine
        if each.pk not in well:
            each.share = max(min(each.share, untried), 0)
            untried -= each.share


def _is_well(subscription: Any, now: datetime) -> bool:
    """It has answered, nothing has failed since, and nothing seems to hang."""
    if subscription.consecutive_failures or subscription.public_id not in _answered_at:
        return False
    return not subscription.hangs or _answered_at[subscription.public_id] > now - SLOW


def _has_just_answered(subscription: Any, now: datetime) -> bool:
    return _answered_at[subscription.public_id] > now - RECENT
