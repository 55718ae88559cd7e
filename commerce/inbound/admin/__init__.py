"""Connecting a sender without code, and looking at what it has told."""

from commerce.inbound.admin import messages, sources

__all__ = ["messages", "sources"]
