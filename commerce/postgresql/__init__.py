"""Django's backend for PostgreSQL, `ENGINE` of the database, with a health check that costs no statement."""
