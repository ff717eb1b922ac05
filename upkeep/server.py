"""A database on a server (PostgreSQL): somebody else looks after its files, backups and upgrades of its own; what is
left to do is to reach it and to bring its schema up."""

from collections.abc import Iterator
from contextlib import contextmanager

import peewee

from config import Config
from db import SchemaError, bind, database, migrate
from upkeep import running

FIRST = "CREATE EXTENSION pg_trgm;"


@contextmanager
def opened(config: Config) -> Iterator[None]:
    """As upkeep.opening.opened, of which this is a part. An upgrade needs no pause: whoever writes waits for it."""
    with running.shared(config):
        prepare(config)
        yield


def prepare(config: Config) -> None:
    """Reach it, and bring its schema up. Raises SchemaError."""
    bind(config.database_url)
    _check()
    try:
        migrate()
    except peewee.DatabaseError as error:
        raise SchemaError(
            f"The tables could not be made or changed: {_short(error)}. Nothing was changed. The user of "
            f"DATABASE_URL has to own the database, or an administrator first says there: {FIRST}"
        ) from error


def _check() -> None:
    """That it can be reached and holds every text."""
    try:
        with database.connection_context():
            [[encoding]] = database.execute_sql("SHOW server_encoding").fetchall()
    except peewee.OperationalError as error:
        raise SchemaError(f"The database of DATABASE_URL cannot be reached: {_short(error)}.") from error
    if encoding != "UTF8":
        raise SchemaError(f"The database of DATABASE_URL has the encoding {encoding}; make one with UTF8.")


def _short(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")
