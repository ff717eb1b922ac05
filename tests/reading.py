"""The database of a running installation, read beside whoever writes it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import peewee


@contextmanager
def reading(url: str) -> Iterator[peewee.Database]:
    """A connection of the tests' own to the database that a DATABASE_URL names."""
    if url.startswith("sqlite:///"):
        path = url.removeprefix("sqlite:///")
        database: peewee.Database = peewee.SqliteDatabase(f"file:{path}?mode=ro", uri=True, timeout=10)
    else:
        database = peewee.PostgresqlDatabase(url, prefer_psycopg3=True)
    with database.connection_context():
        yield database


def rows(url: str, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    with reading(url) as database:
        return database.execute_sql(sql.replace("?", database.param), values).fetchall()
