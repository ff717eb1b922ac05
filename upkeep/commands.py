"""flask --app app backup, restore, vacuum."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from config import Config
from db import SHRINKING, file_at, path_of, utcnow
from media.storage import make_folders
from upkeep import opening, running
from upkeep.backup import back_up
from upkeep.restore import restore


def settings() -> Config:
    """Of the app whose command this is."""
    return click.get_current_context().find_root().obj.load_app().config["LIVESTREAM"]


def command(act: Callable[..., None]) -> Callable[..., None]:
    """With the settings, and with failures as one sentence and exit status 1."""

    @wraps(act)
    def run(**given: Any) -> None:
        config = settings()
        try:
            make_folders(config)
            act(config, **given)
        except opening.PROBLEMS as error:
            raise click.ClickException(str(error)) from error
        except OSError as error:
            raise click.ClickException(f"{error.filename or 'DATA_DIR'}: {error.strerror}.") from error

    return run


FILE = click.argument("file", type=click.Path(path_type=Path))


@click.command("backup")
@FILE
@click.option("--force", is_flag=True, help="Overwrite FILE.")
@command
def backup_command(config: Config, file: Path, force: bool) -> None:
    """Write the database and the keys to FILE, a tar. The box may be running.

    FILE holds every secret of the installation but the root token's where that is in the environment: keep it as
    you would keep those. Media (recordings, what can be replayed) are not in it: copy DATA_DIR/media by other means.
    """
    with running.shared(config):
        made = back_up(config, file.absolute(), utcnow(), force=force)
    size = sum(part["size"] for part in made["parts"].values())
    click.echo(
        f"{file}: {size / 2**20:,.1f} MiB, {counted(made)}. Checked. Without media: copy those yourself."
    )


@click.command("restore")
@FILE
@command
def restore_command(config: Config, file: Path) -> None:
    """Put FILE, which backup wrote, in the place of database and keys. The box has to be stopped.

    What was there is kept beside it, with the time in its name. A backup of an older release is migrated. Media
    are not in a backup: what DATA_DIR/media has of channels that the backup does not know is removed at the next
    start.
    """
    now = utcnow()
    with running.alone(config):
        made = restore(config, file.absolute(), now)
    click.echo(f"Restored: {counted(made)}, as of {made['createdAt']}. Start the box.")
    click.echo(
        f"What was there before has .replaced-{now:%Y%m%dT%H%M%SZ} in its name; remove it when all is well."
    )


@click.command("vacuum")
@command
def vacuum_command(config: Config) -> None:
    """Make the database file as small as its content. The box has to be stopped.

    Needed once for a database that was made before retention came (docs/decisions/0006): from then on it shrinks by
    itself.
    """
    path = path_of(config.database_url)
    with running.alone(config):
        opening.look(config)
        before = path.stat().st_size
        sqlite = file_at(path)
        with sqlite.connection_context():
            sqlite.execute_sql(SHRINKING)
            sqlite.execute_sql("VACUUM")
            sqlite.execute_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    click.echo(f"{path}: {before / 2**20:,.1f} MiB before, {path.stat().st_size / 2**20:,.1f} MiB now.")


def counted(manifest: dict[str, Any]) -> str:
    """A backup in numbers: 12 channels, 3 webhooks, ..."""
    shown = {name: manifest["counts"].get(name, 0) for name in ("channel", "webhook", "token", "event")}
    return ", ".join(f"{number:,} {name}{'' if number == 1 else 's'}" for name, number in shown.items())


COMMANDS = (backup_command, restore_command, vacuum_command)
