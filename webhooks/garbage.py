"""Python's collector of cycles, in a process that serves for long."""

import gc


def collect_seldom(**_: object) -> None:
    """What start-up has made stays, and what a request or a delivery makes goes by itself.

    Looking through both for cycles as often as Python does by default is a seventh of the time that placing an order
    takes. And in a fork each look would write to the memory that it shares with its parent, which is then its own:
    half of what a worker needs.
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
