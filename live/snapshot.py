"""A channel as the wire shows it, at one moment: what GET answers and what events carry."""

from datetime import datetime
from functools import partial
from typing import Any

from db import to_ms
from live.links import Links
from models import Channel, Session, Status
from schemas import ChannelOut

NOTHING_KEPT: dict[str, Any] = {"video_url": None, "record_url": [], "thumbnail_url": None}


def channel_object(channel: Channel, session: Session | None, links: Links, now: datetime) -> dict[str, Any]:
    """The channel object of contract section 2; `session` is the open one, if there is one.

    What is on disk is known from the row: nobody looks there.
    """
    live = channel.status == Status.LIVE
    return ChannelOut.show(
        channel.__data__
        | {
            "health": channel.health if live else None,
            "health_reasons": (channel.health_reasons or []) if live else [],
            "duration": on_air_ms(channel, session, now) // 1000,
            "publishing": session is not None,
            "livestream_url": links.livestream(channel),
            "dvr_url": links.seekable(channel) if channel.dvr else None,
        }
        | kept_urls(channel, links)
    )


def kept_urls(channel: Channel, links: Links) -> dict[str, Any]:
    """Where catch-up, recordings and picture are, in plain: see live/videos.py for `kept`."""
    kept = channel.kept
    if not kept:
        return NOTHING_KEPT
    catchup, picture = kept.get("catchup"), channel.thumbnail and kept.get("thumbnail")
    address = partial(links.media, moved="moved" in kept)
    return {
        "video_url": address(catchup) if catchup else None,
        "record_url": [address(path) for path in kept.get("record", {}).values() if path],
        "thumbnail_url": address(picture) if picture else None,
    }


def storyboard_url(channel: Channel, links: Links) -> str | None:
    """Of a catch-up; made where the channel takes pictures."""
    path = f"{channel.id}/storyboard.vtt"
    return links.media(path, moved="moved" in channel.kept) if channel.thumbnail else None


def on_air_ms(channel: Channel, session: Session | None, now: datetime) -> int:
    """Milliseconds with a publisher connected and sending: all sessions, the running one included."""
    return channel.sent_ms + (session_ms(session, now) if session else 0)


def session_ms(session: Session, now: datetime) -> int:
    until = session.stop_time or session.silent_since or now
    return max(0, to_ms(until) - to_ms(session.start_time) - session.silent_ms)
