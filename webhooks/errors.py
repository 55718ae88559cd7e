"""The one base of every broken business rule."""

from typing import Any


class DomainError(Exception):
    """A rule was broken. The message tells a merchant what to do; `code` is for programs."""

    code = "domain_error"

    def __init__(self, message: str, *, errors: list[dict[str, Any]] | None = None) -> None:
        super().__init__(message)
        self.errors = errors or []
