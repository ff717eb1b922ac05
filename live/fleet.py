"""What an operator sees of the nodes and does with them (docs/nodes.md)."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from db import database, run
from errors import NotFoundError, NotPossibleError
from live import videos
from live.nodes import publishers
from models import Session
from models_nodes import Node
from models_search import Video


def listed() -> list[dict[str, Any]]:
    """NodeOut's fields of each."""
    load = publishers()
    return [
        node.__data__ | {"publishers": load.get(node.name, 0), "status": node.status}
        for node in Node.everyone()
    ]


def drain(name: str, draining: bool) -> None:
    """Give it no more channels, or give it some again; what it has goes on."""
    _named(name)
    run("UPDATE node SET draining = ? WHERE name = ?", draining, name)


def remove(
    name: str, unpublish: Callable[..., bool], now: datetime, *, with_videos: bool = False
) -> dict[str, int]:
    """Forget a node that will not come back, with the videos that only it had. Returns how many those were."""
    if _named(name).up:
        raise NotPossibleError(f"The node {name} is up: stop it first.")
    there = list(Video.with_channel().where(Video.node == name))
    if there and not with_videos:
        raise NotPossibleError(
            f"{len(there)} videos are on the disk of {name} alone. Start it again to keep them, or remove it with them."
        )
    for session in Session.all_open(name):
        unpublish(session.connection, "lost", now, session.silent_since or session.last_byte_at)
    for video in there:
        videos.remove(video, now)
    with database.atomic():
        for table in ("channel_node", "chore", "audience_now", "audience_state"):
            run(f"DELETE FROM {table} WHERE node = ?", name)  # noqa: S608 (ours)
        run("DELETE FROM node WHERE name = ?", name)
    return {"videos": len(there)}


def _named(name: str) -> Node:
    found = Node.one("name = ?", name)
    if found is None:
        raise NotFoundError.of("node", name)
    return found
