"""Backups: the database and the keys of a box that goes on running, in one file that was looked at before it is
called a backup."""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

import peewee

from config import Config
from db_sqlite import SHRINKING, file_at, path_of, wal_bytes
from media.storage import write_private
from release import RELEASE
from upkeep import archive
from upkeep.archive import BackupError
from wire import iso

# What a person wants to know of a backup before restoring it.
COUNTED = ("channel", "session", "event", "webhook", "delivery", "token", "user", "video")
KEPT_OF_UPGRADES = 3
DRAFTS = ".backup-draft"  # at the end of a folder's name
SPARE_BYTES = 2**20


def back_up(config: Config, file: Path, now: datetime, *, force: bool = False) -> dict[str, Any]:
    """Write a backup to `file` and return its manifest. Whoever writes to the database meanwhile does not wait.

    Raises BackupError where the file exists (unless `force`), the disk is too full or the database is damaged.
    Afterwards there is a whole backup at `file`, or what was there before.
    """
    source = path_of(config.database_url)
    _remove_left_over(file.parent)  # first: it may be what fills the disk
    _check_place(file, source, force)
    with drafts_beside(file) as drafts:
        copy = drafts / archive.DATABASE
        _copy_database(source, copy)
        check(copy, str(source))
        about = {"release": RELEASE, "createdAt": iso(now), **_facts(copy)}
        # After the database: a key is on the disk before the first secret that it encrypts.
        parts = {archive.DATABASE: copy} | _copy_keys(config.keys_dir, drafts)
        manifest = archive.write(drafts / "whole", parts, about)
        (drafts / "whole").rename(file)
        sync_folder(file.parent)
    return manifest


def note_taken(config: Config, file: Path, manifest: dict[str, Any]) -> None:
    """For the metrics. Those of upgrades do not count: they are on the disk that they are a backup of."""
    with suppress(OSError):  # the backup is whole all the same
        write_private(config.last_backup_file, json.dumps({"at": manifest["createdAt"], "file": str(file)}))


def before_upgrade(config: Config, pending: list[str], now: datetime) -> Path:
    """The backup that an upgrade takes of what it changes; the last few are kept."""
    file = config.backups_dir / f"before-{pending[-1]}-{now:%Y%m%dT%H%M%SZ}.tar"
    back_up(config, file, now, force=True)
    taken = sorted(config.backups_dir.glob("before-*.tar"), key=lambda each: each.stat().st_mtime_ns)
    for old in taken[:-KEPT_OF_UPGRADES]:
        old.unlink()
    return file


def check(copy: Path, name: str) -> None:
    """Everything that SQLite can check, of a database that nobody has open. `name` is for the error."""
    try:
        faults = [ask(copy, f"PRAGMA {pragma}") for pragma in ("integrity_check(1)", "foreign_key_check")]
    except peewee.sqlite3.DatabaseError as error:
        raise BackupError(f"{name} is damaged: {error}. Restore an earlier backup.") from error
    for found in faults:
        if found not in ([], [("ok",)]):
            fault = str(found[0][0]).splitlines()[-1]
            raise BackupError(f"{name} is damaged: {fault}. Restore an earlier backup.")


def ask(copy: Path, sql: str) -> list[tuple[Any, ...]]:
    """A question to a database that nobody has open, which leaves nothing beside it."""
    asked = peewee.sqlite3.connect(f"file:{quote(str(copy))}?immutable=1", uri=True)
    try:
        return asked.execute(sql).fetchall()
    finally:
        asked.close()


def sync_folder(folder: Path) -> None:
    """Make renames in it outlive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def check_space(folder: Path, wanted: int, what: str) -> None:
    """Raises BackupError unless `folder` has so many bytes free; `what` takes them."""
    free = shutil.disk_usage(folder).free
    if free < wanted + SPARE_BYTES:
        raise BackupError(
            f"{what} takes {wanted / 2**20:,.0f} MiB in {folder}, where {free / 2**20:,.0f} MiB are free. "
            "Make room, or take another place."
        )


def _check_place(file: Path, source: Path, force: bool) -> None:
    if not source.is_file():
        raise BackupError(f"There is no database at {source}; check DATA_DIR and DATABASE_URL.")
    if file.is_dir():
        raise BackupError(f"{file} is a folder; name a file to be made in it.")
    if file.exists() and not force:
        raise BackupError(f"{file} exists already; name another file, or overwrite it with --force.")
    if not file.parent.is_dir():
        raise BackupError(f"There is no folder {file.parent}; make it first.")
    # The copy of the database, and the tar that it goes into.
    check_space(file.parent, 2 * (source.stat().st_size + wal_bytes(source)), "A backup")


@contextmanager
def drafts_beside(file: Path) -> Iterator[Path]:
    """A folder that only its owner enters, on the disk of `file`, so that a rename is all that is left to do."""
    try:
        with (
            TemporaryDirectory(prefix=f".{file.name}.", suffix=DRAFTS, dir=file.parent) as folder,
            _at_work(Path(folder)),
        ):
            yield Path(folder)
    except OSError as error:
        raise BackupError(f"{file} cannot be written: {error.strerror or error}.") from error


def _remove_left_over(folder: Path) -> None:
    """The drafts of backups that were killed, each a copy of the database; not of one that goes on beside us."""
    for drafts in folder.glob(f".*{DRAFTS}"):
        with suppress(OSError), _at_work(drafts):
            shutil.rmtree(drafts)


@contextmanager
def _at_work(drafts: Path) -> Iterator[None]:
    """Holds a lock of the kernel's, which ends with this process. Raises OSError where somebody else holds it."""
    with open(drafts / "at-work", "w") as mark:
        fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def _copy_database(source: Path, copy: Path) -> None:
    """As it is at this moment. Not SQLite's backup in steps: each write of another connection starts it anew."""
    sqlite = file_at(source)
    try:
        with sqlite.connection_context():
            if sqlite.pragma("auto_vacuum") == 0:  # of an older release: the copy can shrink in steps
                sqlite.execute_sql(SHRINKING)
            sqlite.execute_sql("VACUUM INTO ?", (str(copy),))
    except peewee.DatabaseError as error:
        raise BackupError(
            f"{source} cannot be copied: {error}. If it is damaged, restore a backup."
        ) from error
    copy.chmod(0o600)


def _facts(copy: Path) -> dict[str, Any]:
    tables = {name for (name,) in ask(copy, "SELECT name FROM sqlite_master WHERE type = 'table'")}
    counts = {name: ask(copy, f"SELECT COUNT(*) FROM {name}")[0][0] for name in COUNTED if name in tables}  # noqa: S608
    return {
        "schema": [name for (name,) in ask(copy, "SELECT name FROM schema_migration ORDER BY name")],
        "counts": counts,
    }


def _copy_keys(keys: Path, drafts: Path) -> dict[str, Path]:
    folder = drafts / archive.KEYS
    folder.mkdir()
    copied = {}
    for key in sorted(keys.iterdir()):
        if archive.PART.fullmatch(name := f"{archive.KEYS}/{key.name}") and key.is_file():
            with suppress(FileNotFoundError):  # somebody's draft, which has become a key or gone
                copied[name] = Path(shutil.copyfile(key, folder / key.name))
    return copied
