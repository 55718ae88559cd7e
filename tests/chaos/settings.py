"""The settings of the tests, with clocks that they can wait for."""

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.chaos.clocks.ShortClocks"]
