"""Indexes cost every row that is written: none is there that nobody uses."""

import pytest
from django.apps import apps
from django.db import connection

from tests.marks import only_on
from webhooks.fields import PublicIdField

pytestmark = [
    pytest.mark.django_db,
    only_on("postgresql", because="Only PostgreSQL tells what its indexes are made of."),
]

# Of one table, with the same condition: not unique, and all of its columns are the first ones of another.
_PREFIXES = """
    SELECT a.relname || ' within ' || b.relname
    FROM pg_index i JOIN pg_index j ON j.indrelid = i.indrelid AND j.indexrelid <> i.indexrelid
    JOIN pg_class a ON a.oid = i.indexrelid JOIN pg_class b ON b.oid = j.indexrelid
    JOIN pg_class t ON t.oid = i.indrelid
    WHERE t.relname LIKE 'webhooks\\_%%' AND NOT i.indisunique AND i.indexprs IS NULL AND i.indclass[0] = j.indclass[0]
        AND pg_get_expr(i.indpred, i.indrelid) IS NOT DISTINCT FROM pg_get_expr(j.indpred, j.indrelid)
        AND array_to_string(j.indkey, ' ') || ' ' LIKE array_to_string(i.indkey, ' ') || ' %%'
"""
_FOR_PREFIXES = """
    SELECT indexdef FROM pg_indexes WHERE tablename = %s AND indexdef LIKE '%%(public\\_id varchar\\_pattern\\_ops)%%'
"""


def found(sql: str, *values: str) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return [row[0] for row in cursor.fetchall()]


def test_nobody_looks_for_the_beginning_of_a_public_id() -> None:
    columns = [(model, field) for model in apps.get_models() for field in model._meta.local_fields]
    tables = [model._meta.db_table for model, field in columns if isinstance(field, PublicIdField)]

    assert len(tables) >= 14
    assert [index for table in tables for index in found(_FOR_PREFIXES, table)] == []


def test_no_index_of_the_engine_is_the_beginning_of_another() -> None:
    assert found(_PREFIXES) == []
