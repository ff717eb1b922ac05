"""The database: one time field, one way to ask it, one way to migrate it. What only one kind of database can sits
in a file of its own: db_sqlite.py."""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import peewee
from playhouse.migrations import Runner

import db_sqlite
from database_url import is_on_server

if TYPE_CHECKING:
    from db_postgresql import Postgres

    Bound = db_sqlite.Sqlite | Postgres

T = TypeVar("T")

log = logging.getLogger(__name__)

MIGRATIONS = Path(__file__).parent / "migrations"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

database = peewee.DatabaseProxy()


class SchemaError(Exception):
    """The database is not one that this release can use."""


class UtcField(peewee.BigIntegerField):
    """An instant: whole milliseconds since 1970 UTC in the database, an aware datetime in Python.

    Integers sort and compare the same on every database; text with zones does not.
    """

    def db_value(self, value: datetime | None) -> int | None:
        return None if value is None else to_ms(value)

    def python_value(self, value: int | None) -> datetime | None:
        return None if value is None else from_ms(value)


class JsonField(peewee.TextField):
    """JSON kept as the text we were given, so that it is returned as it came (no database rewrites it)."""

    def db_value(self, value: Any) -> str | None:
        return None if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"))

    def python_value(self, value: str | None) -> Any:
        return None if value is None else json.loads(value)


class Sql(NamedTuple):
    """A piece of SQL with the values of its `?`."""

    text: str
    values: list[Any]


def to_ms(moment: datetime) -> int:
    """Milliseconds since 1970, exactly: float arithmetic would be off by one for some instants."""
    return (moment - EPOCH) // timedelta(milliseconds=1)


def from_ms(value: int) -> datetime:
    return EPOCH + timedelta(milliseconds=value)


def utcnow() -> datetime:
    """Now, as the database can hold it. For where a request or a tick begins; below, `now` is an argument."""
    return from_ms(to_ms(datetime.now(UTC)))


def bind(url: str, any_version: bool = False) -> "Bound":
    """Point the models at the database that a DATABASE_URL names."""
    bound = _server_at(url) if is_on_server(url) else db_sqlite.at(url, any_version)
    database.initialize(bound)
    return bound


def _server_at(url: str) -> "Postgres":
    from db_postgresql import at  # its driver takes a while to import, for nothing beside a file

    return at(url)


def after_commit(act: Callable[[], object]) -> None:
    """Do this once what is being written is committed. Should it fail, that is for the log: the commit stands, and
    peewee would take it for one that failed. In the context of now: another thread may be the one that commits."""
    database.after_commit(partial(copy_context().run, _carefully, act))


def _carefully(act: Callable[[], object]) -> None:
    try:
        act()
    except Exception:
        log.exception("what follows a commit failed")


@contextmanager
def part() -> Iterator[None]:
    """A part of a transaction that may fail by itself; with it goes what it wanted done after the commit, which
    peewee keeps."""
    waiting = database._state.commit_callbacks
    before = len(waiting)
    try:
        with database.atomic():
            yield
    except BaseException:
        del waiting[before:]
        raise


def together(act: Callable[[], T]) -> T:
    """Do what writes in a `part`, in one transaction with what other threads want written at the same moment: one wait
    for the disk, and not one for each. Each fails by itself; if the transaction fails, all of them do."""
    return database.together(act)


class Schema(NamedTuple):
    """The names of migrations: what the file has, and what this release would add."""

    applied: list[str]
    pending: list[str]


def schema(bound: "Bound") -> Schema:
    """How far a database is migrated. A newer schema than this release knows is refused."""
    with bound.connection_context():
        rows = Runner(bound, str(MIGRATIONS)).status()
    unknown = [row.name for row in rows if row.path is None]
    if unknown:
        raise SchemaError(
            f"The database was migrated by a newer release ({', '.join(unknown)}). "
            "Run that release, or restore the backup that was taken before the upgrade."
        )
    return Schema([row.name for row in rows if row.applied], [row.name for row in rows if not row.applied])


def migrate(bound: "Bound | None" = None) -> list[str]:
    """Apply what is pending, all of it or nothing; returns the names."""
    bound = bound or database.obj
    if not (pending := schema(bound).pending):
        return []
    with bound.connection_context(), bound.changing_schema():
        Runner(bound, str(MIGRATIONS)).up()
        if broken := bound.broken_references():
            raise SchemaError(f"A migration left rows that point to nothing: {broken}.")
    return pending


def run(sql: str, *values: Any) -> list[tuple[Any, ...]]:
    """A statement of the hot path, written out and read to its end: peewee takes several times as long to put
    one of these together as SQLite takes to run it. A list fills its `?` with as many as it has."""
    if any(isinstance(value, list) for value in values):
        sql, values = _spread(sql, values)
    cursor = database.execute_sql(sql.replace("?", database.param), values)
    return cursor.fetchall() if cursor.description else []


def _spread(sql: str, values: tuple[Any, ...]) -> tuple[str, tuple[Any, ...]]:
    lists = [value if isinstance(value, list) else [value] for value in values]
    first, *rest = sql.split("?")
    # An empty list is written as what nothing is equal to: not every database takes IN ().
    marked = [(", ".join("?" * len(each)) or "NULL") + part for each, part in zip(lists, rest, strict=True)]
    return first + "".join(marked), tuple(item for each in lists for item in each)


@contextmanager
def connection() -> Iterator[None]:
    """A connection for a thread or command that has none; inside a request the request's own is used."""
    if not database.is_closed():
        yield
        return
    with database.connection_context():
        yield


def only_if_free(write: peewee.Query) -> None:
    """A write that may as well not happen: while somebody else writes, it is left out and not waited for."""
    database.only_if_free(write)
