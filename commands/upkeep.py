"""The installation's files from the command line: flask --app app backup, restore, vacuum."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from commands.base import Command, command, settings
from config import Config
from db import utcnow
from db_sqlite import SHRINKING, file_at, path_of
from media.storage import make_folders
from upkeep import opening, running
from upkeep.backup import back_up, note_taken
from upkeep.restore import restore

FILE = click.argument("file", type=click.Path(path_type=Path))


@contextmanager
def folders(config: Config) -> Iterator[None]:
    """No more than these: what the files below are worth is the command's own business."""
    make_folders(config)
    yield


def backed_up(made: dict[str, Any]) -> str:
    size = sum(part["size"] for part in made["parts"].values())
    kept = f"{size / 2**20:,.1f} MiB, {counted(made)}"
    return f"{made['file']}: {kept}. Checked. Without media: copy those yourself."


@click.command("backup", cls=Command, examples="backup /backups/livestream-2026-11-23.tar")
@FILE
@click.option("--force", is_flag=True, help="Overwrite FILE.")
@command(backed_up, within=folders)
def backup_command(file: Path, force: bool) -> dict[str, Any]:
    """Write the database and the keys to FILE, a tar. The box may be running.

    FILE holds every secret of the installation but the root token's where that is in the environment: keep it as
    you would keep those. Media (recordings, what can be replayed) are not in it: copy DATA_DIR/media by other means.
    """
    with running.shared(settings()):
        made = back_up(settings(), file.absolute(), utcnow(), force=force)
        note_taken(settings(), file.absolute(), made)
    return {"file": str(file)} | made


def restored(made: dict[str, Any]) -> str:
    return (
        f"Restored: {counted(made)}, as of {made['createdAt']}. Start the box.\n"
        f"What was there before has {made['replaced']} in its name; remove it when all is well."
    )


@click.command("restore", cls=Command, examples="restore /backups/livestream-2026-11-23.tar")
@FILE
@command(restored, within=folders)
def restore_command(file: Path) -> dict[str, Any]:
    """Put FILE, which backup wrote, in the place of database and keys. The box has to be stopped.

    What was there is kept beside it, with the time in its name. A backup of an older release is migrated. Media
    are not in a backup: what DATA_DIR/media has of channels that the backup does not know is removed at the next
    start.
    """
    now = utcnow()
    with running.alone(settings()):
        made = restore(settings(), file.absolute(), now)
    return made | {"replaced": f".replaced-{now:%Y%m%dT%H%M%SZ}"}


@click.command("vacuum", cls=Command, examples="vacuum")
@command(
    lambda done: (
        f"{done['file']}: {done['before'] / 2**20:,.1f} MiB before, {done['now'] / 2**20:,.1f} MiB now."
    ),
    within=folders,
)
def vacuum_command() -> dict[str, Any]:
    """Make the database file as small as its content. The box has to be stopped.

    Needed once for a database that was made before retention came (docs/decisions/0006): from then on it shrinks by
    itself.
    """
    path = path_of(settings().database_url)
    with running.alone(settings()):
        opening.look(settings())
        before = path.stat().st_size
        sqlite = file_at(path)
        with sqlite.connection_context():
            sqlite.execute_sql(SHRINKING)
            sqlite.execute_sql("VACUUM")
            sqlite.execute_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    return {"file": str(path), "before": before, "now": path.stat().st_size}


def counted(manifest: dict[str, Any]) -> str:
    """A backup in numbers: 12 channels, 3 webhooks, ..."""
    shown = {name: manifest["counts"].get(name, 0) for name in ("channel", "webhook", "token", "event")}
    return ", ".join(f"{number:,} {name}{'' if number == 1 else 's'}" for name, number in shown.items())
