from datetime import datetime

import pytest
from django.utils import timezone

from tests.caller import Caller


@pytest.fixture
def now() -> datetime:
    return timezone.now()


@pytest.fixture
def anybody() -> Caller:
    return Caller()


@pytest.fixture
def erp() -> Caller:
    return Caller("orders", "payments", "fulfilment", "customers")


@pytest.fixture
def trusted() -> Caller:
    """Whatever it is refused, it is not for want of a scope."""
    return Caller("orders", "payments", "fulfilment", "customers", "storefront")
