"""Addresses of the admin."""

from django.db.models import Model


def page_of(row: Model, verb: str = "change") -> str:
    return f"/admin/webhooks/{row._meta.model_name}/{row.pk}/{verb}/"
