from collections.abc import Iterator

import pytest
from django.db import transaction
from pytest_django import DjangoDbBlocker

from tests.journeys.shop import Shop


@pytest.fixture(scope="module")
def shop(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Shop]:
    """One for all the tests of a module: each sees it as it was opened, and what a test does to it is rolled back."""
    with django_db_blocker.unblock(), transaction.atomic():
        yield Shop()
        transaction.set_rollback(True)
