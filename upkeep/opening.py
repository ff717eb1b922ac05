"""A database is looked at before it is used, and backed up before it is changed. Whatever is wrong with it is one
sentence that says what to do; nothing is ever made anew in the place of what was lost."""

import logging
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from pathlib import Path

import peewee

from config import Config
from database_url import is_on_server
from db import SchemaError, bind, database, migrate, schema
from db_sqlite import NoFileError, UnsafeSqliteError, file_at, path_of
from media.storage import make_folders
from upkeep import backup, membership, restore, running, server
from upkeep.archive import BackupError

log = logging.getLogger(__name__)

# Of a start. 200 MB take 0.2 s; what is left over of a bigger file is looked at by backups and `integrity_check`.
LOOK_FOR_S = 2.0
MAGIC = b"SQLite format 3\0"
HOW_TO_GO_ON = "Restore a backup: flask --app app restore FILE (docs/operations.md)."


class DatabaseError(Exception):
    """The database file cannot be used as it is."""


PROBLEMS = (
    *(DatabaseError, SchemaError, NoFileError, UnsafeSqliteError, BackupError, running.BusyError),
    membership.StrangerError,
)


@contextmanager
def opened(config: Config, now: datetime, *, thorough: bool = True) -> Iterator[None]:
    """The installation ready for use, and nobody exchanging its files meanwhile: folders made, database looked
    through if `thorough`, migrated and bound. Raises one of PROBLEMS, or OSError where a folder cannot be made."""
    make_folders(config)
    if is_on_server(config.database_url):
        with server.opened(config):
            if thorough:
                membership.check(config)
            yield
        return
    if restore.under_way(config):
        with running.alone(config, "A restore was cut short and has to be finished first."):
            restore.finish(config)
    check_file(config)
    with running.shared(config):
        bind(config.database_url, config.sqlite_any_version)
        if thorough:
            look(config)
        pending = _pending(config)
    if pending:
        with running.alone(config, "The database has to be upgraded first."):
            upgrade(config, now)  # looks once more: somebody else may have been faster
    with running.shared(config):
        yield


def at_hand(config: Config, now: datetime) -> AbstractContextManager[None]:
    """The same for a command: within a process that has a database bound already, that one."""
    return nullcontext() if database.obj else opened(config, now, thorough=False)


def _pending(config: Config) -> list[str]:
    try:
        return schema(database.obj).pending
    except peewee.DatabaseError as error:
        raise _damaged(path_of(config.database_url), str(error)) from error


def upgrade(config: Config, now: datetime) -> list[str]:
    """Migrate what is bound; what was there before is kept in a backup. Returns the names of the migrations."""
    sqlite = file_at(path_of(config.database_url))
    found = schema(sqlite)
    if not found.pending:
        return []
    try:
        kept = backup.before_upgrade(config, found.pending, now) if found.applied else None
    except BackupError as error:
        raise BackupError(f"An upgrade takes a backup first, which failed. {error}") from error
    try:
        done = migrate(sqlite)
    except (peewee.PeeweeException, SchemaError) as error:
        if kept:
            kept.unlink()  # nothing was changed; start after start would push the older ones out
        raise SchemaError(
            f"The upgrade to {found.pending[-1]} failed: {error}. Nothing was changed: run the release before."
        ) from error
    if kept:
        about = {"event": "migrated", "migrations": done, "backup": str(kept)}
        log.info("the database was migrated: %s; as it was: %s", ", ".join(done), kept, extra=about)
    return done


def look(config: Config) -> None:
    """Everything that can be seen in a short time. Raises DatabaseError."""
    check_file(config)
    path = path_of(config.database_url)
    if not path.exists():
        return
    try:
        found = quick_check(path, LOOK_FOR_S)
    except peewee.DatabaseError as error:
        found = str(error)
    if found:
        raise _damaged(path, found)


def quick_check(path: Path, seconds: float, how: str = "quick_check") -> str:
    """What SQLite finds wrong with a file, or "": nothing, as far as it came in that time. `how` may also be
    integrity_check, which looks at every index too and takes several times as long."""
    sqlite = file_at(path)
    until = time.monotonic() + seconds
    with sqlite.connection_context():
        sqlite.connection().set_progress_handler(lambda: time.monotonic() > until, 1000)
        try:
            [(found,)] = sqlite.execute_sql(f"PRAGMA {how}(1)").fetchall()
        except peewee.OperationalError as error:
            if "interrupted" not in str(error):
                raise
            found = "ok"
    return "" if found == "ok" else found.splitlines()[-1]


def check_file(config: Config) -> None:
    """That the file is a database that can be written, or is rightly not there. Raises DatabaseError."""
    path = path_of(config.database_url)
    if path.is_dir():
        raise DatabaseError(f"DATABASE_URL names a folder, {path}; name a file in it.")
    if not path.parent.is_dir():
        raise DatabaseError(f"DATABASE_URL names a file in {path.parent}, which is no folder. Make it first.")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise DatabaseError(
            f"DATABASE_URL names a file in {path.parent}, which cannot be written to. Allow it."
        )
    if not path.exists():
        _check_new(config, path, "is not there")
        return
    try:
        with open(path, "r+b") as file:
            begin = file.read(len(MAGIC))
    except OSError as error:
        raise DatabaseError(f"The database {path} cannot be written: {error.strerror}. Allow it.") from error
    if not begin:
        _check_new(config, path, "is empty")
    elif begin != MAGIC:
        raise DatabaseError(f"{path} is not a SQLite database; check DATABASE_URL. {HOW_TO_GO_ON}")


def _check_new(config: Config, path: Path, state: str) -> None:
    """An empty database is right for a new installation only."""
    if restore.beside(path, "-wal").exists() or (config.keys_dir / "hook").exists():
        raise DatabaseError(
            f"The database {path} {state}, but {config.data_dir} has been in use. Check DATABASE_URL. "
            f"{HOW_TO_GO_ON} To begin anew, move {config.keys_dir} away."
        )


def _damaged(path: Path, how: str) -> DatabaseError:
    return DatabaseError(f"The database {path} is damaged: {how}. {HOW_TO_GO_ON}")
