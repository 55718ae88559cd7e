"""How tests ask what was told; the fixtures `told` and `data_of` answer."""

from collections.abc import Callable
from typing import Any

# The types of the events about a subject, in their sequence.
Told = Callable[[str], list[str]]
# The `data` of the latest event of a type.
DataOf = Callable[[str], dict[str, Any]]
