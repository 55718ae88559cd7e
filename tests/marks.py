"""Which of the two databases a test is for."""

import pytest
from django.db import connection


def only_on(vendor: str, *, because: str) -> pytest.MarkDecorator:
    """`vendor` is "postgresql" or "sqlite"; elsewhere the test is left out, and says why."""
    return pytest.mark.skipif(connection.vendor != vendor, reason=because)
