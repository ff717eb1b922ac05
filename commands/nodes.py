"""Media nodes from the command line: flask --app app node."""

from typing import Any

import click

from commands.base import Group, command, lifecycle, settings
from commands.text import table
from db import utcnow
from live import fleet
from schemas_admin import NodeOut
from upkeep import membership

COLUMNS = {
    "NAME": "name",
    "STATUS": "status",
    "REGION": "region",
    "PUBLISHERS": "publishers",
    "CAPACITY": "capacity",
    "PUBLIC URL": "publicUrl",
}
NAME = click.argument("name")


@click.group(cls=Group)
def node() -> None:
    """Media nodes: the boxes with a media server that share this database."""


@node.command("list", examples="node list\nnode list --json")
@command(table(COLUMNS, "There is no node yet: one enters by itself when its worker starts."))
def list_nodes() -> list[dict[str, Any]]:
    """Print every node, with what it has to do."""
    return NodeOut(many=True).dump(fleet.listed())


@node.command("drain", examples="node drain paris-2\nnode drain paris-2 --off")
@NAME
@click.option("--off", is_flag=True, help="Give it channels again.")
@command(lambda done: f"{done['name']} gets {'no more' if done['draining'] else 'its share of'} channels.")
def drain(name: str, off: bool) -> dict[str, Any]:
    """Give a node no more channels, before it is stopped. Who publishes there goes on."""
    fleet.drain(name, not off)
    return {"name": name, "draining": not off}


@node.command("remove", examples="node remove paris-2\nnode remove paris-2 --with-videos")
@NAME
@click.option("--with-videos", is_flag=True, help="And the videos that are on its disk alone.")
@command(lambda gone: f"{gone['name']} is forgotten, and {gone['videos']} videos with it.")
def remove(name: str, with_videos: bool) -> dict[str, Any]:
    """Forget a node that is stopped and will not come back. There is no way back for what only it had.

    Should it start once more, it is a new node; its folder is tidied up then.
    """
    return {"name": name} | fleet.remove(name, lifecycle().unpublish, utcnow(), with_videos=with_videos)


@node.command("keys", examples="node keys\nnode keys --adopt")
@click.option("--adopt", is_flag=True, help="Those of this box are the right ones from now on.")
@command(lambda told: told["words"], fails=lambda told: not told["same"])
def keys(adopt: bool) -> dict[str, Any]:
    """Whether this box has the keys that the others have. Nothing of them is printed."""
    if adopt:
        membership.adopt_keys(settings())
    try:
        membership.check_keys(settings())
    except membership.StrangerError as error:
        return {"same": False, "words": str(error)}
    return {"same": True, "words": "The keys here are those of all boxes with this database."}
