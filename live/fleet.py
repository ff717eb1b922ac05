"""What an operator sees of the nodes and does with them (docs/nodes.md)."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from db import database, run
from errors import NotFoundError, NotPossibleError
from live import videos
from live.nodes import publishers
from models import Channel, Session
from models_chores import Chore
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
        raise NotPossibleError(
            f"The node {name} is up: stop it first. Another one that runs sees within seconds that it is gone."
        )
    for session in Session.all_open(name):
        unpublish(session.connection, "lost", now, session.silent_since or session.last_byte_at)
    there, unmade = list(Video.with_channel().where(Video.node == name)), _unmade(name)
    count = len(there) + len(unmade)
    if count and not with_videos:
        raise NotPossibleError(
            f"{count} videos are on the disk of {name} alone, {len(unmade)} of them still to be made."
            " Start it again to keep them, or remove it with them."
        )
    for video in there:
        videos.remove(video, now)
    for channel_id, session_id in unmade:
        videos.give_up(channel_id, session_id, f"The node {name} was removed.", now)
    with database.atomic():
        for table in ("channel_node", "chore", "audience_now", "audience_state"):
            run(f"DELETE FROM {table} WHERE node = ?", name)  # noqa: S608 (ours)
        run("DELETE FROM node WHERE name = ?", name)
    return {"videos": count}


def _unmade(name: str) -> list[tuple[str, str | None]]:
    """The channel, and of a recording the session, of each video that is to be made of what is on this node's disk."""
    waiting = list(Chore.waiting(name))
    recorded = Session.select(Session, Channel).join(Channel).where(Channel.id.in_(waiting), Channel.record)
    broadcast = recorded.where(Session.node == name, Session.live_at.is_null(False))
    found = [(session.channel, session.id) for session in broadcast]
    last_here = Channel.some("id IN (?) AND node = ? AND start_time IS NOT NULL", waiting, name)
    found += [(channel, None) for channel in last_here if channel.over and channel.catchup]
    return [
        (channel.id, session_id)
        for channel, session_id in found
        if not videos.is_decided(channel, session_id)
    ]


def _named(name: str) -> Node:
    found = Node.one("name = ?", name)
    if found is None:
        raise NotFoundError.of("node", name)
    return found
