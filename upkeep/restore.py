"""Restores: a backup takes the place of what is there, wholly or not at all, whenever it is killed.

Everything is made ready beside its place and checked. Then one note says that it shall be, and from then on it is:
`finish`, which every start calls first, renames what is left to rename. Before the note nothing is touched.
"""

import json
import os
import shutil
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from config import Config
from db import migrate, to_ms
from db_sqlite import Sqlite, file_at, path_of
from upkeep import archive
from upkeep.backup import check, check_space, sync_folder

READY = ".restoring"  # at the end of a name: made ready, not yet in its place
# SQLite applies a -wal to whatever database it stands beside: the old one leaves before the new database comes.
FILES = ("", "-wal", "-shm")
# More than a box gives out between a backup and its restore: events after that are new to everybody.
LEAP = 1_000_000_000


class Places(NamedTuple):
    """What a restore replaces."""

    database: Path
    keys: Path
    note: Path

    @property
    def ready_database(self) -> Path:
        return beside(self.database, READY)

    @property
    def ready_keys(self) -> Path:
        return beside(self.keys, READY)


def places(config: Config) -> Places:
    return Places(path_of(config.database_url), config.keys_dir, config.data_dir / "restoring.json")


def restore(config: Config, file: Path, now: datetime) -> dict[str, Any]:
    """Put a backup in the place of database and keys, and return its manifest. Nobody may be at work with them.

    What was there is kept beside it, with the time in its name. Raises BackupError where the file is no whole
    backup, SchemaError where a newer release made it; then nothing was changed.
    """
    finish(config)
    where = places(config)
    where.database.parent.mkdir(parents=True, exist_ok=True)
    _clear(where)
    try:
        manifest = _make_ready(where, file, now)
        _give_to_owner(where, config.data_dir)
    except BaseException:
        _clear(where)
        raise
    _write_note(where.note, {"stamp": f"{now:%Y%m%dT%H%M%SZ}"})
    finish(config)
    return manifest


def finish(config: Config) -> None:
    """Carry on with a restore that has begun. Every step leaves what the next try needs to know how far it came."""
    where = places(config)
    if not where.note.exists():
        return
    stamp = json.loads(where.note.read_text())["stamp"]
    if where.ready_database.exists():
        for end in FILES:
            with suppress(FileNotFoundError):
                beside(where.database, end).rename(beside(where.database, f".replaced-{stamp}{end}"))
        sync_folder(where.database.parent)
        where.ready_database.rename(where.database)
    if where.ready_keys.exists():
        replaced = beside(where.keys, f".replaced-{stamp}")
        if where.keys.exists() and not replaced.exists():
            where.keys.rename(replaced)
        where.ready_keys.rename(where.keys)  # or over the empty folder that a start has made meanwhile
    sync_folder(where.database.parent)
    sync_folder(where.keys.parent)
    where.note.unlink()
    sync_folder(where.note.parent)


def under_way(config: Config) -> bool:
    """Whether a restore was cut short and has to be finished before anybody uses the files."""
    return places(config).note.exists()


def _make_ready(where: Places, file: Path, now: datetime) -> dict[str, Any]:
    wanted = sum(part["size"] for part in archive.manifest_of(file)["parts"].values())
    check_space(where.database.parent, wanted, "Restoring")
    where.ready_keys.mkdir(mode=0o700)
    manifest = archive.unpack(file, {archive.DATABASE: where.ready_database, archive.KEYS: where.ready_keys})
    check(where.ready_database, f"The database in {file}")
    sqlite = file_at(where.ready_database)
    migrate(sqlite)
    _leap(sqlite, now)
    sync_folder(where.ready_keys)
    sync_folder(where.database.parent)
    return manifest


def _leap(sqlite: Sqlite, now: datetime) -> None:
    """Go on with numbers that nobody has seen.

    Between the backup and now, events were given the numbers that would come next. App Servers that have seen
    those would take new events for old ones: their cursor is ahead, and they know the webhook-id and the seq.
    """
    with sqlite.connection_context(), sqlite.atomic():
        sqlite.execute_sql(
            """
            INSERT INTO event (id, name, time, channel_id, account_id, seq, payload)
            SELECT COALESCE(MAX(id), 0) + ?, 'restored', ?, '', '', 0, '' FROM event
            """,
            (LEAP, to_ms(now)),
        )
        sqlite.execute_sql("UPDATE channel SET seq = seq + ? WHERE status != 'ended'", (LEAP,))
    with sqlite.connection_context():
        sqlite.pragma("journal_mode", "delete")  # all of it in the one file that is renamed


def _give_to_owner(where: Places, folder: Path) -> None:
    """Who restores as root leaves files that the box's own user can use."""
    if os.geteuid() == 0:
        owner = folder.stat()
        for path in (where.ready_database, where.ready_keys, *where.ready_keys.iterdir()):
            os.chown(path, owner.st_uid, owner.st_gid)


def beside(path: Path, end: str) -> Path:
    return path.with_name(path.name + end)


def _clear(where: Places) -> None:
    for end in FILES:
        beside(where.ready_database, end).unlink(missing_ok=True)
    shutil.rmtree(where.ready_keys, ignore_errors=True)


def _write_note(note: Path, content: dict[str, str]) -> None:
    fresh = beside(note, ".draft")
    with open(fresh, "w") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(note)
    sync_folder(note.parent)
