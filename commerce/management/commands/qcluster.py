"""`manage.py qcluster`: django-q2's, which would end at once where it finds no database."""

from typing import Any

from django.db import connection
from django_q.management.commands.qcluster import Command as Cluster

from commerce import database


class Command(Cluster):  # type: ignore[misc]
    def handle(self, *args: Any, **options: Any) -> None:
        database.await_answer(tell=self.stderr.write)
        # The cluster's processes are forks of this one, and would share it.
        connection.close()
        super().handle(*args, **options)
