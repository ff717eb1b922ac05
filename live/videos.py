"""What is left of broadcasts: recordings and catch-ups (contract, section 5).

`Channel.kept` says it once more, for the channel object: `{"catchup": path, "record": {session id: path},
"thumbnail": path, "node": {"catchup", session id or "thumbnail": name}, "moved": {node: milliseconds}}`, paths below
media/ of that node, which is "main" where it is not said; and since when what that node had is in the store. A path
that is null: decided, and there is none (any more). Triggers write that where a row of a video goes, and what follows
for the disk (models_chores.py).
"""

from datetime import datetime, timedelta
from functools import partial
from typing import Any

import audit
from db import database, run, to_ms
from errors import NotFoundError, NotPossibleError
from live import fulltext, listing
from live.events import emit, note
from live.links import Links
from live.listing import Page
from live.selection import VIDEOS, page
from live.snapshot import ONLY_NODE
from models import Channel, EventName, Session, TimelineEntry, new_id
from models_chores import Chore
from models_search import Video, VideoTag, VideoType
from schemas_search import VideoOut

DOWNLOAD_KEPT = timedelta(days=1)  # the file to download of a catch-up, after it was last asked for


def keep(
    channel_id: str,
    kind: VideoType,
    path: str,
    links: Links,
    now: datetime,
    *,
    duration: int,
    size: int,
    session_id: str | None = None,
) -> Video | None:
    """A new video of this channel, found by search and told of from now on; None where there is one, or no channel.

    `path` is below media/; `session_id` is a recording's.
    """
    with database.atomic():
        channel = Channel.named(channel_id)
        if channel is None or is_decided(channel, session_id):
            return None
        same = {"account_id": channel.account_id, "created_at": now}
        video = Video.create(
            **same,
            id=new_id("vid"),
            channel=channel,
            name=channel.name,
            tags=channel.tags,
            type=kind,
            path=path,
            thumbnail=channel.kept.get("thumbnail") if node_of(channel, "thumbnail") == links.name else None,
            duration=duration,
            size=size,
            session_id=session_id,
            node=links.name,
        )
        for tag in video.tags:
            VideoTag.create(**same, video=video, tag=tag)
        fulltext.put("video", video.pk, video.name, video.tags)
        _decide(channel, session_id, path)
        _note_node(channel, session_id or "catchup", links.name)
        note(channel, "video_ready", now, videoId=video.id, type=kind, sessionId=session_id)
        running = Session.open_of(channel)
        about = running or (session_id and Session.one("id = ?", session_id)) or None
        shown = {"video": video_object(video, links)}
        emit(EventName.VIDEO_READY, channel, about, links, now, publishing=running is not None, also=shown)
        channel.keep()
    return video


def give_up(channel_id: str, session_id: str | None, reason: str, now: datetime) -> None:
    """There will be no catch-up, or no recording of this session; with a reason it is told of."""
    with database.atomic():
        channel = Channel.named(channel_id)
        if channel and not is_decided(channel, session_id):
            _decide(channel, session_id, None)
            if reason:
                kind = VideoType.RECORD if session_id else VideoType.CATCHUP
                note(channel, "video_failed", now, type=kind, sessionId=session_id, reason=reason)
            channel.keep()


def is_decided(channel: Channel, session_id: str | None) -> bool:
    """Whether the catch-up, or the recording of this session, has been made, failed or been removed."""
    return session_id in channel.kept.get("record", {}) if session_id else "catchup" in channel.kept


def _decide(channel: Channel, session_id: str | None, path: str | None) -> None:
    if session_id:
        channel.kept = channel.kept | {"record": channel.kept.get("record", {}) | {session_id: path}}
    else:
        channel.kept = channel.kept | {"catchup": path}


def node_of(channel: Channel, what: str) -> str:
    """The node that has a channel's "catchup", "thumbnail" or recording of a session."""
    return channel.kept.get("node", {}).get(what, ONLY_NODE)


def _note_node(channel: Channel, what: str, node: str) -> None:
    if node != node_of(channel, what):
        channel.kept = channel.kept | {"node": channel.kept.get("node", {}) | {what: node}}


def pictured(channel_id: str, path: str, node: str) -> None:
    """There is a picture of this channel now, on this node."""
    with database.atomic():
        channel = Channel.named(channel_id)
        if channel and (channel.kept.get("thumbnail"), node_of(channel, "thumbnail")) != (path, node):
            channel.kept = channel.kept | {"thumbnail": path}
            _note_node(channel, "thumbnail", node)
            channel.keep()


def not_pictured(channel_id: str, node: str) -> None:
    """Its picture has gone with the last video that this node had of it."""
    with database.atomic():
        channel = Channel.named(channel_id)
        if channel and "thumbnail" in channel.kept and node_of(channel, "thumbnail") == node:
            channel.kept = {name: value for name, value in channel.kept.items() if name != "thumbnail"}
            channel.keep()


# The store (mover.py). What a node has of a channel moves as a whole: one word for it is enough for all addresses.


def may_move(channel: Channel) -> bool:
    """Nothing comes any more, and everybody may see it. Neither can change again (contract, section 2: update)."""
    return channel.over and channel.playback == "public"


def at(channel_id: str, node: str) -> list[Video]:
    """The channel's videos that are this node's."""
    return [each for each in of_channel(channel_id) if each.node == node]


def moved_since(channel: Channel, node: str) -> int | None:
    """In milliseconds: when what this node had of the channel went to the store."""
    return channel.kept.get("moved", {}).get(node)


def moved(channel_id: str, node: str, seen: list[Video], now: datetime) -> bool:
    """All that this node had of the channel is in the store from now on, if that is still these videos and it has
    nothing to do for the channel. Its worker sees that the files go."""
    with database.atomic():
        channel = Channel.named(channel_id)
        waits = Chore.one("channel_id = ? AND (node = ? OR node IS NULL)", channel_id, node)
        if channel is None or waits or not may_move(channel):
            return False
        if {video.pk for video in at(channel_id, node)} != {video.pk for video in seen}:
            return False
        run("UPDATE video SET moved_at = ? WHERE channel_id = ? AND node = ?", to_ms(now), channel.pk, node)
        channel.kept = channel.kept | {"moved": channel.kept.get("moved", {}) | {node: to_ms(now)}}
        channel.keep()
        Chore.create(channel_id=channel_id, node=node)
    return True


def moved_channels(node: str) -> list[str]:
    """Those of which this node's videos are in the store."""
    sql = "SELECT id FROM channel WHERE pk IN (SELECT channel_id FROM video WHERE moved_at IS NOT NULL AND node = ?)"
    return [channel_id for (channel_id,) in run(sql, node)]


def last_moved() -> Video | None:
    there = Video.with_channel().where(Video.moved_at.is_null(False))
    return there.order_by(Video.moved_at.desc()).first()


def moved_back(channel_id: str, node: str) -> None:
    """What this node had is here again."""
    with database.atomic():
        if channel := Channel.named(channel_id):
            run("UPDATE video SET moved_at = NULL WHERE channel_id = ? AND node = ?", channel.pk, node)
            left = {each: since for each, since in channel.kept.get("moved", {}).items() if each != node}
            channel.kept = channel.kept | {"moved": left}
            channel.keep()


def storage_changed(channel_id: str, enough: bool, what: str, room: str, now: datetime) -> None:
    """Whether what comes in is kept has changed, by what room there is on disk.

    Said once in a broadcast: on a full disk whoever says it may not get further, and say it again.
    """
    with database.atomic():
        channel = Channel.named(channel_id)
        if channel is None:
            return
        told = (TimelineEntry.channel == channel.pk) & TimelineEntry.kind.in_(
            ("storage_low", "storage_enough")
        )
        if running := Session.open_of(channel):
            told &= TimelineEntry.time >= running.start_time
        last = TimelineEntry.select().where(told).order_by(TimelineEntry.pk.desc()).first()
        if last and (last.kind == "storage_enough") == enough and last.detail["reason"].startswith(what):
            return
        note(channel, "storage_enough" if enough else "storage_low", now, reason=f"{what} ({room})")


def of_channel(channel_id: str) -> list[Video]:
    return list(Video.with_channel().where(Channel.id == channel_id))


def named(video_id: str, account_id: str | None) -> Video:
    """The video, if a token of this account may know of it."""
    video = Video.with_channel().where(Video.id == video_id).first()
    if video is None or account_id not in (None, video.account_id):
        raise NotFoundError.of("video", video_id)
    return video


def found(asked: dict[str, Any], now: datetime) -> Page:
    """The videos that match VideoQuery's fields."""
    wanted = listing.selection(VIDEOS, asked, now)
    wanted.where("type", "type = ?", asked.get("type"))
    wanted.where("channel_id", "channel_id = (SELECT pk FROM channel WHERE id = ?)", asked.get("channel_id"))
    return Page(listing.read(Video, page([wanted], asked)), wanted.total())


def remove(video: Video, now: datetime) -> None:
    """The row; the worker, which is to be rung for, sees that the files follow."""
    with database.atomic():
        video.delete_instance()
        audit.record("delete", "video", video.id, video.account_id, now)


# The file to download. A recording is one; of a catch-up it is made when somebody asks.


def ask_for_download(video: Video, now: datetime) -> None:
    """Have it made, once, and keep it for a while longer; what has failed is tried again."""
    if video.type == VideoType.RECORD:
        return
    with database.atomic():
        if not _is_there(video):
            raise NotFoundError.of("video", video.id)
        video.asked_at = now
        video.download = "ready" if video.download == "ready" else None
        video.keep()


def _is_there(video: Video) -> bool:
    return bool(run("SELECT 1 FROM video WHERE pk = ?", video.pk))


def next_download(node: str, *, moved: bool = False) -> Video | None:
    """The one of this node that has waited longest, of those whose segments it has, or of those that have moved."""
    if not run("SELECT 1 FROM video WHERE asked_at IS NOT NULL AND download IS NULL LIMIT 1"):
        return None
    wanted = Video.with_channel().where(
        Video.asked_at.is_null(False) & Video.download.is_null() & (Video.node == node),
        Video.moved_at.is_null(not moved),
    )
    return wanted.order_by(Video.asked_at).first()


def is_downloadable(channel: Channel) -> bool:
    """Whether the file to download of its catch-up is there."""
    return any(each.type == VideoType.CATCHUP and each.download == "ready" for each in of_channel(channel.id))


def downloadable(video: Video, size: int | None) -> None:
    """It has been made, or (None) could not be."""
    with database.atomic():
        if _is_there(video):
            video.download, video.download_size = ("failed", 0) if size is None else ("ready", size)
            video.keep()


def forget_downloads(now: datetime) -> None:
    """Those that nobody has asked for in a day; their files follow."""
    oldest = now - DOWNLOAD_KEPT
    if not run("SELECT 1 FROM video WHERE asked_at < ? LIMIT 1", to_ms(oldest)):
        return
    with database.atomic():
        for video in Video.with_channel().where(Video.asked_at < oldest):
            video.asked_at, video.download, video.download_size = None, None, 0
            video.keep()
            Chore.create(channel_id=video.channel.id)


def download_object(video: Video, links: Links) -> dict[str, Any]:
    """DownloadOut's fields."""
    if video.type == VideoType.RECORD:
        return {
            "status": "ready",
            "url": links.media(video.path, video.node, moved=video.moved_at is not None),
            "size": video.size,
            "expires_at": None,
        }
    if video.asked_at is None:
        raise NotPossibleError("Nobody has asked for this file yet; POST here to have it made.")
    ready = video.download == "ready"
    return {
        "status": video.download or "preparing",
        "url": links.media(f"{video.channel.id}/catchup.mp4", video.node) if ready else None,
        "size": video.download_size if ready else None,
        "expires_at": video.asked_at + DOWNLOAD_KEPT,
    }


def video_object(video: Video, links: Links) -> dict[str, Any]:
    """The video object of contract section 5."""
    address = partial(links.media, node=video.node, moved=video.moved_at is not None)
    urls = {"url": address(video.path), "thumbnail_url": video.thumbnail and address(video.thumbnail)}
    return VideoOut().dump(dict(video.__data__) | urls | {"channel_id": video.channel.id})
