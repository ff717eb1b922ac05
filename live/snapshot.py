"""A channel as the wire shows it, at one moment: what GET answers and what events carry."""

from datetime import datetime
from typing import Any

from db import to_ms
from live.links import Links
from models import Channel, Session, Status
from schemas import ChannelOut

ONLY_NODE = "main"
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
            "node": channel.node or None,
            "region": links.at(channel.node).region,
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

    def url(path: str, what: str) -> str:
        return kept_url(channel, path, what, links)

    catchup, picture = kept.get("catchup"), channel.thumbnail and kept.get("thumbnail")
    return {
        "video_url": url(catchup, "catchup") if catchup else None,
        "record_url": [url(path, session) for session, path in kept.get("record", {}).items() if path],
        "thumbnail_url": url(picture, "thumbnail") if picture else None,
    }


def storyboard_url(channel: Channel, links: Links) -> str | None:
    """Of a catch-up; made where the channel takes pictures."""
    path = f"{channel.id}/storyboard.vtt"
    return kept_url(channel, path, "catchup", links) if channel.thumbnail else None


def kept_url(channel: Channel, path: str, what: str, links: Links) -> str:
    """A file of the "catchup", the "thumbnail" or the recording of a session: on its node, or in the store."""
    node = channel.kept.get("node", {}).get(what, ONLY_NODE)
    return links.media(path, node, moved=node in channel.kept.get("moved", {}))


def on_air_ms(channel: Channel, session: Session | None, now: datetime) -> int:
    """Milliseconds with a publisher connected and sending: all sessions, the running one included."""
    return channel.sent_ms + (session_ms(session, now) if session else 0)


def session_ms(session: Session, now: datetime) -> int:
    until = session.stop_time or session.silent_since or now
    return max(0, to_ms(until) - to_ms(session.start_time) - session.silent_ms)
