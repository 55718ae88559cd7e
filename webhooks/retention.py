"""What is forgotten, and when: in small batches, off the hot path. Never a delivery that is still to be sent."""

from datetime import timedelta

KEEP_DELIVERED = timedelta(days=30)
KEEP_FAILED = timedelta(days=90)
KEEP_EVENTS = max(KEEP_DELIVERED, KEEP_FAILED)
