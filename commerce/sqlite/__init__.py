"""Django's backend for SQLite, `ENGINE` of the database, whose writers take turns."""
