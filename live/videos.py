"""What is left of broadcasts: recordings and catch-ups (contract, section 5)."""

from datetime import datetime
from pathlib import Path
from typing import Any

import audit
from db import database
from errors import NotFoundError
from live import fulltext, listing
from live.links import Links
from live.listing import Page
from live.selection import VIDEOS, page
from models import Channel, new_id
from models_search import Video, VideoTag, VideoType
from schemas_search import VideoOut


def keep(
    channel: Channel,
    kind: VideoType,
    path: str,
    now: datetime,
    *,
    duration: int,
    size: int,
    thumbnail: str | None = None,
) -> Video:
    """A new video of this channel, found by search from now on; `path` and `thumbnail` are below media/."""
    with database.atomic():
        same = {"account_id": channel.account_id, "created_at": now}
        video = Video.create(
            **same,
            id=new_id("vid"),
            channel=channel,
            name=channel.name,
            tags=channel.tags,
            type=kind,
            path=path,
            thumbnail=thumbnail,
            duration=duration,
            size=size,
        )
        for tag in video.tags:
            VideoTag.create(**same, video=video, tag=tag)
        fulltext.put("video", video.pk, video.name, video.tags)
    return video


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


def remove(video: Video, media_dir: Path, now: datetime) -> None:
    """The row, then the files: a file that is left over is no harm, a video without one would be."""
    with database.atomic():
        video.delete_instance()
        audit.record("delete", "video", video.id, video.account_id, now)
    for name in (video.path, video.thumbnail):
        if name:
            (media_dir / name).unlink(missing_ok=True)


def video_object(video: Video, links: Links) -> dict[str, Any]:
    """The video object of contract section 5."""
    urls = {"url": links.media(video.path), "thumbnail_url": video.thumbnail and links.media(video.thumbnail)}
    return VideoOut().dump(dict(video.__data__) | urls | {"channel_id": video.channel.id})
