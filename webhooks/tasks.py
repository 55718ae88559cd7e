"""What the queue calls."""

from webhooks import drain as sender


def drain() -> None:
    sender.drain()
