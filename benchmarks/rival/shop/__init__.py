"""The smallest shop django-webhook can be set up in. Runs in an environment of its own; see benchmarks/rival."""

from shop.celery import app

__all__ = ["app"]
