"""How the database is emptied after a test that committed what it wrote."""

from functools import cache

from django.db import connection, transaction

from webhooks.cursors import execute, here

# As the migrations left them.
KEPT = {"auth_permission", "django_content_type"}


def empty_tables(_: object) -> None:
    """Delete what there is; deferred, foreign keys do not mind the order.

    Django truncates every table instead, for which PostgreSQL makes new files, and makes all permissions anew.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        for (table,) in execute(here(), _which_have_rows(), []).fetchall():
            cursor.execute(f'DELETE FROM "{table}"')  # noqa: S608 (the names are our own)


@cache
def _which_have_rows() -> str:
    tables = set(connection.introspection.django_table_names(only_existing=True, include_views=False)) - KEPT
    return " UNION ALL ".join(
        f"SELECT '{table}' WHERE EXISTS (SELECT 1 FROM \"{table}\")"  # noqa: S608
        for table in sorted(tables)
    )
