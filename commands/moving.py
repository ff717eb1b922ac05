"""From a SQLite file to PostgreSQL: flask --app app move-to-postgresql."""

import json
from pathlib import Path
from typing import Any

import click

from commands.base import Command, command, settings
from commands.upkeep import FILE, folders
from db import run
from live import fulltext
from upkeep.moving import move


@click.command(
    "move-to-postgresql", cls=Command, examples="move-to-postgresql /var/lib/livestream/livestream.db"
)
@FILE
@command(lambda moved: f"{sum(moved.values()):,} rows moved and compared. Start the box.", within=folders)
def move_command(file: Path) -> dict[str, Any]:
    """Copy all rows of FILE, a SQLite database, into the PostgreSQL database that DATABASE_URL names.

    The box has to be stopped, and the database there has to be empty. Each row is compared before any of it counts.
    FILE stays as it is; keys and media stay where they are, in DATA_DIR.
    """
    return move(settings(), file.absolute(), index_texts)


def index_texts() -> None:
    channels = run("SELECT pk, name, tags, description FROM channel")
    fulltext.put_all("channel", ((pk, name, json.loads(tags), text) for pk, name, tags, text in channels))
    videos = run("SELECT pk, name, tags FROM video")
    fulltext.put_all("video", ((pk, name, json.loads(tags), "") for pk, name, tags in videos))
