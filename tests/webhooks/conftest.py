from collections.abc import Iterator

import pytest

from webhooks import transport


@pytest.fixture
def own_connections() -> Iterator[None]:
    """A kept connection of another test would hide what connecting does."""
    yield
    adapter = transport._running.__dict__.pop("adapter", None)
    if adapter is not None:
        adapter.close()
