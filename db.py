"""The database: one connection recipe, one time field, one way to migrate. What only SQLite can sits here."""

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import peewee
from playhouse.migrations import Runner

MIGRATIONS = Path(__file__).parent / "migrations"
PRAGMAS = {
    "journal_mode": "wal",
    "synchronous": 2,  # FULL: an answered write survives a power cut
    "foreign_keys": 1,
    "busy_timeout": 5000,
    "trusted_schema": 0,
    "cache_size": -16000,
    "temp_store": 2,
    "wal_autocheckpoint": 1000,
    "journal_size_limit": 64 * 1024 * 1024,
}
LOOK_AGAIN_S = 0.002
SHRINKING = "PRAGMA auto_vacuum = 2"  # INCREMENTAL
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

database = peewee.DatabaseProxy()


class UnsafeSqliteError(Exception):
    """The SQLite library at hand can lose commits in WAL mode."""


class SchemaError(Exception):
    """The database file is not one that this release can use."""


class Sqlite(peewee.SqliteDatabase):
    """SQLite whose writers of one process take turns by a lock, which hands over at once.

    Between processes SQLite's own lock decides, and whoever waits for it sleeps and looks again, ever longer: 24
    threads that write at once took four times as long that way.
    """

    def __init__(self, path: str, **settings: Any) -> None:
        super().__init__(path, **settings)
        self.turn = threading.Lock()

    def begin(self, lock_type: str | None = None) -> None:
        """Waits for its turn and for SQLite's lock, for both together no longer than for one of them."""
        until = time.monotonic() + self._timeout
        if not self.turn.acquire(timeout=self._timeout):
            raise peewee.OperationalError("database is locked by another thread")
        try:
            with self.patience(0):
                while not self._begun(lock_type, until):
                    time.sleep(LOOK_AGAIN_S)
        except BaseException:
            self.turn.release()
            raise

    def _begun(self, lock_type: str | None, until: float) -> bool:
        """SQLite by itself would look again after ever longer pauses, up to 100 ms, and beside a busy process find
        the lock taken each time: one in a hundred writers waited for 200 to 300 ms."""
        try:
            super().begin(lock_type)
        except peewee.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() >= until:
                raise
            return False
        return True

    def commit(self) -> None:
        super().commit()
        self.turn.release()

    def rollback(self) -> None:
        try:
            # A full disk makes SQLite roll back by itself; to fail at it again would hide why.
            if self.connection().in_transaction:
                super().rollback()
        finally:
            self.turn.release()

    @contextmanager
    def patience(self, wait_ms: int) -> Iterator[None]:
        """Within this, this connection waits for SQLite's lock for so long and no longer."""
        self.execute_sql(f"PRAGMA busy_timeout = {max(0, wait_ms)}")
        try:
            yield
        finally:
            self.execute_sql(f"PRAGMA busy_timeout = {PRAGMAS['busy_timeout']}")


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


def wal_is_safe(version: tuple[int, int, int]) -> bool:
    """False for SQLite releases whose WAL-reset bug can lose commits (fixed in 3.51.3, 3.50.7, 3.44.6)."""
    return version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51) or (3, 44, 6) <= version < (3, 45)


def bind(url: str, any_version: bool = False) -> Sqlite:
    """Point the models at a database file, made if it is missing and readable by its owner only."""
    version = peewee.sqlite3.sqlite_version_info
    if not wal_is_safe(version) and not any_version:
        raise UnsafeSqliteError(
            f"SQLite {peewee.sqlite3.sqlite_version} can lose commits in WAL mode. Install pysqlite3 "
            "(requirements.txt has it), or set SQLITE_ANY_VERSION=1 to run all the same."
        )
    sqlite = file_at(path_of(url))
    database.initialize(sqlite)
    return sqlite


def path_of(url: str) -> Path:
    """The file that a DATABASE_URL names."""
    return Path(url.removeprefix("sqlite:///"))


def file_at(path: Path) -> Sqlite:
    """A database file by itself, with our settings, for those who look after files; the models go by `bind`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():  # to open and close one that is in use would let go of this process's locks on it
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))  # SQLite gives -wal and -shm the same mode
    if path.stat().st_size == 0:
        _begin(path)
    return Sqlite(str(path), pragmas=PRAGMAS, timeout=5, lock_type="IMMEDIATE", autoconnect=False)


def _begin(path: Path) -> None:
    """Make a file that can shrink in steps, which only one without content can become (docs/decisions/0006). Not
    among PRAGMAS: this one would write to the file at every connection."""
    new = peewee.sqlite3.connect(path, timeout=5)
    new.execute(SHRINKING)
    new.execute("PRAGMA journal_mode = wal")
    new.close()


def wal_bytes(path: Path) -> int:
    """What the file beside the database takes that new writes go to; it grows while an old reader stays."""
    try:
        return path.with_name(f"{path.name}-wal").stat().st_size
    except FileNotFoundError:
        return 0


class Schema(NamedTuple):
    """The names of migrations: what the file has, and what this release would add."""

    applied: list[str]
    pending: list[str]


def schema(sqlite: Sqlite) -> Schema:
    """How far a file is migrated. A newer schema than this release knows is refused."""
    with sqlite.connection_context():
        rows = Runner(sqlite, str(MIGRATIONS)).status()
    unknown = [row.name for row in rows if row.path is None]
    if unknown:
        raise SchemaError(
            f"The database was migrated by a newer release ({', '.join(unknown)}). "
            "Run that release, or restore the backup that was taken before the upgrade."
        )
    return Schema([row.name for row in rows if row.applied], [row.name for row in rows if not row.applied])


def migrate(sqlite: Sqlite | None = None) -> list[str]:
    """Apply what is pending, all of it or nothing; returns the names."""
    sqlite = sqlite or database.obj
    if not (pending := schema(sqlite).pending):
        return []
    with sqlite.connection_context():
        # Within a transaction this cannot be turned off, and migrations replace tables that others point to.
        sqlite.pragma("foreign_keys", 0)
        with sqlite.atomic():
            Runner(sqlite, str(MIGRATIONS)).up()
            if broken := sqlite.execute_sql("PRAGMA foreign_key_check").fetchall():
                raise SchemaError(f"A migration left rows that point to nothing: {broken[:3]}.")
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
    marked = [", ".join("?" * len(each)) + part for each, part in zip(lists, rest, strict=True)]
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
    with suppress(peewee.OperationalError), database.patience(0):
        write.execute()
